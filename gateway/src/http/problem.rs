//! An answer that says no, in the JSON form of OAuth errors wherever it comes from.

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use nexus_core::stop::EngagementName;
use schemars::JsonSchema;
use serde::Serialize;

use super::admission::STOP_RETRY;
use crate::session::end::{End, stop_message};

/// An answer that says no.
#[derive(Debug)]
pub(super) struct Problem(Box<Answer>);

#[derive(Debug)]
struct Answer {
    status: StatusCode,
    body: Body,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// A refusal, in the form of OAuth errors (RFC 6749, section 5.2).
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "OAuthError")]
pub struct Body {
    /// A word for programs.
    error: &'static str,
    /// What is wrong and how to mend it.
    error_description: String,
    /// The stop that holds the agent, if one does.
    #[serde(skip_serializing_if = "Option::is_none")]
    engagement: Option<EngagementName>,
    /// Why the stop was engaged.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, error: &'static str, description: impl Into<String>) -> Self {
        let body = Body { error, error_description: description.into(), engagement: None, reason: None };
        Self(Box::new(Answer { status, body, headers: Vec::new() }))
    }

    /// A stop holds for the agent, or the profile is gone after all.
    pub(super) fn ended(end: End) -> Self {
        match end {
            End::Stopped { engagement, reason } => {
                let description = stop_message(engagement.as_ref(), reason.as_deref());
                let mut problem =
                    Self::unavailable("temporarily_unavailable", description, STOP_RETRY.as_secs());
                problem.0.body.engagement = engagement;
                problem.0.body.reason = reason;
                problem
            }
            _ => Self::new(
                StatusCode::UNAUTHORIZED,
                "invalid_token",
                "the agent's profile is gone or its client secret was changed",
            )
            .with(header::WWW_AUTHENTICATE, bearer("the profile is gone or its secret was changed")),
        }
    }

    pub(super) fn unavailable(error: &'static str, description: impl Into<String>, seconds: u64) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error, description)
            .with(header::RETRY_AFTER, seconds.into())
    }

    pub(super) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    /// The error's name: fixed words, fit for metric labels.
    pub(super) fn label(&self) -> &'static str {
        self.0.body.error
    }
}

/// The challenge of RFC 6750 for a token that is not accepted.
pub(super) fn bearer(description: &str) -> HeaderValue {
    // A quoted string: what cannot stand in one is left out.
    let text: String =
        description.chars().filter(|c| matches!(c, ' '..='~') && !matches!(c, '"' | '\\')).collect();
    let challenge = format!(r#"Bearer realm="nexus", error="invalid_token", error_description="{text}""#);
    HeaderValue::from_str(&challenge).unwrap_or_else(|_| HeaderValue::from_static("Bearer"))
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let answer = *self.0;
        let mut response = (answer.status, Json(answer.body)).into_response();
        for (name, value) in answer.headers {
            response.headers_mut().insert(name, value);
        }
        response
    }
}
