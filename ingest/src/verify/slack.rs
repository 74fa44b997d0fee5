//! Slack: `X-Slack-Signature` is `v0=` and the hex of the HMAC of `v0:{timestamp}:{body}`.

use http::HeaderMap;
use jiff::Timestamp;

use super::{Rejected, hex_digest, sole};

const SIGNATURE: &str = "x-slack-signature";
const TIMESTAMP: &str = "x-slack-request-timestamp";

/// How far the timestamp may be from our clock, in either direction; Slack's own advice.
const WINDOW_SECONDS: u64 = 300;

pub(super) fn claim(headers: &HeaderMap, now: Timestamp) -> Result<(String, [u8; 32]), Rejected> {
    let value = sole(headers, SIGNATURE)?;
    let hex = value.strip_prefix("v0=").ok_or(Rejected::Form(SIGNATURE))?;
    let digest = hex_digest(hex, SIGNATURE)?;
    let sent = sole(headers, TIMESTAMP)?;
    if sent.is_empty() || !sent.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Rejected::Form(TIMESTAMP));
    }
    let seconds: i64 = sent.parse().map_err(|_| Rejected::Form(TIMESTAMP))?;
    if now.as_second().abs_diff(seconds) > WINDOW_SECONDS {
        return Err(Rejected::Stale);
    }
    Ok((format!("v0:{sent}:"), digest))
}
