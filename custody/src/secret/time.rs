//! Times in public metadata.

use x509_parser::time::ASN1Time;

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

#[cfg(test)]
mod tests {
    use super::rfc3339;

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
