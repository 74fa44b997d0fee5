//! Access tokens: biscuits that name a tenant, an agent and what it may do, for ten minutes.
//!
//! A token is signed, so it is verified without asking anybody. Its holder may attenuate it: shorten its life
//! by further blocks with time checks. Those are read from the blocks rather than only evaluated, because a
//! session lives longer than one evaluation; whatever else a block holds is refused before it is run.

mod attenuation;
mod keys;

use std::time::Duration;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use biscuit_auth::builder::{
    Binary, Check, CheckKind, Expression, Op, Term, constrained_rule, fact, pred, string, var,
};
use biscuit_auth::{AuthorizerBuilder, AuthorizerLimits, Biscuit, UnverifiedBiscuit, error};
use jiff::Timestamp;
use nexus_core::id::{AgentId, TenantKey};
use nexus_core::secret::SecretDigest;

pub use keys::{KeyError, TokenKeys};

/// How long an access token is good for.
pub const TOKEN_LIFETIME: Duration = Duration::from_mins(10);

/// The longest token that is looked at, in bytes.
pub const MAX_TOKEN: usize = 8 * 1024;

/// The most blocks of a token. Each is a signature to verify and costs its holder nothing; a holder who
/// shortens a token and hands it on needs a few.
pub const MAX_BLOCKS: usize = 16;

/// The right to open a session.
const CONNECT: &str = "connect";

/// The library's own 1 ms would deny honest tokens on a busy machine. Blocks hold time checks alone by the
/// time these are run, so the other two bounds are ample.
const LIMITS: AuthorizerLimits =
    AuthorizerLimits { max_facts: 64, max_iterations: 16, max_time: Duration::from_millis(100) };

/// URL-safe base64, with or without padding: both are found in the wild.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Why a token is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is too long to be looked at.
    #[error("the token is longer than {MAX_TOKEN} bytes")]
    TooLong,
    /// It has too many blocks to be looked at.
    #[error("the token has more than {MAX_BLOCKS} blocks")]
    TooManyBlocks,
    /// It is no biscuit.
    #[error("this is no access token of Nexus: get one from /oauth/token")]
    Malformed,
    /// No key that is accepted here has signed it.
    #[error("the token is signed with a key that is not accepted here; get a new one from /oauth/token")]
    UnknownKey,
    /// Its signature does not fit.
    #[error("the token was altered: its signature does not fit")]
    Altered,
    /// Its time is over.
    #[error("the token expired at {at}; get a new one from /oauth/token")]
    Expired {
        /// When.
        at: Timestamp,
    },
    /// It was attenuated in a way that a session cannot keep.
    #[error(
        "block {block} of the token holds {what}; a holder may add only checks of the form \
         `check if time($time), $time <= 2026-11-24T07:00:00Z`"
    )]
    Attenuation {
        /// The block, from 1.
        block: usize,
        /// What it holds.
        what: &'static str,
    },
    /// It gives no right to connect.
    #[error("the token gives no right to connect")]
    WrongRights,
    /// It does not say whose it is, what it was issued for or how long it is good.
    #[error("the token names no tenant, no agent, no credential or no expiry")]
    Incomplete,
    /// It was not evaluated within bounds, which is no fault of its holder: its blocks are harmless by then.
    #[error("the token cannot be evaluated in time; try again")]
    Limits,
}

impl TokenError {
    /// The variant's name, for metric labels.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::TooManyBlocks => "too_many_blocks",
            Self::Malformed => "malformed",
            Self::UnknownKey => "unknown_key",
            Self::Altered => "altered",
            Self::Expired { .. } => "expired",
            Self::Attenuation { .. } => "attenuation",
            Self::WrongRights => "wrong_rights",
            Self::Incomplete => "incomplete",
            Self::Limits => "limits",
        }
    }
}

/// A token could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot sign an access token")]
pub struct IssueError(#[source] error::Token);

/// What a verified token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// The tenant.
    pub tenant: TenantKey,
    /// The agent.
    pub agent: AgentId,
    /// Which version of the agent's client secret it was issued for.
    pub credential: String,
    /// The earliest end that any block sets.
    pub expires: Timestamp,
}

impl Claims {
    /// Whether the token was issued for this client secret. Without one there is nothing to be issued for.
    #[must_use]
    pub fn fits(&self, credential: Option<SecretDigest>) -> bool {
        credential.map(credential_mark).as_ref() == Some(&self.credential)
    }
}

/// Names one version of a client secret in a token, so that a changed secret ends what was issued for it.
/// Eight digits tell versions apart and are of no use to a guesser.
#[must_use]
pub fn credential_mark(digest: SecretDigest) -> String {
    let mut hex = digest.to_hex();
    hex.truncate(8);
    hex
}

impl TokenKeys {
    /// Makes an access token.
    ///
    /// # Errors
    /// Never in practice: the facts are well-formed by their types.
    pub fn issue(&self, claims: &Claims) -> Result<String, IssueError> {
        let text = |value: &str| [string(value)];
        Biscuit::builder()
            .root_key_id(self.id())
            .fact(fact("tenant", &text(&claims.tenant.to_string())))
            .and_then(|builder| builder.fact(fact("agent", &text(&claims.agent.to_string()))))
            .and_then(|builder| builder.fact(fact("credential", &text(&claims.credential))))
            .and_then(|builder| builder.fact(fact("right", &text(CONNECT))))
            .and_then(|builder| builder.check(until(claims.expires)))
            .and_then(|builder| builder.build(self.signing()))
            .and_then(|token| token.to_base64())
            .map_err(IssueError)
    }

    /// Verifies a token and says whose it is and until when.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Claims, TokenError> {
        if token.len() > MAX_TOKEN {
            return Err(TokenError::TooLong);
        }
        let bytes = BASE64.decode(token).map_err(|_| TokenError::Malformed)?;
        let accepted =
            |id: Option<u32>| id.and_then(|id| self.accepted(id)).ok_or(error::Format::UnknownPublicKey);
        let token = UnverifiedBiscuit::from(&bytes).map_err(|error| parse_error(&error))?;
        if token.block_count() > MAX_BLOCKS {
            return Err(TokenError::TooManyBlocks);
        }
        let token = token.verify(accepted).map_err(|error| parse_error(&error::Token::Format(error)))?;
        let now_date = Term::Date(u64::try_from(now.as_second()).unwrap_or_default());
        let mut authorizer = AuthorizerBuilder::new()
            .set_limits(LIMITS)
            .fact(fact("time", &[now_date]))
            .and_then(|builder| builder.policy("allow if right(\"connect\")"))
            .and_then(|builder| builder.build(&token))
            .map_err(|_| TokenError::Malformed)?;
        // Blocks are looked at before anything of them is run.
        let expires = attenuation::expiry(&authorizer)?;
        if now >= expires {
            return Err(TokenError::Expired { at: expires });
        }
        authorizer.authorize().map_err(|error| match error {
            error::Token::RunLimit(_) => TokenError::Limits,
            _ => TokenError::WrongRights,
        })?;
        let mut one = |query: &str| -> Result<Option<String>, TokenError> {
            let mut found: Vec<(String,)> = authorizer.query(query).map_err(|_| TokenError::Limits)?;
            Ok(found.pop().filter(|_| found.is_empty()).map(|(value,)| value))
        };
        let tenant = one("data($x) <- tenant($x)")?.and_then(|text| text.parse().ok());
        let agent = one("data($x) <- agent($x)")?.and_then(|text| text.parse().ok());
        let credential = one("data($x) <- credential($x)")?;
        Ok(Claims {
            tenant: tenant.ok_or(TokenError::Incomplete)?,
            agent: agent.ok_or(TokenError::Incomplete)?,
            credential: credential.ok_or(TokenError::Incomplete)?,
            expires,
        })
    }
}

fn parse_error(error: &error::Token) -> TokenError {
    match error {
        error::Token::Format(error::Format::UnknownPublicKey) => TokenError::UnknownKey,
        error::Token::Format(error::Format::Signature(_) | error::Format::SealedSignature) => {
            TokenError::Altered
        }
        _ => TokenError::Malformed,
    }
}

/// The one form of check that a token may hold: `check if time($time), $time <= date`.
fn until(end: Timestamp) -> Check {
    let date = Term::Date(u64::try_from(end.as_second()).unwrap_or_default());
    let before =
        Expression { ops: vec![Op::Value(var("time")), Op::Value(date), Op::Binary(Binary::LessOrEqual)] };
    let nothing: [Term; 0] = [];
    let rule = constrained_rule("query", &nothing, &[pred("time", &[var("time")])], &[before]);
    Check { queries: vec![rule], kind: CheckKind::One }
}

#[cfg(test)]
#[path = "token_tests.rs"]
mod tests;
