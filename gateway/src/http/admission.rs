//! Who may open a session: token, profile, stop, drain, room; in this order, whatever the agent speaks.
//!
//! There is one decision and two ways to say no: an HTTP problem and a gRPC status.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ConnectInfo;
use axum::http::{Extensions, HeaderMap, HeaderValue, StatusCode, header};
use nexus_core::id::SessionId;
use tonic::{Code, Status};
use uuid::Uuid;

use super::problem::bearer;
use super::{Http, Problem, grpc};
use crate::presence::{Entered, Figures, NoRoom};
use crate::session::Start;
use crate::session::end::{End, stop_message};
use crate::session::sever::Admitted;
use crate::session::transport::Opening;
use crate::token::{Claims, TokenError};

/// After so long it is worth trying again while a stop holds.
pub(super) const STOP_RETRY: Duration = Duration::from_secs(10);

/// Why nobody is admitted.
#[derive(Debug)]
pub(super) enum Refusal {
    /// There is no bearer token.
    MissingToken,
    /// The token is not accepted.
    Token(TokenError),
    /// No profile describes the agent.
    NoProfile,
    /// The token was issued for a client secret that is not the agent's any more.
    OtherSecret,
    /// A stop holds, or the agent's profile is gone after all.
    Ended(End),
    /// The gateway shuts down.
    Draining,
    /// There is no room for another session.
    NoRoom(NoRoom),
    /// Too many sessions begin at once.
    Busy,
}

/// Admits an agent and hands its connection to the owner of sessions.
pub(super) fn admit(
    http: &Http,
    headers: &HeaderMap,
    extensions: &Extensions,
    open: impl FnOnce() -> Opening,
) -> Result<(), Refusal> {
    let shared = &http.shared;
    let claims = verify(http, headers)?;
    // Subscribed before the decision: a stop that is engaged from here on wakes the session.
    let gate = shared.gate.clone();
    let config = Arc::clone(&shared.config.borrow());
    let profile = config.agent(claims.agent).filter(|profile| *profile.tenant == claims.tenant);
    let credential = profile.ok_or(Refusal::NoProfile)?.agent.credential;
    if !claims.fits(credential) {
        return Err(Refusal::OtherSecret);
    }
    let admitted = Admitted { agent: claims.agent, credential };
    admitted.decide(&config, &gate).map_err(Refusal::Ended)?;
    if http.drain.is_cancelled() {
        return Err(Refusal::Draining);
    }
    let entered = enter(http, extensions, &claims)?;
    // Before the connection is taken over, so that one that cannot be is not.
    let place = http.starts.try_reserve().map_err(|_| Refusal::Busy)?;
    place.send(Start { opening: open(), tenant: claims.tenant, admitted, entered, gate });
    Ok(())
}

fn enter(http: &Http, extensions: &Extensions, claims: &Claims) -> Result<Entered, Refusal> {
    let shared = &http.shared;
    let peer = extensions.get::<ConnectInfo<SocketAddr>>();
    let peer = peer.map_or(SocketAddr::from(([0, 0, 0, 0], 0)), |ConnectInfo(peer)| *peer);
    let session = SessionId::from(Uuid::new_v4());
    let figures = Figures::new(session, claims.agent, peer, shared.clock.now(), claims.expires);
    let limits = (shared.settings.max_sessions, shared.settings.max_sessions_per_agent);
    shared.presence.enter(&claims.tenant, figures, limits).map_err(Refusal::NoRoom)
}

fn verify(http: &Http, headers: &HeaderMap) -> Result<Claims, Refusal> {
    let token = bearer_token(headers).ok_or(Refusal::MissingToken)?;
    let verified = http.shared.keys.verify(token, http.shared.clock.now());
    let outcome = verified.as_ref().map_or_else(TokenError::label, |_| "accepted");
    metrics::counter!("nexus_token_checks_total", "outcome" => outcome).increment(1);
    verified.map_err(Refusal::Token)
}

fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

impl Refusal {
    /// Its name: fixed words, which HTTP answers with and metrics count.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::MissingToken => "missing_token",
            Self::Token(TokenError::Limits) | Self::Ended(End::Stopped { .. }) => "temporarily_unavailable",
            Self::Token(_) | Self::OtherSecret => "invalid_token",
            Self::NoProfile | Self::Ended(_) => "access_denied",
            Self::Draining => "draining",
            Self::NoRoom(_) => "too_many_sessions",
            Self::Busy => "busy",
        }
    }

    /// The same to people.
    fn message(&self) -> String {
        match self {
            Self::MissingToken => {
                "send Authorization: Bearer with an access token from /oauth/token".to_owned()
            }
            Self::Token(error) => error.to_string(),
            Self::Ended(End::Stopped { engagement, reason }) => {
                stop_message(engagement.as_ref(), reason.as_deref())
            }
            Self::NoProfile | Self::OtherSecret | Self::Ended(_) => {
                "the agent's profile is gone or its client secret was changed".to_owned()
            }
            Self::Draining => "this gateway shuts down; connect again".to_owned(),
            Self::NoRoom(full) => full.to_string(),
            Self::Busy => "too many connections open at once; connect again".to_owned(),
        }
    }

    /// After how long it is worth trying again; none if never with this token.
    fn retry_after(&self) -> Option<Duration> {
        match self {
            // The token may be good: whoever holds it must not throw it away.
            Self::Token(TokenError::Limits) | Self::Draining | Self::Busy => Some(Duration::from_secs(1)),
            Self::NoRoom(_) => Some(Duration::from_secs(5)),
            Self::Ended(End::Stopped { .. }) => Some(STOP_RETRY),
            Self::MissingToken | Self::Token(_) | Self::NoProfile | Self::OtherSecret | Self::Ended(_) => {
                None
            }
        }
    }

    /// What gRPC calls it.
    fn code(&self) -> Code {
        match self {
            _ if self.retry_after().is_some() => Code::Unavailable,
            Self::NoProfile | Self::Ended(_) => Code::PermissionDenied,
            _ => Code::Unauthenticated,
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let (label, message) = (refusal.label(), refusal.message());
        let code = refusal.code();
        if let Refusal::Ended(end @ End::Stopped { .. }) = refusal {
            return Self::ended(end);
        }
        if let Some(after) = refusal.retry_after() {
            return Self::unavailable(label, message, after.as_secs());
        }
        if code == Code::PermissionDenied {
            return Self::new(StatusCode::FORBIDDEN, label, message);
        }
        let challenge = match refusal {
            // Without an attempt to authenticate the challenge names no error (RFC 6750, section 3.1).
            Refusal::MissingToken => HeaderValue::from_static(r#"Bearer realm="nexus""#),
            _ => bearer(&message),
        };
        Self::new(StatusCode::UNAUTHORIZED, label, message).with(header::WWW_AUTHENTICATE, challenge)
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let status = Self::new(refusal.code(), refusal.message());
        match refusal.retry_after() {
            Some(after) => grpc::pushed_back(status, after),
            None => status,
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse as _;

    use super::*;

    #[test]
    fn a_token_that_we_had_no_time_for_is_not_refused_for_good() {
        let busy = Problem::from(Refusal::Token(TokenError::Limits)).into_response();
        assert_eq!(busy.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(busy.headers().contains_key(header::RETRY_AFTER));
        let bad = Problem::from(Refusal::Token(TokenError::Altered)).into_response();
        assert_eq!(bad.status(), StatusCode::UNAUTHORIZED);
        assert!(bad.headers().contains_key(header::WWW_AUTHENTICATE));
    }

    #[test]
    fn each_refusal_has_its_status_and_those_that_pass_say_when() {
        let stopped = || Refusal::Ended(End::Stopped { engagement: None, reason: None });
        for (refusal, code, after) in [
            (Refusal::MissingToken, Code::Unauthenticated, None),
            (Refusal::Token(TokenError::Altered), Code::Unauthenticated, None),
            (Refusal::Token(TokenError::Limits), Code::Unavailable, Some("1000")),
            (Refusal::OtherSecret, Code::Unauthenticated, None),
            (Refusal::NoProfile, Code::PermissionDenied, None),
            (Refusal::Ended(End::ProfileRemoved), Code::PermissionDenied, None),
            (stopped(), Code::Unavailable, Some("10000")),
            (Refusal::Draining, Code::Unavailable, Some("1000")),
            (Refusal::NoRoom(NoRoom::Agent { limit: 1 }), Code::Unavailable, Some("5000")),
            (Refusal::Busy, Code::Unavailable, Some("1000")),
        ] {
            let label = refusal.label();
            let status = Status::from(refusal);
            let told = status
                .metadata()
                .get("grpc-retry-pushback-ms")
                .map(|value| value.to_str().unwrap().to_owned());
            assert_eq!((status.code(), told.as_deref()), (code, after), "{label}");
            assert!(!status.message().is_empty(), "{label}");
        }
    }
}
