//! Values of arguments that several verbs take.

use std::time::Duration;

use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};
use nexus_core::id::EventId;
use nexus_core::kind::Kind;

/// A moment: a time, or so long ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// At a time.
    At(Timestamp),
    /// So long before now.
    Ago(SignedDuration),
}

impl Moment {
    /// The time that is meant.
    pub fn at(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(time) => time,
            Self::Ago(span) => now.checked_sub(span).unwrap_or(Timestamp::MIN),
        }
    }
}

/// Reads a time in RFC 3339, or how long ago it was.
pub fn parse_moment(text: &str) -> Result<Moment, String> {
    if let Ok(time) = text.parse() {
        return Ok(Moment::At(time));
    }
    let span = text.parse::<Span>().and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()));
    match span {
        Ok(span) if !span.is_negative() => Ok(Moment::Ago(span)),
        _ => {
            Err("give a time such as 2026-11-24T07:00:00Z, or how long ago, such as 90s, 2h or 3d".to_owned())
        }
    }
}

/// Reads how long an access token is good for. A gateway looks at a Reauth every 5 s at most, so that a shorter life
/// would leave no room for a second try.
pub fn parse_lifetime(text: &str) -> Result<Duration, String> {
    let span = text.parse::<Span>().and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()));
    span.ok()
        .and_then(|span| Duration::try_from(span).ok())
        .filter(|span| (15..=24 * 3600).contains(&span.as_secs()))
        .ok_or_else(|| "give 15s to 24h, such as 10m or 1h".to_owned())
}

/// The least bytes of a spool: a few of its segments, and the largest event.
const LEAST_SPOOL: u64 = 64 << 20;

/// Reads a number of bytes, as Kubernetes writes it.
pub fn parse_spool_bytes(text: &str) -> Result<u64, String> {
    let suffixes = [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40)];
    let split = suffixes.iter().find_map(|(suffix, shift)| Some((text.strip_suffix(suffix)?, *shift)));
    let (digits, shift) = split.unwrap_or((text, 0));
    let bytes = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
    bytes
        .filter(|bytes| *bytes >= LEAST_SPOOL)
        .ok_or_else(|| "give 64Mi at least, such as 512Mi, 1Gi or 1073741824".to_owned())
}

/// Reads the name of a kind.
pub fn parse_kind(text: &str) -> Result<Kind, String> {
    text.parse().map_err(|_| {
        let names = Kind::ALL.iter().map(|kind| kind.name());
        match nexus_compile::nearest(text, names) {
            Some(near) => format!("no such kind; did you mean {near}?"),
            None => "no such kind; `nexus events` shows kinds that there are".to_owned(),
        }
    })
}

/// Reads an event's id. A part of one will not do: ids begin with the time of receipt, so that the first
/// characters are those of all events of the same minute.
pub fn parse_event(text: &str) -> Result<EventId, String> {
    let part = text.len() < 36 && text.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    text.parse().map_err(|_| {
        if part {
            "give the whole id, as `nexus events` lists it: the first part is the same for all events of a minute"
                .to_owned()
        } else {
            "give an id as `nexus events` lists them".to_owned()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_kind_names_the_right_one() {
        assert_eq!(parse_kind("newworkitems").unwrap_err(), "no such kind; did you mean NewWorkItem?");
    }

    #[test]
    fn a_moment_is_a_time_or_so_long_ago() {
        let now: Timestamp = "2026-11-24T07:00:00Z".parse().unwrap();
        let at = |text| parse_moment(text).unwrap().at(now).to_string();
        assert_eq!(at("2026-11-24T05:00:00Z"), "2026-11-24T05:00:00Z");
        assert_eq!(at("2026-11-24T06:00:00+02:00"), "2026-11-24T04:00:00Z");
        assert_eq!(at("2h"), "2026-11-24T05:00:00Z");
        assert_eq!(at("1d12h"), "2026-11-22T19:00:00Z");
        for wrong in ["", "yesterday", "-2h", "2026-11-24", "2"] {
            assert!(parse_moment(wrong).unwrap_err().contains("2h"), "{wrong}");
        }
    }

    #[test]
    fn a_part_of_an_id_is_refused_with_the_reason() {
        assert!(parse_event("0190163d-8694-739b-aea5-966c26f8ad91").is_ok());
        assert!(parse_event("0190163d-8694").unwrap_err().contains("the whole id"));
        assert!(parse_event("lsat").unwrap_err().contains("nexus events"));
    }
}
