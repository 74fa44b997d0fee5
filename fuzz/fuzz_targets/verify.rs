//! Signatures: what the target signs as a provider would is believed, and nothing else is.
//!
//! The oracle signs by itself. A delivery must be believed if and only if each header stands there once, the
//! signature is to the letter what one of the secrets makes of this body, and Slack's timestamp is within its window.

#![no_main]

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use nexus_core::event::Provider;
use nexus_core::secret::Secret;
use nexus_ingest::delivery::Unverified;
use nexus_ingest::verify::Claim;
use sha2::Sha256;

const NOW: i64 = 1_531_420_618;
const WINDOW: u64 = 300;

/// A header's value.
#[derive(Debug, Arbitrary)]
enum Value<'a> {
    /// As the provider would send it.
    Right,
    /// The same with one byte replaced.
    Altered { at: u8, to: u8 },
    /// The same with something before or behind it.
    Longer { before: &'a [u8], behind: &'a [u8] },
    /// Anything.
    Raw(&'a [u8]),
}

/// The timestamp that Slack signs.
#[derive(Debug, Arbitrary)]
enum Stamp<'a> {
    /// So many seconds from now.
    Near(i16),
    /// Anything.
    Raw(&'a str),
}

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    provider: u8,
    secrets: [&'a [u8]; 2],
    /// The secret that signs, and whether it is one of the source's.
    signer: u8,
    foreign: &'a [u8],
    stamp: Stamp<'a>,
    signatures: Vec<Value<'a>>,
    stamps: Vec<Value<'a>>,
    others: Vec<(&'a str, &'a [u8])>,
    /// A byte of the body that is altered on the way.
    alter: Option<(u16, u8)>,
    body: &'a [u8],
}

impl Value<'_> {
    fn bytes(&self, right: &[u8]) -> Vec<u8> {
        match self {
            Self::Right => right.to_vec(),
            Self::Altered { at, to } => {
                let mut bytes = right.to_vec();
                if let Some(byte) = bytes.get_mut(usize::from(*at)) {
                    *byte = *to;
                }
                bytes
            }
            Self::Longer { before, behind } => [*before, right, *behind].concat(),
            Self::Raw(bytes) => bytes.to_vec(),
        }
    }
}

/// The names of the signature's and, for Slack, the timestamp's header.
const fn names(provider: Provider) -> (&'static str, Option<&'static str>) {
    match provider {
        Provider::ClickUp => ("x-signature", None),
        Provider::GitHub => ("x-hub-signature-256", None),
        Provider::Slack => ("x-slack-signature", Some("x-slack-request-timestamp")),
    }
}

/// The signature's header as the provider writes it.
fn sign(provider: Provider, secret: &[u8], stamp: &[u8], body: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
    let prefix = match provider {
        Provider::ClickUp => "",
        Provider::GitHub => "sha256=",
        Provider::Slack => {
            mac.update(b"v0:");
            mac.update(stamp);
            mac.update(b":");
            "v0="
        }
    };
    mac.update(body);
    format!("{prefix}{}", hex::encode(mac.finalize().into_bytes())).into_bytes()
}

fn is_near(stamp: &[u8]) -> bool {
    let text = std::str::from_utf8(stamp).unwrap_or_default();
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits && text.parse::<i64>().is_ok_and(|seconds| seconds.abs_diff(NOW) <= WINDOW)
}

/// Every value under a name as it went into the map.
fn values<'m>(headers: &'m HeaderMap, name: &str) -> Vec<&'m [u8]> {
    headers.get_all(name).iter().map(HeaderValue::as_bytes).collect()
}

fn is_right(provider: Provider, headers: &HeaderMap, secrets: &[&[u8]], body: &[u8]) -> bool {
    let (signature, stamp) = names(provider);
    let stamp = match stamp.map(|name| values(headers, name)) {
        None => &[][..],
        Some(stamps) if stamps.len() == 1 && is_near(stamps[0]) => stamps[0],
        Some(_) => return false,
    };
    let signatures = values(headers, signature);
    let fits = |secret: &&&[u8]| !secret.is_empty() && signatures[0] == sign(provider, secret, stamp, body);
    signatures.len() == 1 && secrets.iter().find(fits).is_some()
}

fuzz_target!(|input: Input<'_>| {
    let provider = [Provider::ClickUp, Provider::GitHub, Provider::Slack][usize::from(input.provider % 3)];
    let now = Timestamp::from_second(NOW).expect("a time of our days");
    let signer = [input.secrets[0], input.secrets[1], input.foreign][usize::from(input.signer % 3)];
    let stamp = match &input.stamp {
        Stamp::Near(seconds) => (NOW + i64::from(*seconds)).to_string(),
        Stamp::Raw(text) => (*text).to_owned(),
    };
    let right = sign(provider, signer, stamp.as_bytes(), input.body);

    let mut headers = HeaderMap::new();
    let mut add = |name: &str, bytes: &[u8]| {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_bytes(bytes)) {
            headers.append(name, value);
        }
    };
    let (signature_name, stamp_name) = names(provider);
    // Each header stands there twice at most: a third changes nothing.
    for value in input.signatures.iter().take(2) {
        add(signature_name, &value.bytes(&right));
    }
    for value in input.stamps.iter().take(2) {
        add(stamp_name.unwrap_or("x-slack-request-timestamp"), &value.bytes(stamp.as_bytes()));
    }
    for (name, value) in input.others.iter().take(4) {
        add(name, value);
    }

    let mut body = input.body.to_vec();
    if let Some((at, flip)) = input.alter
        && let Some(byte) = body.get_mut(usize::from(at))
    {
        *byte ^= flip;
    }

    let expected = is_right(provider, &headers, &input.secrets, &body);
    let secrets = input.secrets.map(Secret::new);
    let claim = Claim::read(provider, &headers, now);
    let believed =
        claim.as_ref().map_err(|rejected| *rejected).and_then(|claim| claim.check(&body, &secrets));
    assert_eq!(believed.is_ok(), expected, "{believed:?}");
    if let Err(rejected) = believed {
        // No refusal says what a right signature would be.
        let right = String::from_utf8_lossy(&right);
        let digest = &right[right.len() - 64..];
        assert!(!rejected.to_string().contains(digest));
    }

    let Ok(claim) = claim else { return };
    assert_eq!(claim.provider(), provider);
    let verified = Unverified::new(headers, Bytes::from(body.clone())).verify(&claim, &secrets);
    assert_eq!(verified.as_ref().err().copied(), believed.err());
    if let Ok(verified) = verified {
        assert_eq!((verified.provider(), &verified.body()[..]), (provider, &body[..]));
        // What is kept for replay holds no signature.
        let kept = verified.raw();
        assert!(
            kept.headers.iter().all(|(name, _)| !name.contains("signature") && !name.contains("timestamp"))
        );
    }
});
