//! What the admin server shows and does. A new route is one entry in [`describe`].

use nexus_core::id::InboxId;
use serde_json::{Value, json};

use super::build::{Document, Operation, Server};
use crate::api::{
    ApiError, DeadAnswer, DeadInboxes, DeadPage, DeadRequest, EventStory, EventsPage, ReleaseRequest,
    ReplayAnswer, ReplayRequest, Routing, Status, StopAnswer, StopRequest, TenantLog,
};

pub fn describe(document: &mut Document) {
    health(document);
    let error = document.answer::<ApiError>();
    let get = |path, id, summary| guarded(Operation::get(Server::Admin, path, id, summary), &error);
    let post = |path, id, summary| changing(Operation::post(Server::Admin, path, id, summary), &error);

    let status = document.answer::<Status>();
    document.add(get("/api/v1/status", "status", "Tells how things are").json(200, "The status.", status));

    let story = document.answer::<EventStory>();
    document.add(
        get("/api/v1/events/{id}", "getEvent", "Tells everything about one event")
            .json(200, "The event, where it went and why.", story)
            .json(400, "The id is no UUID.", error.clone())
            .json(404, "There is no such event.", error.clone()),
    );
    document.add(
        get("/api/v1/events/{id}/raw", "getRawEvent", "Gives the body as the provider sent it")
            .content(200, "The body.", "application/octet-stream", json!({}))
            .json(400, "The id is no UUID.", error.clone())
            .json(404, "There is no such event.", error.clone()),
    );

    tenants(document, &error);
    again(document, &error);

    let (answer, stop, release) = (
        document.answer::<StopAnswer>(),
        document.request::<StopRequest>(),
        document.request::<ReleaseRequest>(),
    );
    document.add(
        post("/api/v1/policies/{name}/stop", "stop", "Engages a stop")
            .about("Every agent that the policy means is cut off at once. A policy that is not there is made, and means everybody.")
            .json_body(stop)
            .json(200, "The stop holds.", answer.clone())
            .json(503, "The stop holds, but could not be kept on disk.", error.clone()),
    );
    document.add(
        post("/api/v1/policies/{name}/release", "release", "Releases a stop by its name")
            .json_body(release)
            .json(200, "The stop no longer holds.", answer)
            .json(
                409,
                "No such stop holds under this policy, or a file of the folder orders it.",
                error.clone(),
            )
            .json(503, "The release could not be kept on disk, so the stop holds.", error.clone()),
    );
}

fn tenants(document: &mut Document, error: &Value) {
    let get = |path, id, summary| guarded(Operation::get(Server::Admin, path, id, summary), error);
    let (routing, logs) = (document.answer::<Routing>(), document.answer::<Vec<TenantLog>>());
    document.add(
        get("/api/v1/routing", "routing", "Gives the rules by which events are routed now")
            .about("Without credentials of agents.")
            .json(200, "The rules of each tenant.", routing),
    );
    document.add(
        get("/api/v1/tenants", "listTenants", "Lists the tenants of the folder and those that have events")
            .json(200, "The tenants, by name.", logs),
    );

    let page = document.answer::<EventsPage>();
    let time = || json!({ "type": "string", "format": "date-time" });
    document.add(
        get("/api/v1/tenants/{namespace}/{tenant}/events", "pageEvents", "Gives a page of a tenant's events")
            .about("Newest first, or in the order of receipt where `after` is given.")
            .query("kinds", "Only these kinds, separated by commas.", json!({ "type": "string" }))
            .query("source", "Only this source.", json!({ "type": "string" }))
            .query("since", "Only what was received then or later.", time())
            .query("until", "Only what was received before then.", time())
            .query("before", "Only events before this place; not together with `after`.", place())
            .query("after", "Only events behind this place.", place())
            .query("limit", "At most so many; no more than 1000, and 100 with `full`.", limit(20))
            .query("full", "Give the events themselves, too.", json!({ "type": "boolean", "default": false }))
            .json(200, "The page.", page)
            .json(400, "A parameter or the tenant's name cannot be read.", error.clone()),
    );
}

/// Parked events, and events that are delivered once more.
fn again(document: &mut Document, error: &Value) {
    let (page, inbox) = (document.answer::<DeadPage>(), document.request::<InboxId>());
    document.add(
        guarded(
            Operation::get(
                Server::Admin,
                "/api/v1/tenants/{namespace}/{tenant}/dead",
                "listDead",
                "Gives a page of the events that are parked in an inbox",
            ),
            error,
        )
        .required_query("inbox", "The inbox, as `listDeadInboxes` names it.", inbox)
        .query("after", "Only events behind this place.", place())
        .query("limit", "At most so many; no more than 100.", limit(100))
        .json(200, "The page, in the order of receipt.", page)
        .json(400, "A parameter or the tenant's name cannot be read.", error.clone()),
    );

    let (inboxes, after) = (document.answer::<DeadInboxes>(), document.request::<InboxId>());
    document.add(
        guarded(
            Operation::get(
                Server::Admin,
                "/api/v1/tenants/{namespace}/{tenant}/dead/inboxes",
                "listDeadInboxes",
                "Gives a page of the inboxes in which an event is parked",
            ),
            error,
        )
        .about("Those of agents and aliases that are gone, too.")
        .query("after", "Only inboxes behind this one.", after)
        .query("limit", "At most so many; no more than 100.", limit(100))
        .json(200, "The page, in the order of the inboxes' ids.", inboxes)
        .json(400, "A parameter or the tenant's name cannot be read.", error.clone()),
    );

    let (answer, request) = (document.answer::<DeadAnswer>(), document.request::<DeadRequest>());
    for (path, id, summary) in [
        ("/api/v1/tenants/{namespace}/{tenant}/dead/requeue", "requeueDead", "Lets parked events wait again"),
        ("/api/v1/tenants/{namespace}/{tenant}/dead/drop", "dropDead", "Gives parked events up"),
    ] {
        document.add(
            changing(Operation::post(Server::Admin, path, id, summary), error)
                .json_body(request.clone())
                .json(200, "Done. Events that are not parked there are left alone.", answer.clone()),
        );
    }

    let (answer, request) = (document.answer::<ReplayAnswer>(), document.request::<ReplayRequest>());
    let path = "/api/v1/tenants/{namespace}/{tenant}/replay";
    document.add(
        changing(
            Operation::post(Server::Admin, path, "replay", "Delivers events once more, or says to whom"),
            error,
        )
        .json_body(request)
        .json(200, "What was done, or would be.", answer)
        .json(404, "The folder has no such tenant, or the tenant has no such target.", error.clone()),
    );
}

fn place() -> Value {
    json!({ "type": "integer", "minimum": 0 })
}

fn limit(default: u64) -> Value {
    json!({ "type": "integer", "minimum": 1, "default": default })
}

fn health(document: &mut Document) {
    let ready = json!({
        "type": "object",
        "required": ["ready", "awaited"],
        "properties": {
            "ready": { "type": "boolean" },
            "awaited": { "type": "array", "items": { "type": "string" }, "description": "What start-up waits for." },
            "backlog": {
                "type": "object",
                "additionalProperties": { "type": "object", "additionalProperties": { "type": "number" } },
                "description": "What waits, by queue: `spool` of ingest, `bus` of a gateway (all tenants, as of its last \
                                look). Ages are in seconds. It does not change whether the process is ready.",
            },
        },
        "additionalProperties": false,
    });
    let get = |path, id, summary| local(Operation::get(Server::Admin, path, id, summary));
    document.add(get("/healthz", "healthz", "Tells that the process serves").text(200, "It does."));
    document.add(
        get("/readyz", "readyz", "Tells whether the process is ready")
            .json(200, "It is ready.", ready.clone())
            .json(503, "It waits for what is named.", ready),
    );
    document.add(
        get("/metrics", "metrics", "Gives metrics in the Prometheus text format").text(200, "The metrics."),
    );
    document.add(
        get("/config", "config", "Shows the configuration in force, sorted and without secrets").json(
            200,
            "The snapshots of each tenant, by `namespace/name`.",
            json!({ "type": "object", "additionalProperties": { "type": "object" } }),
        ),
    );
}

fn local(operation: Operation) -> Operation {
    operation.text(403, "The Host header is no loopback name: this address serves its own machine only.")
}

fn guarded(operation: Operation, error: &Value) -> Operation {
    local(operation).json(500, "The server met an error.", error.clone())
}

fn changing(operation: Operation, error: &Value) -> Operation {
    guarded(operation, error)
        .json(
            400,
            "The body is no JSON or asks for too much, or a name in the path is none that an object can have.",
            error.clone(),
        )
        .json(413, "The body is too long.", error.clone())
        .text(415, "The content-type is not application/json.")
        .json(422, "The body lacks a field or has one of another type.", error.clone())
}
