//! Reading a body: against a deadline, a bound and the budget that all bodies share.

use ::http::{HeaderMap, header};
use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;

use super::answer::Refusal;
use crate::budget::Share;
use crate::config::IngestSettings;

/// Refuses what is announced as too long before any of it is read.
pub(super) fn announced(headers: &HeaderMap, max: usize) -> Result<(), Refusal> {
    let length = headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    match length {
        Some(length) if length > max as u64 => Err(Refusal::TooLarge { max }),
        _ => Ok(()),
    }
}

/// Reads a body. What it holds of the budget is in `share`, also after an error.
pub(super) async fn read(body: Body, settings: &IngestSettings, share: &mut Share) -> Result<Bytes, Refusal> {
    let reading = collect(body, settings.max_body, share);
    match tokio::time::timeout(settings.body_deadline, reading).await {
        Ok(read) => read,
        Err(_) => Err(Refusal::Slow { seconds: settings.body_deadline.as_secs() }),
    }
}

async fn collect(mut body: Body, max: usize, share: &mut Share) -> Result<Bytes, Refusal> {
    let mut first = Bytes::new();
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Refusal::Broken)?;
        // Trailers mean nothing to a webhook.
        let Ok(chunk) = frame.into_data() else { continue };
        if first.len() + whole.len() + chunk.len() > max {
            return Err(Refusal::TooLarge { max });
        }
        share.grow(chunk.len())?;
        if first.is_empty() && whole.is_empty() {
            // Most bodies come in one piece, and are never copied.
            first = chunk;
        } else {
            whole.extend_from_slice(&std::mem::take(&mut first));
            whole.extend_from_slice(&chunk);
        }
    }
    Ok(if whole.is_empty() { first } else { whole.freeze() })
}
