//! Tokens and sessions.

use nexus_gateway::{Granted, Metadata, OAuthError};
use serde_json::{Value, json};

use super::build::{Document, Operation, Server};

pub fn describe(document: &mut Document) {
    let granted = document.answer::<Granted>();
    let error = document.answer::<OAuthError>();
    let metadata = document.answer::<Metadata>();
    document.add(token(granted, &error));
    document.add(
        Operation::get(
            Server::Gateway,
            "/.well-known/oauth-authorization-server",
            "authorizationServerMetadata",
            "Tells where tokens are issued (RFC 8414)",
        )
        .json(200, "The metadata.", metadata)
        .json(400, "`invalid_request`: the Host header is missing or odd.", error.clone()),
    );
    document.add(connect(&error));
}

fn token(granted: Value, error: &Value) -> Operation {
    let form = json!({
        "type": "object",
        "required": ["grant_type"],
        "properties": {
            "grant_type": { "const": "client_credentials" },
            "scope": { "const": "connect" },
            "client_id": { "type": "string", "format": "uuid", "description": "The agent's id." },
            "client_secret": { "type": "string", "format": "password" },
        },
    });
    Operation::post(
        Server::Gateway,
        "/oauth/token",
        "issueToken",
        "Trades an agent's credentials for an access token",
    )
    .about(
        "Client credentials (RFC 6749, section 4.4): by the Authorization header, or as `client_id` and \
             `client_secret` in the body, never by both. At most 8 KiB.",
    )
    .secured(json!([{ "clientBasic": [] }, {}]))
    .body("application/x-www-form-urlencoded", form)
    .json(200, "A token.", granted)
    .json(
        400,
        "`invalid_request`, `unsupported_grant_type` or `invalid_scope`: the description says why.",
        error.clone(),
    )
    .json(401, "`invalid_client`: the client is unknown, its secret is wrong or missing.", error.clone())
    .json(408, "`invalid_request`: the body did not come in time.", error.clone())
    .json(
        503,
        "`temporarily_unavailable`: a stop is engaged for the agent. `server_error`: no token could be made.",
        error.clone(),
    )
    .retry_after(503)
}

fn connect(error: &Value) -> Operation {
    Operation::get(Server::Gateway, "/v1/connect", "connect", "Opens a session over a WebSocket")
        .about(
            "A WebSocket handshake (RFC 6455), version 13, subprotocol nexus.v1+json or none. The frames are described \
             in asyncapi.json. On the same port nexus.agent.v1.Agents/Connect opens a session over gRPC.",
        )
        .secured(json!([{ "accessToken": [] }, { "clientCredentials": ["connect"] }]))
        .empty(101, "The session may begin: send Hello.")
        .json(400, "`invalid_request` or `unknown_subprotocol`: the handshake is wrong.", error.clone())
        .json(
            401,
            "`missing_token`; or `invalid_token`: it is expired or not ours, or the agent's profile or secret changed.",
            error.clone(),
        )
        .header(401, "WWW-Authenticate", "The challenge of RFC 6750.", json!({ "type": "string" }))
        .json(426, "`upgrade_required`: this is no WebSocket handshake.", error.clone())
        .json(
            503,
            "`temporarily_unavailable`: a stop is engaged for the agent. `draining`, `busy`, `too_many_sessions`: \
             connect again.",
            error.clone(),
        )
        .retry_after(503)
}
