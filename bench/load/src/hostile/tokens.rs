//! Access tokens that are none any more, or never were.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use biscuit_auth::UnverifiedBiscuit;
use biscuit_auth::builder::BlockBuilder;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::attack::{Attack, Target, attempt};
use super::frames;
use crate::socket::{Latest, connect};

const PATIENCE: Duration = Duration::from_secs(15);

pub fn all() -> Vec<Attack> {
    let kind = |name, expected, accepts, attempt| Attack {
        name,
        expected,
        accepts,
        workers: 8,
        every: Duration::from_millis(40),
        least: Duration::ZERO,
        attempt,
    };
    let invalid: &[&str] = &["401"];
    vec![
        kind("token expired", "401 invalid_token", invalid, attempt!(expired)),
        kind("token altered", "401 invalid_token", invalid, attempt!(altered)),
        kind("token with a removed block", "401 invalid_token", invalid, attempt!(removed)),
        kind("token with an added block", "401 invalid_token", invalid, attempt!(added)),
        kind("token of 9 KiB", "401 invalid_token", invalid, attempt!(oversized)),
        kind("token of 100 KiB", "401 or 431", &["401", "431"], attempt!(huge)),
        kind("token of another tenant", "error wrong_token", &["wrong_token"], attempt!(strangers)),
    ]
}

/// The status of a handshake.
async fn try_token(target: &Target, token: &str) -> anyhow::Result<String> {
    match timeout(PATIENCE, connect(target.gateway, token, Arc::new(Latest::default()))).await? {
        Ok(_) => Ok("admitted".to_owned()),
        Err(Error::Http(answer)) => Ok(answer.status().as_u16().to_string()),
        Err(error) => Err(error).context("no answer"),
    }
}

fn with_block(token: &str, code: &str) -> anyhow::Result<String> {
    let block = BlockBuilder::new().code(code)?;
    Ok(UnverifiedBiscuit::from_base64(token)?.append(block)?.to_base64()?)
}

async fn expired(target: &Target) -> anyhow::Result<String> {
    let token = with_block(&target.token, "check if time($t), $t <= 2026-01-01T00:00:00Z;")?;
    try_token(target, &token).await
}

async fn altered(target: &Target) -> anyhow::Result<String> {
    let mut bytes = URL_SAFE.decode(&target.token)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    try_token(target, &URL_SAFE.encode(bytes)).await
}

/// An attenuated token whose last block is taken out again, so that it would be good for longer.
async fn removed(target: &Target) -> anyhow::Result<String> {
    let token = with_block(&target.token, "check if time($t), $t <= 2026-01-01T00:00:00Z;")?;
    let bytes = URL_SAFE.decode(token)?;
    let without = without_blocks(&bytes).context("a token that is no protobuf")?;
    ensure!(without.len() < bytes.len(), "no block was removed");
    try_token(target, &URL_SAFE.encode(without)).await
}

/// The token without field 3, which holds the blocks that were added.
fn without_blocks(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut kept = Vec::new();
    while !bytes.is_empty() {
        let whole = bytes;
        let key = varint(&mut bytes)?;
        match key & 7 {
            0 => drop(varint(&mut bytes)?),
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                bytes = bytes.get(length..)?;
            }
            _ => return None,
        }
        if key >> 3 != 3 {
            kept.extend_from_slice(&whole[..whole.len() - bytes.len()]);
        }
    }
    Some(kept)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for at in 0..10 {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << (7 * at);
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

async fn added(target: &Target) -> anyhow::Result<String> {
    try_token(target, &with_block(&target.token, r#"right("admin"); tenant("other/other");"#)?).await
}

async fn oversized(target: &Target) -> anyhow::Result<String> {
    try_token(target, &"A".repeat(9 << 10)).await
}

async fn huge(target: &Target) -> anyhow::Result<String> {
    try_token(target, &"A".repeat(100 << 10)).await
}

/// A good token, but another tenant's, put into a session that is open.
async fn strangers(target: &Target) -> anyhow::Result<String> {
    let mut socket = frames::agent(target).await?;
    socket.send(Message::text(json!({"reauth": {"token": target.stranger}}).to_string())).await?;
    while let Some(message) = timeout(PATIENCE, socket.next()).await? {
        if let Message::Text(text) = message? {
            let frame: Value = serde_json::from_str(&text)?;
            if let Some(code) = frame["error"]["code"].as_str() {
                let _ = socket.close(None).await;
                return Ok(code.to_owned());
            }
        }
    }
    Ok("closed".to_owned())
}
