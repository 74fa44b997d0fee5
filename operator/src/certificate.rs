//! The certificate that the operator serves with, of a CA of its own: made once by whoever leads, kept in a Secret that all
//! replicas read, renewed long before it ends. Pods are given the CA's certificate alone, in a ConfigMap.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use jiff::civil::Date;
use jiff::{Span, Timestamp};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// The Secret's name, and that of the ConfigMap with the CA's certificate.
pub(crate) const SECRET: &str = "nexus-operator-tls";
/// The ConfigMap with the CA's certificate.
pub const CONFIG_MAP: &str = "nexus-operator-ca";
/// The key of the CA's certificate in both.
pub(crate) const CA: &str = "ca.crt";

const CA_KEY: &str = "ca.key";
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";

/// The annotation with the last day of the certificate.
const NOT_AFTER: &str = "nexus.dev/not-after";
/// The annotation with the names of the certificate.
const NAMES: &str = "nexus.dev/names";

/// For how many days a certificate holds, and how many days before its end it is renewed.
const DAYS: (i64, i64) = (90, 60);

/// For how many days the CA holds.
const CA_DAYS: i64 = 3650;

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CertificateError {
    /// It cannot be made.
    #[error("cannot make a certificate")]
    Make(#[source] rcgen::Error),
    /// What the Secret holds is none.
    #[error("Secret {SECRET} has no usable {0}; delete the Secret to have a new one made")]
    Unusable(&'static str),
    /// The time is out of range.
    #[error("the clock tells a time that no certificate can have")]
    Time(#[source] jiff::Error),
}

/// What the Secret holds.
pub(crate) struct Certificate {
    /// The Secret's data.
    pub(crate) data: BTreeMap<String, ByteString>,
    /// Its annotations.
    pub(crate) annotations: BTreeMap<String, String>,
}

impl Certificate {
    /// A new certificate for these names, of the CA in `before` if there is one, else of a new CA.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn make(
        before: Option<&Secret>,
        names: &[String],
        now: Timestamp,
    ) -> Result<Self, CertificateError> {
        let today = now.to_zoned(jiff::tz::TimeZone::UTC).date();
        let before = before.and_then(|secret| Some((text(secret, CA).ok()?, text(secret, CA_KEY).ok()?)));
        let (ca_pem, ca_key) = match before {
            Some((pem, key)) => (pem, KeyPair::from_pem(&key).map_err(CertificateError::Make)?),
            None => {
                let key = KeyPair::generate().map_err(CertificateError::Make)?;
                let ca = authority(today)?.self_signed(&key).map_err(CertificateError::Make)?;
                (ca.pem(), key)
            }
        };
        let issuer = Issuer::new(authority(today)?, ca_key);
        let key = KeyPair::generate().map_err(CertificateError::Make)?;
        let not_after = later(today, DAYS.0)?;
        let mut params = CertificateParams::new(names).map_err(CertificateError::Make)?;
        limit(&mut params, later(today, -1)?, not_after);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(&key, &issuer).map_err(CertificateError::Make)?;
        let data = [
            (CA, ca_pem),
            (CA_KEY, issuer.key().serialize_pem()),
            (CERTIFICATE, certificate.pem()),
            (KEY, key.serialize_pem()),
        ];
        let data = data.map(|(name, text)| (name.to_owned(), ByteString(text.into_bytes())));
        let annotations = BTreeMap::from([
            (NOT_AFTER.to_owned(), not_after.to_string()),
            (NAMES.to_owned(), names.join(",")),
        ]);
        Ok(Self { data: data.into(), annotations })
    }
}

/// Whether a Secret's certificate is to be renewed.
pub(crate) fn is_due(secret: &Secret, names: &[String], now: Timestamp) -> bool {
    let today = now.to_zoned(jiff::tz::TimeZone::UTC).date();
    let annotation = |name: &str| secret.metadata.annotations.as_ref().and_then(|all| all.get(name));
    if annotation(NAMES) != Some(&names.join(",")) {
        return true;
    }
    let not_after = annotation(NOT_AFTER).and_then(|date| date.parse::<Date>().ok());
    not_after.is_none_or(|date| later(today, DAYS.1).is_ok_and(|soon| date < soon))
}

fn authority(today: Date) -> Result<CertificateParams, CertificateError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "nexus-operator CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    limit(&mut params, later(today, -1)?, later(today, CA_DAYS)?);
    Ok(params)
}

/// From the midnight of one day to that of another, UTC.
fn limit(params: &mut CertificateParams, from: Date, to: Date) {
    let parts = |date: Date| (i32::from(date.year()), date.month().unsigned_abs(), date.day().unsigned_abs());
    let ((year, month, day), (last_year, last_month, last_day)) = (parts(from), parts(to));
    params.not_before = rcgen::date_time_ymd(year, month, day);
    params.not_after = rcgen::date_time_ymd(last_year, last_month, last_day);
}

fn later(date: Date, days: i64) -> Result<Date, CertificateError> {
    date.checked_add(Span::new().days(days)).map_err(CertificateError::Time)
}

/// What the Secret holds under this key.
fn text(secret: &Secret, key: &'static str) -> Result<String, CertificateError> {
    let bytes = secret.data.as_ref().and_then(|data| data.get(key));
    let text = bytes.and_then(|bytes| String::from_utf8(bytes.0.clone()).ok());
    text.ok_or(CertificateError::Unusable(key))
}

/// The CA's certificate in a Secret.
///
/// # Errors
/// When there is none.
pub(crate) fn authority_of(secret: &Secret) -> Result<String, CertificateError> {
    text(secret, CA)
}

/// What is served with now. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Served(Arc<RwLock<Option<Arc<CertifiedKey>>>>);

impl Served {
    /// Serves from now on with what the Secret holds.
    ///
    /// # Errors
    /// When that is no certificate with its key.
    pub(crate) fn set(&self, secret: &Secret) -> Result<(), CertificateError> {
        let (certificate, key) = (text(secret, CERTIFICATE)?, text(secret, KEY)?);
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect();
        let chain = chain.map_err(|_| CertificateError::Unusable(CERTIFICATE))?;
        let key =
            PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| CertificateError::Unusable(KEY))?;
        let key = rustls::crypto::ring::sign::any_supported_type(&key);
        let key = key.map_err(|_| CertificateError::Unusable(KEY))?;
        let served = Arc::new(CertifiedKey::new(chain, key));
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(served);
        Ok(())
    }
}

impl ResolvesServerCert for Served {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(certificate: Certificate) -> Secret {
        let metadata = k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
            annotations: Some(certificate.annotations),
            ..Default::default()
        };
        Secret { data: Some(certificate.data), metadata, ..Secret::default() }
    }

    #[test]
    fn a_renewed_certificate_is_of_the_ca_that_pods_know() {
        let now: Timestamp = "2026-11-29T12:00:00Z".parse().unwrap();
        let names = ["nexus-operator.nexus-system.svc".to_owned()];
        let first = secret(Certificate::make(None, &names, now).unwrap());
        let second = secret(Certificate::make(Some(&first), &names, now).unwrap());
        assert_eq!(authority_of(&first).unwrap(), authority_of(&second).unwrap());
        assert_ne!(text(&first, CERTIFICATE).unwrap(), text(&second, CERTIFICATE).unwrap());
        Served::default().set(&second).unwrap();
        assert!(Served::default().set(&Secret::default()).unwrap_err().to_string().contains("tls.crt"));
    }

    #[test]
    fn a_certificate_is_renewed_long_before_its_end() {
        let now: Timestamp = "2026-11-29T12:00:00Z".parse().unwrap();
        let names = ["x".to_owned()];
        let made = secret(Certificate::make(None, &names, now).unwrap());
        let after = |days: i64| now + jiff::SignedDuration::from_hours(24 * days);
        assert!(!is_due(&made, &names, after(29)));
        assert!(is_due(&made, &["y".to_owned()], after(0)));
        assert!(is_due(&made, &names, after(31)));
        assert!(is_due(&Secret::default(), &names, now));
    }
}
