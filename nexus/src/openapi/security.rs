//! Who may ask.

use serde_json::{Value, json};

pub fn schemes() -> Value {
    let signature = |header: &str, text: &str| json!({ "type": "apiKey", "in": "header", "name": header, "description": text });
    json!({
        "clientCredentials": {
            "type": "oauth2",
            "description": "The agent's id and client secret, traded for an access token.",
            "flows": { "clientCredentials": {
                "tokenUrl": "http://127.0.0.1:8081/oauth/token",
                "scopes": { "connect": "Open sessions." },
            } },
        },
        "accessToken": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "Biscuit",
            "description": "An access token. It names one agent of one tenant and lasts minutes.",
        },
        "clientBasic": {
            "type": "http",
            "scheme": "basic",
            "description": "The agent's id and client secret.",
        },
        "clickupSignature": signature(
            "X-Signature",
            "ClickUp: HMAC-SHA256 of the body by the webhook's secret, as 64 lower-case hex digits.",
        ),
        "slackSignature": signature(
            "X-Slack-Signature",
            "Slack: `v0=` and, in lower-case hex, HMAC-SHA256 of `v0:{timestamp}:{body}` by the signing secret.",
        ),
        "slackTimestamp": signature(
            "X-Slack-Request-Timestamp",
            "Slack: seconds since 1970, at most 300 away from our clock.",
        ),
        "githubSignature": signature(
            "X-Hub-Signature-256",
            "GitHub: `sha256=` and, in lower-case hex, HMAC-SHA256 of the body by the webhook's secret.",
        ),
    })
}

/// One provider's signature.
pub fn signatures() -> Value {
    json!([
        { "clickupSignature": [] },
        { "slackSignature": [], "slackTimestamp": [] },
        { "githubSignature": [] },
    ])
}
