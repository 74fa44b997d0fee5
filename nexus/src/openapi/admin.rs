//! What the admin server shows and does. A new route is one entry in [`describe`].

use nexus_core::kind::Kind;
use serde_json::{Value, json};

use super::build::{Document, Operation, Server};
use crate::api::{ApiError, EventLine, EventStory, ReleaseRequest, Status, StopAnswer, StopRequest};

pub fn describe(document: &mut Document) {
    health(document);
    let error = document.answer::<ApiError>();
    let get = |path, id, summary| guarded(Operation::get(Server::Admin, path, id, summary), &error);
    let post = |path, id, summary| changing(Operation::post(Server::Admin, path, id, summary), &error);

    let status = document.answer::<Status>();
    document.add(get("/api/v1/status", "status", "Tells how things are").json(200, "The status.", status));

    let (lines, kind) = (document.answer::<Vec<EventLine>>(), document.request::<Kind>());
    document.add(
        get("/api/v1/events", "listEvents", "Lists events, newest first")
            .query("tenant", "Only this tenant, `namespace/name`.", json!({ "type": "string" }))
            .query("kind", "Only this kind.", kind)
            .query(
                "limit",
                "At most so many of each tenant; more than 1000 counts as 1000.",
                json!({ "type": "integer", "minimum": 0, "default": 20 }),
            )
            .json(200, "The events.", lines)
            .json(400, "A parameter cannot be read.", error.clone()),
    );

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

fn health(document: &mut Document) {
    let ready = json!({
        "type": "object",
        "required": ["ready", "awaited"],
        "properties": {
            "ready": { "type": "boolean" },
            "awaited": { "type": "array", "items": { "type": "string" }, "description": "What start-up waits for." },
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
            "The body is no JSON, or the policy's name is none that an object can have.",
            error.clone(),
        )
        .json(413, "The body is too long.", error.clone())
        .text(415, "The content-type is not application/json.")
        .json(422, "The body lacks a field or has one of another type.", error.clone())
}
