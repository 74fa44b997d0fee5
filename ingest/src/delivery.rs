//! A delivery, before and after its signature was checked. What is unverified has no body to look at, so that
//! nothing can be parsed, logged or stored that nobody vouches for.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, header};
use nexus_core::event::Provider;
use nexus_core::secret::Secret;
use nexus_store::bus::Raw;

use crate::normalize::Malformed;
use crate::verify::{Claim, Rejected};

/// Headers that are kept beside the body, as they matter to its meaning. Signatures and the timestamps that
/// they cover are not among them.
const KEPT: [&str; 11] = [
    "content-type",
    "user-agent",
    "x-github-event",
    "x-github-delivery",
    "x-github-hook-id",
    "x-github-hook-installation-target-type",
    "x-github-hook-installation-target-id",
    "x-github-enterprise-host",
    "x-github-enterprise-version",
    "x-slack-retry-num",
    "x-slack-retry-reason",
];

/// A delivery whose signature is still to be checked.
pub struct Unverified {
    headers: HeaderMap,
    body: Bytes,
}

impl Unverified {
    /// A delivery as it came.
    #[must_use]
    pub const fn new(headers: HeaderMap, body: Bytes) -> Self {
        Self { headers, body }
    }

    /// How many bytes the body has.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "an empty body is as good a body as any here")]
    pub const fn len(&self) -> usize {
        self.body.len()
    }

    /// Checks the claim that was read from the headers against the body.
    ///
    /// # Errors
    /// When none of the secrets made the signature.
    pub fn verify(self, claim: &Claim, secrets: &[Secret]) -> Result<Verified, Rejected> {
        claim.check(&self.body, secrets)?;
        Ok(Verified { provider: claim.provider(), headers: self.headers, body: self.body })
    }
}

impl fmt::Debug for Unverified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Unverified({} bytes)", self.body.len())
    }
}

/// A delivery that one of the source's secrets vouches for.
pub struct Verified {
    provider: Provider,
    headers: HeaderMap,
    body: Bytes,
}

impl Verified {
    /// Who sent it.
    #[must_use]
    pub const fn provider(&self) -> Provider {
        self.provider
    }

    /// The body, byte for byte.
    #[must_use]
    pub const fn body(&self) -> &Bytes {
        &self.body
    }

    /// A header's value, if it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The JSON text: the body itself, or the field `payload` of a form.
    ///
    /// # Errors
    /// When the body is no UTF-8, or a form without that field.
    pub fn json(&self) -> Result<Cow<'_, str>, Malformed> {
        let form = self
            .header(header::CONTENT_TYPE.as_str())
            .and_then(|value| value.split(';').next())
            .is_some_and(|media| media.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded"));
        if form {
            return form_urlencoded::parse(&self.body)
                .find(|(name, _)| name == "payload")
                .map(|(_, payload)| payload)
                .ok_or(Malformed::NoPayload);
        }
        let text = std::str::from_utf8(&self.body).map_err(|_| Malformed::NotUtf8)?;
        // A byte order mark is no JSON, yet senders behind some proxies have one.
        Ok(Cow::Borrowed(text.strip_prefix('\u{feff}').unwrap_or(text)))
    }

    /// What is kept for replay.
    #[must_use]
    pub fn raw(&self) -> Raw {
        let headers = KEPT
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), self.header(name)?.to_owned())))
            .collect();
        Raw { headers, body: self.body.clone() }
    }
}

impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verified({}, {} bytes)", self.provider.name(), self.body.len())
    }
}
