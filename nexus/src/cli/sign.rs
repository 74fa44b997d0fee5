//! Signing a body as a provider would.

use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use nexus_core::event::Provider;
use nexus_core::secret::Secret;
use sha2::Sha256;
use uuid::Uuid;

/// The headers that a provider sends with this body. `event` is GitHub's name of the event.
pub fn headers(
    provider: Provider,
    secret: &Secret,
    body: &[u8],
    event: &str,
    now: Timestamp,
) -> Vec<(&'static str, String)> {
    let mut headers = vec![("content-type", "application/json".to_owned())];
    match provider {
        Provider::ClickUp => headers.push(("x-signature", hmac_hex(secret, &[body]))),
        Provider::Slack => {
            let timestamp = now.as_second().to_string();
            let signature = hmac_hex(secret, &[b"v0:", timestamp.as_bytes(), b":", body]);
            headers.push(("x-slack-request-timestamp", timestamp));
            headers.push(("x-slack-signature", format!("v0={signature}")));
        }
        Provider::GitHub => {
            headers.push(("x-github-event", event.to_owned()));
            headers.push(("x-github-delivery", Uuid::new_v4().to_string()));
            headers.push(("x-github-hook-id", "1".to_owned()));
            headers.push(("x-hub-signature-256", format!("sha256={}", hmac_hex(secret, &[body]))));
        }
    }
    headers
}

fn hmac_hex(secret: &Secret, parts: &[&[u8]]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose()).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(part);
    }
    hex::encode(mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_those_of_the_providers() {
        let github = headers(
            Provider::GitHub,
            &Secret::new("It's a Secret to Everybody"),
            b"Hello, World!",
            "ping",
            Timestamp::UNIX_EPOCH,
        );
        let signature = &github.iter().find(|(name, _)| *name == "x-hub-signature-256").unwrap().1;
        assert_eq!(signature, "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17");
        let body =
            br#"{"webhook_id":"7689a169-a000-4985-8676-6902b96d6627","event":"taskCreated","task_id":"c0j"}"#;
        let clickup = headers(Provider::ClickUp, &Secret::new("secret"), body, "", Timestamp::UNIX_EPOCH);
        assert_eq!(clickup[1].1, "4830bf524f6e29a3e8da953936c6f21c1fea2b9669b825d3e1be293ef3416c8c");
    }
}
