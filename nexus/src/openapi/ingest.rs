//! Webhooks.

use std::collections::BTreeMap;

use serde_json::json;

use super::build::{Document, Operation, Server};
use super::security;

pub fn describe(document: &mut Document) {
    let accepted = document.answer::<nexus_ingest::Accepted>();
    let refused = document.answer::<nexus_ingest::Problem<'_>>();
    let mut operation = Operation::post(
        Server::Ingest,
        "/hooks/{namespace}/{tenant}/{source}",
        "receiveWebhook",
        "Takes one delivery of a provider",
    )
    .about(
        "The body is what the provider sends, signed as the provider signs it, at most 25 MiB and uncompressed. 200 \
         says that the event is durable; a delivery that came before is answered with the first one's event. 401 and \
         410 are never answered: ClickUp would suspend the hook.",
    )
    .secured(security::signatures())
    .body("application/json", json!({}))
    .json(200, "The event is durable; or, as text, the challenge of a provider that checks the address.", accepted)
    .text(200, "The event is durable; or, as text, the challenge of a provider that checks the address.");
    let mut by_status = BTreeMap::<u16, Vec<_>>::new();
    for refusal in nexus_ingest::refusals() {
        by_status.entry(refusal.status).or_default().push(refusal);
    }
    // Another method is another operation, which OpenAPI does not describe.
    by_status.remove(&405);
    for (status, refusals) in by_status {
        let lines = refusals.iter().map(|refusal| format!("- `{}`: {}", refusal.error, refusal.message));
        operation = operation.json(status, &lines.collect::<Vec<_>>().join("\n"), refused.clone());
        if refusals.iter().all(|refusal| refusal.retry_after.is_some()) {
            operation = operation.retry_after(status);
        }
    }
    document.add(operation);
}
