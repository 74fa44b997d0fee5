//! Answers. Each says what is wrong and how to mend it, and nothing that helps to guess a signature.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ::http::{HeaderValue, Method, StatusCode, header};
use axum::Json;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use nexus_core::id::{EventId, TenantKey};
use nexus_store::bus::BusError;
use schemars::JsonSchema;
use serde::Serialize;

use crate::budget::Exhausted;
use crate::normalize::Malformed;
use crate::verify::Rejected;

/// What is answered 200.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// The event is durable.
    Stored(EventId),
    /// It came before, under this id.
    Duplicate(EventId),
    /// The text that the provider wants to hear back.
    Challenge(String),
}

/// Why a delivery was not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error(
        "no such source: the address is /hooks/{{namespace}}/{{tenant}}/{{source}} of a Tenant's sources"
    )]
    UnknownSource,
    #[error("{0} is not taken here: deliver by POST")]
    Method(Method),
    #[error(transparent)]
    Signature(#[from] Rejected),
    #[error(
        "the source's signing secret is not known here yet: check the Tenant's secretRef, then send again"
    )]
    NoSecret,
    #[error("the body is compressed: send it as it was signed, without content-encoding")]
    Encoding,
    #[error("the body is longer than {max} bytes")]
    TooLarge { max: usize },
    #[error("the body did not arrive within {seconds} seconds")]
    Slow { seconds: u64 },
    #[error("the body broke off")]
    Broken,
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("{0}: send again later")]
    Budget(#[from] Exhausted),
    #[error("the tenant's quota of waiting events is full: its agents must acknowledge some first")]
    Quota,
    #[error("what waits of the tenant has filled the spool: send again later")]
    Full(#[source] BusError),
    #[error("nothing durable can be written now: send again later")]
    Storage(#[source] BusError),
    #[error("the server stopped before the event was stored: send again")]
    Stopped,
}

impl From<BusError> for Refusal {
    fn from(error: BusError) -> Self {
        match error {
            BusError::Quota { .. } => Self::Quota,
            full @ BusError::Full { .. } => Self::Full(full),
            other => Self::Storage(other),
        }
    }
}

impl Refusal {
    /// One of each, with example values.
    fn each() -> [Self; 17] {
        [
            Self::UnknownSource,
            Self::Method(Method::GET),
            Self::Signature(Rejected::Missing("x-signature")),
            Self::Signature(Rejected::Form("x-signature")),
            Self::Signature(Rejected::Stale),
            Self::Signature(Rejected::Mismatch),
            Self::NoSecret,
            Self::Encoding,
            Self::TooLarge { max: 25 << 20 },
            Self::Slow { seconds: 10 },
            Self::Broken,
            Self::Malformed(Malformed::NoPayload),
            Self::Budget(Exhausted),
            Self::Quota,
            Self::Full(BusError::Closed),
            Self::Storage(BusError::Closed),
            Self::Stopped,
        ]
    }

    /// The variant's name: the metric's label and the `error` of the answer.
    pub(super) const fn label(&self) -> &'static str {
        match self {
            Self::UnknownSource => "unknown_source",
            Self::Method(_) => "method",
            Self::Signature(Rejected::Missing(_) | Rejected::Form(_)) => "signature_missing",
            Self::Signature(Rejected::Stale) => "signature_stale",
            Self::Signature(Rejected::Mismatch) => "signature_mismatch",
            Self::NoSecret => "no_secret",
            Self::Encoding => "encoding",
            Self::TooLarge { .. } => "too_large",
            Self::Slow { .. } => "slow",
            Self::Broken => "broken",
            Self::Malformed(_) => "malformed",
            Self::Budget(_) => "budget",
            Self::Quota => "quota",
            Self::Full(_) => "full",
            Self::Storage(_) => "storage",
            Self::Stopped => "stopped",
        }
    }

    /// Never 401 or 410: ClickUp suspends a hook that hears one of them.
    const fn status(&self) -> StatusCode {
        match self {
            Self::UnknownSource => StatusCode::NOT_FOUND,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Signature(_) => StatusCode::FORBIDDEN,
            Self::Encoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Slow { .. } => StatusCode::REQUEST_TIMEOUT,
            Self::Broken | Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::NoSecret
            | Self::Budget(_)
            | Self::Quota
            | Self::Full(_)
            | Self::Storage(_)
            | Self::Stopped => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// When to try again, where that may help.
    const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Budget(_) | Self::Stopped => Some(Duration::from_secs(1)),
            Self::Full(_) | Self::Storage(_) | Self::NoSecret => Some(Duration::from_secs(10)),
            Self::Quota => Some(Duration::from_secs(60)),
            _ => None,
        }
    }
}

/// A delivery was taken: its event is durable.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Accepted")]
pub struct Accepted {
    /// The event.
    event: EventId,
    /// Whether it had come before, under this id; left out if not.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    duplicate: bool,
}

/// A delivery was not taken.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Refused")]
pub struct Problem<'p> {
    /// A word for programs.
    error: &'static str,
    /// What is wrong and how to mend it.
    message: &'p str,
}

/// A refusal as API documents describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// The HTTP status.
    pub status: u16,
    /// The word for programs.
    pub error: &'static str,
    /// The text, with example values.
    pub message: String,
    /// Seconds after which trying again may help.
    pub retry_after: Option<u64>,
}

/// Every refusal that there is.
#[must_use]
pub fn refusals() -> Vec<Described> {
    let described = |refusal: &Refusal| Described {
        status: refusal.status().as_u16(),
        error: refusal.label(),
        message: refusal.to_string(),
        retry_after: refusal.retry_after().map(|after| after.as_secs()),
    };
    Refusal::each().iter().map(described).collect()
}

/// Counts a delivery and answers it. `provider` is one of four words, so that the metric stays bounded.
pub(super) fn give(provider: &'static str, result: Result<Answer, Refusal>) -> Response {
    let outcome = match &result {
        Ok(Answer::Stored(_)) => "stored",
        Ok(Answer::Duplicate(_)) => "duplicate",
        Ok(Answer::Challenge(_)) => "handshake",
        Err(refusal) => refusal.label(),
    };
    metrics::counter!("nexus_ingest_deliveries_total", "provider" => provider, "outcome" => outcome)
        .increment(1);
    let accepted = |event, duplicate| Json(Accepted { event, duplicate }).into_response();
    match result {
        Ok(Answer::Stored(event)) => accepted(event, false),
        Ok(Answer::Duplicate(event)) => accepted(event, true),
        Ok(Answer::Challenge(text)) => {
            let headers = [
                (header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8")),
                // The text is the provider's: no browser shall take it for a page.
                (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
            ];
            (headers, text).into_response()
        }
        Err(refusal) => refuse(&refusal),
    }
}

fn refuse(refusal: &Refusal) -> Response {
    let problem = Problem { error: refusal.label(), message: &refusal.to_string() };
    let mut response = (refusal.status(), Json(problem)).into_response();
    let headers = response.headers_mut();
    if let Some(after) = refusal.retry_after() {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs()));
    }
    if let Refusal::Method(_) = refusal {
        headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
    }
    response
}

/// One refusal a second of each outcome is logged, so that strangers cannot fill a disk, and cannot hide by
/// their bad signatures that nothing can be written either. All are counted.
#[derive(Debug, Default)]
pub(super) struct LogLimit(Mutex<BTreeMap<&'static str, i64>>);

impl LogLimit {
    /// Whether the outcome may be logged now; if so, it may not again in this second.
    pub(super) fn may(&self, outcome: &'static str, now: Timestamp) -> bool {
        let second = now.as_second();
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.insert(outcome, second) != Some(second)
    }
}

/// Logs a refusal of a known source: it is news for whoever runs the hook. Deliveries that went well, and
/// strangers at the door, are only counted.
pub(super) fn log(tenant: &TenantKey, source: &str, refusal: &Refusal) {
    let outcome = refusal.label();
    match refusal {
        Refusal::Full(error) | Refusal::Storage(error) => {
            let error: &dyn std::error::Error = error;
            tracing::error!(%tenant, source, outcome, error, "delivery refused");
        }
        Refusal::Malformed(error) => tracing::warn!(%tenant, source, outcome, %error, "delivery refused"),
        _ => tracing::warn!(%tenant, source, outcome, "delivery refused"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outcome_is_logged_once_a_second_whatever_others_do() {
        let limit = LogLimit::default();
        let at = |second| Timestamp::from_second(second).unwrap();
        let storage = Refusal::Storage(BusError::Closed);
        let stranger = Refusal::Signature(Rejected::Mismatch);
        assert!(limit.may(stranger.label(), at(1)));
        assert!(!limit.may(stranger.label(), at(1)));
        assert!(limit.may(storage.label(), at(1)), "a stranger hides no fault of ours");
        assert!(!limit.may(storage.label(), at(1)));
        assert!(limit.may(stranger.label(), at(2)) && limit.may(storage.label(), at(2)));
    }

    #[test]
    fn no_refusal_is_401_or_410_and_each_503_says_when() {
        for refusal in Refusal::each() {
            let response = refuse(&refusal);
            let status = response.status();
            assert!(status != StatusCode::UNAUTHORIZED && status != StatusCode::GONE, "{refusal}");
            let says_when = response.headers().contains_key(header::RETRY_AFTER);
            assert_eq!(status == StatusCode::SERVICE_UNAVAILABLE, says_when, "{refusal}");
        }
    }
}
