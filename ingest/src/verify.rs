//! Signatures. A claim is read from the headers before a byte of the body is taken, and checked against the
//! raw body, in constant time, with every secret of the source.
//!
//! A refusal is answered 403 on every path: 401 and 410 would make ClickUp suspend the webhook at once.
//! Facts and vectors: the providers' own documents on webhook signatures.

mod clickup;
mod github;
mod slack;

use hmac::{Hmac, KeyInit, Mac};
use http::HeaderMap;
use jiff::Timestamp;
use nexus_core::event::Provider;
use nexus_core::secret::Secret;
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq};

/// Why a delivery is not believed. None of these tells what a right signature would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// The header is missing: the sender has no secret, or it is no provider at all.
    #[error("the header {0} is missing: set the source's secret at the sender")]
    Missing(&'static str),
    /// The header is not what the provider sends.
    #[error("the header {0} does not have the form that the provider documents")]
    Form(&'static str),
    /// The timestamp is too far from our clock: an old delivery sent again, or a wrong clock.
    #[error("the timestamp is more than 300 seconds away from our clock")]
    Stale,
    /// No secret of the source makes this signature of this body.
    #[error(
        "the signature fits no secret of this source: compare the sender's secret with the Tenant's secretRef"
    )]
    Mismatch,
}

/// What a sender claims: the digest of a text that begins with `prefix` and ends with the body.
#[derive(Debug, Clone)]
pub struct Claim {
    provider: Provider,
    prefix: String,
    digest: [u8; 32],
}

impl Claim {
    /// Reads the claim from the headers.
    ///
    /// # Errors
    /// When the signature is missing or malformed, or its timestamp is stale at `now`.
    pub fn read(provider: Provider, headers: &HeaderMap, now: Timestamp) -> Result<Self, Rejected> {
        let (prefix, digest) = match provider {
            Provider::ClickUp => (String::new(), clickup::digest(headers)?),
            Provider::Slack => slack::claim(headers, now)?,
            Provider::GitHub => (String::new(), github::digest(headers)?),
        };
        Ok(Self { provider, prefix, digest })
    }

    /// Who is said to have sent it.
    #[must_use]
    pub const fn provider(&self) -> Provider {
        self.provider
    }

    /// Checks the claim against the body.
    ///
    /// # Errors
    /// When none of the secrets made the signature.
    pub fn check(&self, body: &[u8], secrets: &[Secret]) -> Result<(), Rejected> {
        let mut fits = Choice::from(0);
        // An empty secret is no secret: anybody could sign with it.
        for secret in secrets.iter().filter(|secret| !secret.expose().is_empty()) {
            let mut mac =
                Hmac::<Sha256>::new_from_slice(secret.expose()).expect("HMAC takes keys of any length");
            mac.update(self.prefix.as_bytes());
            mac.update(body);
            fits |= mac.finalize().into_bytes().ct_eq(&self.digest);
        }
        if fits.into() { Ok(()) } else { Err(Rejected::Mismatch) }
    }
}

/// The one value of a header. Sent twice it is ambiguous, and so refused.
fn sole<'h>(headers: &'h HeaderMap, name: &'static str) -> Result<&'h str, Rejected> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().ok_or(Rejected::Missing(name))?;
    match values.next() {
        None => value.to_str().map_err(|_| Rejected::Form(name)),
        Some(_) => Err(Rejected::Form(name)),
    }
}

/// 64 lower-case hex digits as bytes: what all three providers send.
fn hex_digest(text: &str, name: &'static str) -> Result<[u8; 32], Rejected> {
    let mut digest = [0; 32];
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(Rejected::Form(name));
    }
    hex::decode_to_slice(text, &mut digest).map_err(|_| Rejected::Form(name))?;
    Ok(digest)
}

#[cfg(test)]
mod tests {
    use http::HeaderName;
    use proptest::prelude::*;

    use super::*;

    const SLACK_BODY: &str = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";

    /// The three documented vectors: provider, secret, headers, body.
    type Vector = (Provider, &'static str, Vec<(&'static str, &'static str)>, &'static str);

    fn vectors() -> [Vector; 3] {
        [
            (
                Provider::GitHub,
                "It's a Secret to Everybody",
                vec![(
                    "x-hub-signature-256",
                    "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
                )],
                "Hello, World!",
            ),
            (
                Provider::Slack,
                "8f742231b10e8888abcd99yyyzzz85a5",
                vec![
                    (
                        "x-slack-signature",
                        "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
                    ),
                    ("x-slack-request-timestamp", "1531420618"),
                ],
                SLACK_BODY,
            ),
            (
                Provider::ClickUp,
                "secret",
                vec![("x-signature", "4830bf524f6e29a3e8da953936c6f21c1fea2b9669b825d3e1be293ef3416c8c")],
                r#"{"webhook_id":"7689a169-a000-4985-8676-6902b96d6627","event":"taskCreated","task_id":"c0j"}"#,
            ),
        ]
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_531_420_618 + seconds).unwrap()
    }

    fn verify(
        provider: Provider,
        secrets: &[&str],
        headers: &[(&'static str, &str)],
        body: &[u8],
        now: Timestamp,
    ) -> Result<(), Rejected> {
        let secrets: Vec<_> = secrets.iter().map(|secret| Secret::new(*secret)).collect();
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .collect();
        Claim::read(provider, &headers, now)?.check(body, &secrets)
    }

    #[test]
    fn the_documented_vectors_hold_with_either_secret_of_a_rotation() {
        for (provider, secret, headers, body) in vectors() {
            for secrets in [&[secret] as &[_], &["other", secret], &[secret, "other"]] {
                assert_eq!(verify(provider, secrets, &headers, body.as_bytes(), at(0)), Ok(()));
            }
            for secrets in [&[] as &[_], &["other"], &[""]] {
                assert_eq!(
                    verify(provider, secrets, &headers, body.as_bytes(), at(0)),
                    Err(Rejected::Mismatch)
                );
            }
        }
    }

    #[test]
    fn a_missing_or_doubled_header_is_refused() {
        for (provider, secret, headers, body) in vectors() {
            for at_header in 0..headers.len() {
                let mut fewer = headers.clone();
                let gone = fewer.remove(at_header);
                assert_eq!(
                    verify(provider, &[secret], &fewer, body.as_bytes(), at(0)),
                    Err(Rejected::Missing(gone.0))
                );
                let mut doubled = headers.clone();
                doubled.push(gone);
                assert_eq!(
                    verify(provider, &[secret], &doubled, body.as_bytes(), at(0)),
                    Err(Rejected::Form(gone.0))
                );
            }
        }
        let sha1 = [("x-hub-signature", "sha1=01dc10d0c83e72ed246219cdd91669667fe2ca59")];
        assert_eq!(
            verify(Provider::GitHub, &["s"], &sha1, b"", at(0)),
            Err(Rejected::Missing("x-hub-signature-256"))
        );
    }

    #[test]
    fn a_stale_timestamp_is_refused_in_both_directions() {
        let (provider, secret, headers, body) = vectors()[1].clone();
        for (seconds, expected) in
            [(300, Ok(())), (-300, Ok(())), (301, Err(Rejected::Stale)), (-301, Err(Rejected::Stale))]
        {
            assert_eq!(verify(provider, &[secret], &headers, body.as_bytes(), at(seconds)), expected);
        }
        for odd in
            ["9223372036854775807", "-9223372036854775808", "1531420618.0", "", " 1531420618", "+1531420618"]
        {
            let mut headers = headers.clone();
            headers[1].1 = odd;
            assert!(verify(provider, &[secret], &headers, body.as_bytes(), at(0)).is_err(), "{odd}");
        }
    }

    proptest! {
        #[test]
        fn one_altered_byte_of_the_body_is_refused(which in 0..3_usize, at_byte: prop::sample::Index, flip in 1..=255_u8) {
            let (provider, secret, headers, body) = vectors()[which].clone();
            let mut body = body.as_bytes().to_vec();
            let place = at_byte.index(body.len());
            body[place] ^= flip;
            prop_assert_eq!(verify(provider, &[secret], &headers, &body, at(0)), Err(Rejected::Mismatch));
        }

        #[test]
        fn one_altered_byte_of_a_header_is_refused(which in 0..3_usize, header: prop::sample::Index, at_byte: prop::sample::Index, other in "[ -~]") {
            let (provider, secret, mut headers, body) = vectors()[which].clone();
            let place = header.index(headers.len());
            let value = headers[place].1;
            let byte = at_byte.index(value.len());
            prop_assume!(value[byte..=byte] != *other);
            let altered = format!("{}{other}{}", &value[..byte], &value[byte + 1..]);
            headers[place].1 = &altered;
            prop_assert!(verify(provider, &[secret], &headers, body.as_bytes(), at(0)).is_err());
        }

        #[test]
        fn one_altered_byte_of_the_secret_is_refused(which in 0..3_usize, at_byte: prop::sample::Index, other in "[ -~]") {
            let (provider, secret, headers, body) = vectors()[which].clone();
            let byte = at_byte.index(secret.len());
            prop_assume!(secret[byte..=byte] != *other);
            let altered = format!("{}{other}{}", &secret[..byte], &secret[byte + 1..]);
            prop_assert_eq!(
                verify(provider, &[&altered], &headers, body.as_bytes(), at(0)),
                Err(Rejected::Mismatch)
            );
        }
    }
}
