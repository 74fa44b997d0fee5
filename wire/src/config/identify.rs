//! Who calls: what a bearer token says, as whoever can review tokens finds it.

use std::future::Future;

use super::Role;

/// Who a bearer token is. It is asked once a stream, and should believe an earlier answer for a while.
pub trait Identify: Clone + Send + Sync + 'static {
    /// Whose token this is.
    ///
    /// # Errors
    /// When it is nobody's, or when that cannot be found out now.
    fn identify(&self, token: &str) -> impl Future<Output = Result<Identity, Unidentified>> + Send;
}

/// Whose a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// What the ServiceAccount runs.
    pub role: Role,
    /// The pod that the token is bound to, if it is bound to one.
    pub pod: Option<String>,
}

/// Why it is not known whose a token is. The text is for people and goes to the caller: no part of a token is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unidentified {
    /// It is nobody's who may ask.
    #[error("{0}")]
    Refused(String),
    /// It cannot be found out now.
    #[error("{0}")]
    Unavailable(String),
}
