use biscuit_auth::{BlockBuilder, KeyPair};

use nexus_core::secret::Secret;

use super::*;

fn claims() -> Claims {
    let tenant: TenantKey = "acme/acme".parse().unwrap();
    Claims {
        agent: AgentId::of(&tenant, "coder"),
        tenant,
        credential: "0badcafe".into(),
        expires: at("2026-11-24T07:10:00Z"),
    }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn now() -> Timestamp {
    at("2026-11-24T07:00:00Z")
}

fn attenuated(token: &str, code: &str) -> String {
    let block = BlockBuilder::new().code(code).unwrap();
    let token = UnverifiedBiscuit::from_base64(token).unwrap();
    token.append(block).unwrap().to_base64().unwrap()
}

#[test]
fn a_token_says_whose_it_is_and_until_when() {
    let keys = TokenKeys::generate();
    let token = keys.issue(&claims()).unwrap();
    assert_eq!(keys.verify(&token, now()), Ok(claims()));
    assert_eq!(keys.verify(token.trim_end_matches('='), now()), Ok(claims()));
}

#[test]
fn a_token_ends_with_its_last_second() {
    let keys = TokenKeys::generate();
    let token = keys.issue(&claims()).unwrap();
    assert!(keys.verify(&token, at("2026-11-24T07:09:59.9Z")).is_ok());
    let at = at("2026-11-24T07:10:00Z");
    assert_eq!(keys.verify(&token, at), Err(TokenError::Expired { at }));
}

#[test]
fn a_token_of_another_key_is_refused_unless_it_is_accepted() {
    let (old, new) = (TokenKeys::generate(), TokenKeys::generate());
    let token = old.issue(&claims()).unwrap();
    assert_eq!(new.verify(&token, now()), Err(TokenError::UnknownKey));
    let new = new.accepting(&old.public()).unwrap();
    assert_eq!(new.verify(&token, now()), Ok(claims()));
    assert!(old.verify(&new.issue(&claims()).unwrap(), now()).is_err());
}

#[test]
fn a_token_that_claims_our_key_id_but_another_key_is_refused() {
    let keys = TokenKeys::generate();
    let forged = Biscuit::builder()
        .root_key_id(keys.id())
        .fact(r#"tenant("acme/acme")"#)
        .and_then(|builder| builder.check(until(claims().expires)))
        .and_then(|builder| builder.build(&KeyPair::new()))
        .and_then(|token| token.to_base64())
        .unwrap();
    assert_eq!(keys.verify(&forged, now()), Err(TokenError::Altered));
}

#[test]
fn an_altered_token_is_refused_at_every_byte() {
    let keys = TokenKeys::generate();
    let good = BASE64.decode(keys.issue(&claims()).unwrap()).unwrap();
    for place in 0..good.len() {
        let mut bad = good.clone();
        bad[place] ^= 1;
        let verdict = keys.verify(&BASE64.encode(&bad), now());
        // The last 32 bytes are the key that a holder attenuates with: not signed, but it must fit.
        assert!(verdict.is_err(), "byte {place} of {}: {verdict:?}", good.len());
    }
}

#[test]
fn nonsense_is_refused() {
    let keys = TokenKeys::generate();
    assert_eq!(keys.verify("", now()), Err(TokenError::Malformed));
    assert_eq!(keys.verify("not a token", now()), Err(TokenError::Malformed));
    assert_eq!(keys.verify("bm90IGEgdG9rZW4", now()), Err(TokenError::Malformed));
    assert_eq!(keys.verify(&"A".repeat(MAX_TOKEN + 1), now()), Err(TokenError::TooLong));
}

#[test]
fn a_holder_may_shorten_a_token() {
    let keys = TokenKeys::generate();
    let token = keys.issue(&claims()).unwrap();
    let shorter = attenuated(&token, "check if time($t), $t <= 2026-11-24T07:05:00Z;");
    assert_eq!(keys.verify(&shorter, now()).unwrap().expires, at("2026-11-24T07:05:00Z"));
    let shorter = attenuated(&shorter, "check if time($time), $time < 2026-11-24T07:03:00Z;");
    assert_eq!(keys.verify(&shorter, now()).unwrap().expires, at("2026-11-24T07:03:00Z"));
    let no_longer = attenuated(&shorter, "check if time($t), $t <= 2030-01-01T00:00:00Z;");
    assert_eq!(keys.verify(&no_longer, now()).unwrap().expires, at("2026-11-24T07:03:00Z"));
    let expired = attenuated(&token, "check if time($t), $t <= 2026-11-24T06:00:00Z;");
    assert!(matches!(keys.verify(&expired, now()), Err(TokenError::Expired { .. })));
}

#[test]
fn a_token_has_so_many_blocks_at_most() {
    let keys = TokenKeys::generate();
    let shorten = |token: &String| attenuated(token, "check if time($t), $t <= 2026-11-24T07:05:00Z;");
    let mut token = keys.issue(&claims()).unwrap();
    for _ in 1..MAX_BLOCKS {
        token = shorten(&token);
    }
    assert!(keys.verify(&token, now()).is_ok());
    let more = shorten(&token);
    assert!(more.len() <= MAX_TOKEN);
    assert_eq!(keys.verify(&more, now()), Err(TokenError::TooManyBlocks));
    // Nothing is verified before they are counted.
    assert_eq!(TokenKeys::generate().verify(&more, now()), Err(TokenError::TooManyBlocks));
}

#[test]
fn a_token_fits_the_secret_that_it_was_issued_for() {
    let digest = Secret::new("one").digest();
    let claims = Claims { credential: credential_mark(digest), ..claims() };
    assert!(claims.fits(Some(digest)));
    assert!(!claims.fits(Some(Secret::new("two").digest())));
    assert!(!claims.fits(None));
}

#[test]
fn every_other_attenuation_is_refused() {
    let keys = TokenKeys::generate();
    let token = keys.issue(&claims()).unwrap();
    for code in [
        r#"right("admin");"#,
        r#"tenant("other/other");"#,
        r#"right($x) <- agent($x);"#,
        r#"check if right("connect");"#,
        "check if true;",
        "check if time($t), $t >= 2026-11-24T06:00:00Z;",
        "check if time($t), 2026-11-24T07:05:00Z >= $t;",
        "check if time($t), $t <= 2026-11-24T07:05:00Z or true;",
        "check if time($t), $t <= 2026-11-24T07:05:00Z, true;",
        "check if time($t), agent($a), $t <= 2026-11-24T07:05:00Z;",
        "check if date($t), $t <= 2026-11-24T07:05:00Z;",
        "check all time($t), $t <= 2026-11-24T07:05:00Z;",
        "reject if time($t), $t <= 2026-11-24T06:05:00Z;",
        "check if time($t), $t <= 2026-11-24T07:05:00Z trusting previous;",
        r#"check if "aaaaaaaaaaaaaaaaaaaaaaaa".matches("(a+)+$");"#,
    ] {
        let verdict = keys.verify(&attenuated(&token, code), now());
        assert!(matches!(verdict, Err(TokenError::Attenuation { block: 1, .. })), "{code}: {verdict:?}");
    }
    let scoped = BlockBuilder::new()
        .code("check if time($t), $t <= 2026-11-24T07:05:00Z;")
        .unwrap()
        .scope(biscuit_auth::builder::Scope::Previous);
    let scoped = UnverifiedBiscuit::from_base64(&token).unwrap().append(scoped).unwrap();
    let verdict = keys.verify(&scoped.to_base64().unwrap(), now());
    assert!(matches!(verdict, Err(TokenError::Attenuation { .. })), "{verdict:?}");
}

#[test]
fn a_third_party_block_is_refused() {
    let keys = TokenKeys::generate();
    let token = UnverifiedBiscuit::from_base64(keys.issue(&claims()).unwrap()).unwrap();
    let third = KeyPair::new();
    let block = BlockBuilder::new().code("check if time($t), $t <= 2026-11-24T07:05:00Z;").unwrap();
    let block = token.third_party_request().unwrap().create_block(&third.private(), block).unwrap();
    let token = token.append_third_party(&block.serialize().unwrap()).unwrap();
    let verdict = keys.verify(&token.to_base64().unwrap(), now());
    assert!(matches!(verdict, Err(TokenError::Attenuation { .. })), "{verdict:?}");
}

#[test]
fn a_token_needs_the_right_and_an_end() {
    let keys = TokenKeys::generate();
    let build = |facts: &[&str], end: Option<Check>| {
        let mut builder = Biscuit::builder().root_key_id(keys.id());
        for fact in facts {
            builder = builder.fact(*fact).unwrap();
        }
        if let Some(end) = end {
            builder = builder.check(end).unwrap();
        }
        builder.build(keys.signing()).unwrap().to_base64().unwrap()
    };
    let (tenant, agent) = (r#"tenant("acme/acme")"#, format!("agent(\"{}\")", claims().agent));
    let end = || Some(until(claims().expires));
    let no_right = build(&[tenant, &agent, r#"right("read")"#], end());
    assert_eq!(keys.verify(&no_right, now()), Err(TokenError::WrongRights));
    let no_end = build(&[tenant, &agent, r#"right("connect")"#], None);
    assert_eq!(keys.verify(&no_end, now()), Err(TokenError::Incomplete));
    let nobody = build(&[tenant, r#"right("connect")"#], end());
    assert_eq!(keys.verify(&nobody, now()), Err(TokenError::Incomplete));
    let (right, credential) = (r#"right("connect")"#, r#"credential("0badcafe")"#);
    let no_credential = build(&[tenant, &agent, right], end());
    assert_eq!(keys.verify(&no_credential, now()), Err(TokenError::Incomplete));
    let full = build(&[tenant, &agent, credential, right], end());
    assert_eq!(keys.verify(&full, now()), Ok(claims()));
    let two = build(&[tenant, r#"tenant("b/b")"#, &agent, credential, right], end());
    assert_eq!(keys.verify(&two, now()), Err(TokenError::Incomplete));
}

#[test]
fn keys_survive_a_file_and_show_nothing() {
    let keys = TokenKeys::generate();
    let again = TokenKeys::from_pem(&keys.to_pem().unwrap()).unwrap();
    assert_eq!((again.id(), again.public()), (keys.id(), keys.public()));
    assert!(again.verify(&keys.issue(&claims()).unwrap(), now()).is_ok());
    let shown = format!("{keys:?}");
    assert!(shown.starts_with("TokenKeys { id: ") && shown.len() < 80, "{shown}");
    assert!(TokenKeys::from_pem(&Secret::new("-----BEGIN nothing")).is_err());
    assert!(TokenKeys::generate().accepting("ed25519/zz").is_err());
}
