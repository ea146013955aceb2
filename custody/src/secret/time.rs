//! Times in public metadata.

use asn1_rs::{ASN1DateTime, ASN1TimeZone};
use x509_parser::time::ASN1Time;

use crate::group::Millis;

/// RFC 3339, in UTC, to the second. What lies outside the years 0 to 9999 is left as the
/// number of seconds.
pub(super) fn rfc3339(seconds: i64) -> String {
    ASN1Time::from_timestamp(seconds)
        .ok()
        .map(|time| time.to_datetime())
        .filter(|time| time.year() >= 0)
        .map_or_else(
            || seconds.to_string(),
            |time| {
                let (date, (hour, minute, second)) = (time.date(), time.to_hms());
                format!("{date}T{hour:02}:{minute:02}:{second:02}Z")
            },
        )
}

/// The time that [`rfc3339`] wrote; the beginning of 1970 for what lies before it.
pub(super) fn millis(text: &str) -> Option<Millis> {
    let bytes = text.as_bytes();
    let shape = b"0000-00-00T00:00:00Z";
    let fits = |(byte, like): (&u8, &u8)| match like {
        b'0' => byte.is_ascii_digit(),
        _ => byte == like,
    };
    if bytes.len() != shape.len() || !bytes.iter().zip(shape).all(fits) {
        return None;
    }
    let part = |from: usize| text.get(from..from + 2)?.parse().ok();
    let year = text.get(..4)?.parse().ok()?;
    let (month, day) = (part(5)?, part(8)?);
    let (hour, minute, second) = (part(11)?, part(14)?, part(17)?);
    let zone = ASN1TimeZone::Z;
    let time = ASN1DateTime::new(year, month, day, hour, minute, second, None, zone);
    let seconds = time.to_datetime().ok()?.unix_timestamp();
    Some(Millis::try_from(seconds).unwrap_or(0) * 1000)
}

#[cfg(test)]
mod tests {
    use super::{millis, rfc3339};

    #[test]
    fn a_time_that_was_written_is_read() {
        for seconds in [0, 1, 951_782_400, 1_300_819_380, 253_402_300_799] {
            let text = rfc3339(seconds);
            let read = millis(&text).map(|millis| millis / 1000);
            assert_eq!(read, u64::try_from(seconds).ok(), "{text}");
        }
        assert_eq!(millis("1969-12-31T23:59:59Z"), Some(0));
        for text in [
            "",
            "253402300800",
            "2026-02-30T00:00:00Z",
            "2026-01-01T00:00:00+01:00",
            "2026-01-01 00:00:00Z",
            "+026-01-01T00:00:00Z",
        ] {
            assert_eq!(millis(text), None, "{text}");
        }
    }

    #[test]
    fn a_time_is_written_in_utc_to_the_second() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (1_300_819_380, "2011-03-22T18:43:00Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
            (253_402_300_800, "253402300800"),
            (-62_167_219_200, "0000-01-01T00:00:00Z"),
            (-62_167_219_201, "-62167219201"),
            (i64::MIN, "-9223372036854775808"),
        ] {
            assert_eq!(rfc3339(seconds), text);
        }
    }
}
