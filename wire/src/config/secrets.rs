//! Signing secrets as JSON: an object of lists of Base64 texts, by source. No copy of them is left in freed memory, and no
//! error quotes them.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nexus_core::secret::Secret;
use nexus_core::snapshot::SigningSecrets;
use zeroize::Zeroizing;

/// Canonical: the same secrets always give the same bytes.
pub(super) fn to_json(secrets: &SigningSecrets) -> Zeroizing<Vec<u8>> {
    let each = |secret: &Secret| secret.expose().len().div_ceil(3) * 4 + 3;
    // A name may need escapes: six bytes for one at most.
    let source =
        |(name, all): (&String, &Vec<Secret>)| name.len() * 6 + 8 + all.iter().map(each).sum::<usize>();
    // Large enough from the start: a buffer that grows leaves copies behind.
    let mut json = Zeroizing::new(Vec::with_capacity(2 + secrets.iter().map(source).sum::<usize>()));
    json.push(b'{');
    for (at, (name, all)) in secrets.iter().enumerate() {
        if at > 0 {
            json.push(b',');
        }
        serde_json::to_writer(&mut *json, name).expect("a text is written into memory");
        json.extend_from_slice(b":[");
        for (at, secret) in all.iter().enumerate() {
            json.extend_from_slice(if at > 0 { b",\"" } else { b"\"" });
            let text = Zeroizing::new(STANDARD.encode(secret.expose()));
            json.extend_from_slice(text.as_bytes());
            json.push(b'"');
        }
        json.push(b']');
    }
    json.push(b'}');
    json
}

/// What [`to_json`] wrote; none of anything else.
pub(super) fn parse(json: &[u8]) -> Option<SigningSecrets> {
    let secrets: BTreeMap<String, Vec<&str>> = serde_json::from_slice(json).ok()?;
    let secret = |text: &str| STANDARD.decode(text).ok().map(Secret::new);
    let source =
        |(name, all): (String, Vec<&str>)| Some((name, all.into_iter().map(secret).collect::<Option<_>>()?));
    secrets.into_iter().map(source).collect()
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_form_is_fixed() {
        let secrets = [
            ("a\"b".to_owned(), vec![Secret::new("hunter2"), Secret::new([0, 255])]),
            ("c".to_owned(), vec![]),
        ];
        let json = to_json(&secrets.into());
        assert_eq!(std::str::from_utf8(&json).unwrap(), r#"{"a\"b":["aHVudGVyMg==","AP8="],"c":[]}"#);
        for wrong in ["", "[]", r#"{"a":"b"}"#, r#"{"a":["?"]}"#, r#"{"a":["\u0041A=="]}"#] {
            assert!(parse(wrong.as_bytes()).is_none(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_secret_is_read_back(
            secrets in btree_map(".{0,8}", vec(vec(any::<u8>(), 0..40), 0..3), 0..4)
        ) {
            let secret = |(name, all): (String, Vec<Vec<u8>>)| (name, all.into_iter().map(Secret::new).collect());
            let secrets: SigningSecrets = secrets.into_iter().map(secret).collect();
            prop_assert_eq!(parse(&to_json(&secrets)).unwrap(), secrets);
        }
    }
}
