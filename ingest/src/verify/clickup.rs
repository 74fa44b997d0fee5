//! ClickUp: `X-Signature` is the bare hex of the body's HMAC. No timestamp is sent, hence no replay window.

use http::HeaderMap;

use super::{Rejected, hex_digest, sole};

const SIGNATURE: &str = "x-signature";

pub(super) fn digest(headers: &HeaderMap) -> Result<[u8; 32], Rejected> {
    hex_digest(sole(headers, SIGNATURE)?, SIGNATURE)
}
