//! Times as providers write them. No float is ever involved: floats lose digits.

use jiff::Timestamp;

/// The time of an ISO 8601 text, or of a whole number of seconds since 1970.
pub(super) fn iso_or_unix(text: &str) -> Option<Timestamp> {
    match text.parse::<i64>() {
        Ok(number) => from_number(number),
        Err(_) => text.parse().ok(),
    }
}

/// The time of a number since 1970 whose unit shows in its size: seconds, milli- or microseconds.
pub(super) fn from_number(number: i64) -> Option<Timestamp> {
    match number.unsigned_abs() {
        0..100_000_000_000 => Timestamp::from_second(number).ok(),
        100_000_000_000..100_000_000_000_000 => Timestamp::from_millisecond(number).ok(),
        _ => Timestamp::from_microsecond(number).ok(),
    }
}

/// The time of a Slack timestamp: `seconds.micros`, or a number of any unit.
pub(super) fn slack(ts: &str) -> Option<Timestamp> {
    let Some((seconds, fraction)) = ts.split_once('.') else {
        return ts.parse().ok().and_then(from_number);
    };
    let micros: String = fraction.chars().chain("000000".chars()).take(6).collect();
    let micros: i64 = micros.parse().ok()?;
    let seconds: i64 = seconds.parse().ok()?;
    Timestamp::from_microsecond(seconds.checked_mul(1_000_000)?.checked_add(micros)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_is_read() {
        let text = |time: Option<Timestamp>| time.unwrap().to_string();
        assert_eq!(text(slack("1700000000.000100")), "2023-11-14T22:13:20.0001Z");
        assert_eq!(text(slack("1700000000.5")), "2023-11-14T22:13:20.5Z");
        assert_eq!(text(slack("1360782804083113")), "2013-02-13T19:13:24.083113Z");
        assert_eq!(text(slack("1700000000")), "2023-11-14T22:13:20Z");
        assert_eq!(text(iso_or_unix("1642734631523")), "2022-01-21T03:10:31.523Z");
        assert_eq!(text(iso_or_unix("2019-05-15T15:20:55+00:00")), "2019-05-15T15:20:55Z");
        assert_eq!(text(iso_or_unix("2021-12-15T20:11:38.000Z")), "2021-12-15T20:11:38Z");
        for odd in ["", ".", "a.b", "1.x", "99999999999999999999.1", "9223372036854775807.1", "-"] {
            assert_eq!(slack(odd), None, "{odd}");
        }
        assert_eq!(iso_or_unix("yesterday"), None);
    }
}
