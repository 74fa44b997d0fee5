//! GitHub: `X-Hub-Signature-256` is `sha256=` and the hex of the body's HMAC; of a form body the form is signed.
//!
//! The header is sent only where a secret is set, so that its absence is a refusal. The older
//! `X-Hub-Signature` (SHA-1) counts for nothing.

use http::HeaderMap;

use super::{Rejected, hex_digest, sole};

const SIGNATURE: &str = "x-hub-signature-256";

pub(super) fn digest(headers: &HeaderMap) -> Result<[u8; 32], Rejected> {
    let value = sole(headers, SIGNATURE)?;
    let hex = value.strip_prefix("sha256=").ok_or(Rejected::Form(SIGNATURE))?;
    hex_digest(hex, SIGNATURE)
}
