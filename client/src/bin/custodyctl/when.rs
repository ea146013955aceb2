//! Times, spans and rates, as they are written on the command line.

use std::str::FromStr;

use jiff::{Span, Timestamp, Zoned, civil::DateTime, tz::TimeZone};

/// A text that is no time, span or rate.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Error {
    #[error("write a time such as 2026-12-31, 2026-12-31T18:00 or 2026-12-31T18:00:00Z")]
    Time,
    #[error("write a span above zero, such as 30d, 12h or 1h 30m")]
    Span,
    #[error("the end is further away than there are times")]
    TooLong,
    #[error("write uses, a slash and whole seconds or more, such as 10/1m or 1/12h")]
    Rate,
}

/// A point in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct When {
    /// The point itself.
    pub(crate) at: Timestamp,
    /// What a text without a time zone was taken for.
    pub(crate) taken: Option<String>,
}

impl When {
    /// A time without an offset is one of `zone`, and a date is the beginning of that day.
    fn parse(text: &str, zone: TimeZone) -> Result<Self, Error> {
        if let Ok(at) = text.parse() {
            return Ok(Self { at, taken: None });
        }
        let civil: DateTime = text.parse().map_err(|_| Error::Time)?;
        let zoned = civil.to_zoned(zone).map_err(|_| Error::Time)?;
        let name = zoned
            .time_zone()
            .iana_name()
            .unwrap_or("this machine's zone");
        Ok(Self {
            at: zoned.timestamp(),
            taken: Some(format!(
                "{text} is taken for {} ({name})",
                zoned.strftime("%FT%T%:z")
            )),
        })
    }
}

impl FromStr for When {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text, TimeZone::try_system().unwrap_or(TimeZone::UTC))
    }
}

/// A stretch of time above zero, by the calendar: a day of it may have 23 hours.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stretch(Span);

impl Stretch {
    /// How long it is if it begins now.
    pub(crate) fn seconds(self) -> Result<u64, Error> {
        let now = Timestamp::now();
        let length = self.after(now)?.duration_since(now).as_secs();
        u64::try_from(length).map_err(|_| Error::TooLong)
    }

    /// The end of the stretch that begins at `start`.
    pub(crate) fn after(self, start: Timestamp) -> Result<Timestamp, Error> {
        let zone = TimeZone::try_system().unwrap_or(TimeZone::UTC);
        let end = Zoned::new(start, zone).checked_add(self.0);
        end.map(|end| end.timestamp()).map_err(|_| Error::TooLong)
    }
}

impl FromStr for Stretch {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let span: Span = text.parse().map_err(|_| Error::Span)?;
        if span.is_positive() {
            Ok(Self(span))
        } else {
            Err(Error::Span)
        }
    }
}

/// So many deliveries in any span of so many seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    pub(crate) uses: u32,
    pub(crate) seconds: u32,
}

impl FromStr for Rate {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (uses, span) = text.split_once('/').ok_or(Error::Rate)?;
        let uses: u32 = uses.parse().map_err(|_| Error::Rate)?;
        let span: Span = span.parse().map_err(|_| Error::Rate)?;
        // A day is 24 hours here: a rate has no date to begin at.
        let duration = span
            .to_duration(jiff::SpanRelativeTo::days_are_24_hours())
            .map_err(|_| Error::Rate)?;
        let seconds = u32::try_from(duration.as_secs()).map_err(|_| Error::Rate)?;
        if uses == 0 || seconds == 0 || duration.subsec_nanos() != 0 {
            return Err(Error::Rate);
        }
        Ok(Self { uses, seconds })
    }
}

/// Whole seconds in the largest unit that needs no fraction.
pub(crate) fn short(seconds: u32) -> String {
    match seconds {
        0 => "0s".to_owned(),
        n if n.is_multiple_of(86_400) => format!("{}d", n / 86_400),
        n if n.is_multiple_of(3600) => format!("{}h", n / 3600),
        n if n.is_multiple_of(60) => format!("{}m", n / 60),
        n => format!("{n}s"),
    }
}

/// How long one can change one's mind about what is to be destroyed.
#[derive(Debug)]
pub(crate) enum Grace {
    /// As long as custodyd thinks fit.
    Usual,
    For(Stretch),
    None,
}

impl Grace {
    pub(crate) fn new(stretch: Option<Stretch>, now: bool) -> Self {
        match (stretch, now) {
            (_, true) => Self::None,
            (Some(stretch), false) => Self::For(stretch),
            (None, false) => Self::Usual,
        }
    }

    /// As requests have it.
    pub(crate) fn seconds(self) -> Result<Option<u64>, Error> {
        match self {
            Self::Usual => Ok(None),
            Self::For(stretch) => stretch.seconds().map(Some),
            Self::None => Ok(Some(0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn when(text: &str) -> Result<String, Error> {
        let zone = TimeZone::posix("XYZ-2").unwrap();
        When::parse(text, zone).map(|when| when.at.to_string())
    }

    #[test]
    fn a_time_without_an_offset_is_local() {
        for (text, at) in [
            ("2026-12-31", "2026-12-30T22:00:00Z"),
            ("2026-12-31T18:00", "2026-12-31T16:00:00Z"),
            ("2026-12-31 18:00:30", "2026-12-31T16:00:30Z"),
            ("2026-12-31T18:00:00Z", "2026-12-31T18:00:00Z"),
            ("2026-12-31T18:00:00-03:00", "2026-12-31T21:00:00Z"),
        ] {
            assert_eq!(when(text).as_deref(), Ok(at), "{text}");
        }
    }

    #[test]
    fn what_was_assumed_of_a_time_is_said() {
        let zone = TimeZone::posix("XYZ-2").unwrap();
        let taken = When::parse("2026-12-31", zone.clone()).unwrap().taken;
        assert_eq!(
            taken.unwrap(),
            "2026-12-31 is taken for 2026-12-31T00:00:00+02:00 (this machine's zone)"
        );
        let whole = When::parse("2026-12-31T00:00:00Z", zone).unwrap();
        assert_eq!(whole.taken, None);
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in ["", "tomorrow", "31.12.2026", "2026-13-01", "1767323045"] {
            assert_eq!(when(text), Err(Error::Time), "{text:?}");
        }
    }

    #[test]
    fn a_span_goes_forward() {
        for text in ["", "30", "0d", "-30d", "1h ago", "soon"] {
            assert_eq!(
                text.parse::<Stretch>().unwrap_err(),
                Error::Span,
                "{text:?}"
            );
        }
        let start: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let end = "12h".parse::<Stretch>().unwrap().after(start).unwrap();
        assert_eq!(end.to_string(), "2026-01-02T15:04:05Z");
        let long = "9000y".parse::<Stretch>().unwrap();
        assert_eq!(long.after(start), Err(Error::TooLong));
    }

    #[test]
    fn a_rate_has_uses_and_whole_seconds() {
        for (text, uses, seconds) in [("10/1m", 10, 60), ("1/1d", 1, 86_400), ("5/1h30m", 5, 5400)]
        {
            assert_eq!(text.parse(), Ok(Rate { uses, seconds }), "{text}");
        }
        for text in [
            "10",
            "0/1m",
            "-1/1m",
            "10/",
            "10/0s",
            "10/1500ms",
            "10/-1m",
            "10/1mo",
            "x/1m",
        ] {
            assert_eq!(text.parse::<Rate>(), Err(Error::Rate), "{text}");
        }
    }

    #[test]
    fn a_span_is_shown_in_its_largest_unit() {
        let shown = [0, 59, 60, 90, 3600, 5400, 86_400].map(short);
        assert_eq!(shown, ["0s", "59s", "1m", "90s", "1h", "90m", "1d"]);
    }
}
