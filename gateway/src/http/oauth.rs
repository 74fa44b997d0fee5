//! The token endpoint: client credentials (RFC 6749, sections 2.3.1, 4.4 and 5).

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use nexus_core::id::AgentId;
use nexus_core::secret::Secret;
use schemars::JsonSchema;
use serde::Serialize;

use super::{Http, Problem};
use crate::chain;
use crate::session::sever::Admitted;
use crate::token::{Claims, credential_mark};

/// The longest request body, in bytes.
const MAX_BODY: usize = 8 * 1024;

/// The body must have come within this time.
const BODY_DEADLINE: Duration = Duration::from_secs(10);

/// An access token (RFC 6749, section 5.1).
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Granted")]
pub struct Granted {
    /// The token.
    access_token: String,
    /// Always `Bearer`.
    token_type: &'static str,
    /// Seconds that it lasts.
    expires_in: u64,
}

/// Who says to ask, and by what.
struct Client {
    id: String,
    /// The secret in the readings that it may have.
    secrets: Vec<Secret>,
    /// Whether it came in the Authorization header.
    basic: bool,
}

pub(super) async fn token(State(http): State<Arc<Http>>, request: Request) -> Response {
    let (outcome, mut response) = match grant(&http, request).await {
        Ok(granted) => ("issued", Json(granted).into_response()),
        Err(problem) => (problem.label(), problem.into_response()),
    };
    metrics::counter!("nexus_tokens_total", "outcome" => outcome).increment(1);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

async fn grant(http: &Http, request: Request) -> Result<Granted, Problem> {
    if request.uri().query().is_some() {
        return Err(invalid("parameters belong in the body, never in the URL"));
    }
    let (parts, body) = request.into_parts();
    let form = Form::read(&parts.headers, body).await?;
    match form.get("grant_type")? {
        Some("client_credentials") => {}
        Some(_) => {
            let text = "the one grant type is client_credentials";
            return Err(Problem::new(StatusCode::BAD_REQUEST, "unsupported_grant_type", text));
        }
        None => return Err(invalid("grant_type is missing")),
    }
    if form.get("scope")?.is_some_and(|scope| scope != "connect") {
        let text = "the one scope is connect, which may be left out";
        return Err(Problem::new(StatusCode::BAD_REQUEST, "invalid_scope", text));
    }
    let client = client(&parts.headers, &form)?;
    // Subscribed before the decision, as everywhere.
    let gate = http.shared.gate.clone();
    let config = Arc::clone(&http.shared.config.borrow());
    let admitted = authenticate(http, &client, &config)?;
    // A stranger never gets as far as to hear of a stop.
    admitted.decide(&config, &gate).map_err(Problem::ended)?;
    issue(http, &admitted, &config)
}

fn issue(
    http: &Http,
    admitted: &Admitted,
    config: &crate::config::GatewayConfig,
) -> Result<Granted, Problem> {
    let failed = || Problem::unavailable("server_error", "no token could be made", 1);
    let profile = config.agent(admitted.agent).ok_or_else(failed)?;
    let lifetime = http.shared.settings.token_lifetime;
    let claims = Claims {
        tenant: profile.tenant.clone(),
        agent: admitted.agent,
        credential: admitted.credential.map(credential_mark).ok_or_else(failed)?,
        expires: http.shared.clock.now() + lifetime,
    };
    let access_token = http.shared.keys.issue(&claims).map_err(|error| {
        tracing::error!(error = chain(&error), "cannot sign a token");
        failed()
    })?;
    Ok(Granted { access_token, token_type: "Bearer", expires_in: lifetime.as_secs() })
}

/// Checks the secret. An unknown client costs what a known one with a wrong secret does.
fn authenticate(
    http: &Http,
    client: &Client,
    config: &crate::config::GatewayConfig,
) -> Result<Admitted, Problem> {
    let profile = client.id.parse::<AgentId>().ok().and_then(|id| config.agent(id));
    let known = profile.and_then(|profile| Some((profile.agent.id, profile.agent.credential?)));
    let digest = known.map_or(http.nobody, |(_, digest)| digest);
    let mut matches = false;
    for secret in &client.secrets {
        matches |= digest.matches(secret);
    }
    match known {
        Some((agent, digest)) if matches => Ok(Admitted { agent, credential: Some(digest) }),
        _ => {
            let text = "the client id is unknown or the client secret is wrong";
            Err(invalid_client(text, client.basic))
        }
    }
}

/// The client is not authenticated (RFC 6749, section 5.2): challenged if it tried by the Authorization header.
fn invalid_client(text: &str, by_header: bool) -> Problem {
    let problem = Problem::new(StatusCode::UNAUTHORIZED, "invalid_client", text);
    if by_header {
        let challenge = HeaderValue::from_static(r#"Basic realm="nexus", charset="UTF-8""#);
        problem.with(header::WWW_AUTHENTICATE, challenge)
    } else {
        problem
    }
}

/// The client as it presents itself: by the Authorization header or by form fields, never by both.
fn client(headers: &HeaderMap, form: &Form) -> Result<Client, Problem> {
    let (id, secret) = (form.get("client_id")?, form.get("client_secret")?);
    let mut authorization = headers.get_all(header::AUTHORIZATION).iter();
    match (authorization.next(), authorization.next(), id, secret) {
        (_, Some(_), ..) => Err(invalid("more than one Authorization header")),
        (Some(_), _, _, Some(_)) => {
            Err(invalid("credentials in the header and in the body; send one of them"))
        }
        (Some(basic), ..) => {
            let client = basic_client(basic)
                .ok_or_else(|| invalid_client("the Authorization header is no Basic", true))?;
            match id {
                Some(id) if id != client.id => {
                    Err(invalid("client_id differs from the Authorization header"))
                }
                _ => Ok(client),
            }
        }
        (None, _, Some(id), Some(secret)) => {
            Ok(Client { id: id.to_owned(), secrets: vec![Secret::new(secret)], basic: false })
        }
        (None, ..) => Err(invalid_client(
            "client credentials are missing: send Basic, or client_id and client_secret in the body",
            false,
        )),
    }
}

fn basic_client(header: &HeaderValue) -> Option<Client> {
    let (scheme, encoded) = header.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = Secret::new(BASE64_STANDARD.decode(encoded.trim()).ok()?);
    let text = std::str::from_utf8(decoded.expose()).ok()?;
    let (id, secret) = text.split_once(':')?;
    // RFC 6749 has both form-encoded before Basic is applied; many clients do not, so both readings count.
    let mut secrets = vec![Secret::new(secret)];
    if let Cow::Owned(plain) = form_decoded(secret)
        && plain != secret
    {
        secrets.push(Secret::new(plain));
    }
    Some(Client { id: form_decoded(id).into_owned(), secrets, basic: true })
}

fn form_decoded(text: &str) -> Cow<'_, str> {
    if text.contains(['&', '=']) || !text.contains(['%', '+']) {
        return Cow::Borrowed(text);
    }
    form_urlencoded::parse(text.as_bytes())
        .next()
        .map_or(Cow::Borrowed(text), |(name, _)| Cow::Owned(name.into_owned()))
}

/// The fields of a form. One of them may hold a client secret, so none shows or stays in memory.
struct Form(Vec<(String, Secret)>);

impl Form {
    async fn read(headers: &HeaderMap, body: Body) -> Result<Self, Problem> {
        let media = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let media = media.and_then(|value| value.split(';').next()).unwrap_or_default();
        if !media.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Err(invalid("the body must be application/x-www-form-urlencoded"));
        }
        let read = tokio::time::timeout(BODY_DEADLINE, axum::body::to_bytes(body, MAX_BODY));
        let bytes = match read.await {
            Ok(Ok(bytes)) => bytes,
            Ok(Err(_)) => return Err(invalid("the body is longer than 8 KiB or broke off")),
            Err(_) => {
                let text = "the body did not come in time";
                return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "invalid_request", text));
            }
        };
        Ok(Self::parse(&bytes))
    }

    fn parse(bytes: &[u8]) -> Self {
        let fields = form_urlencoded::parse(bytes);
        Self(fields.map(|(name, value)| (name.into_owned(), Secret::new(value.into_owned()))).collect())
    }

    /// A field. An empty one counts as left out (RFC 6749, section 3.2); twice is once too often.
    fn get(&self, name: &str) -> Result<Option<&str>, Problem> {
        let mut values = self.0.iter().filter(|(field, _)| field == name).map(|(_, value)| value);
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(invalid(format!("{name} is given more than once"))),
            // What a form holds is text.
            (value, None) => Ok(value
                .and_then(|value| std::str::from_utf8(value.expose()).ok())
                .filter(|value| !value.is_empty())),
        }
    }
}

fn invalid(text: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "invalid_request", text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(text: &str) -> Option<Client> {
        let header = format!("Basic {}", BASE64_STANDARD.encode(text));
        basic_client(&HeaderValue::from_str(&header).unwrap())
    }

    #[test]
    fn basic_credentials_are_read_encoded_and_plain() {
        let client = basic("a-b:s%2Bx").unwrap();
        assert_eq!(client.id, "a-b");
        assert_eq!(client.secrets, [Secret::new("s%2Bx"), Secret::new("s+x")]);
        assert_eq!(basic("a:b:c").unwrap().secrets, [Secret::new("b:c")]);
        assert_eq!(basic("a:b=c").unwrap().secrets, [Secret::new("b=c")]);
        assert!(basic("nothing").is_none());
        assert!(basic_client(&HeaderValue::from_static("Bearer abc")).is_none());
        assert!(basic_client(&HeaderValue::from_static("Basic %%")).is_none());
    }

    #[test]
    fn a_field_counts_once() {
        let form = Form::parse(b"a=1&b=&a=2&d=%C3%A9+x");
        assert!(form.get("a").is_err());
        assert!(form.get("b").unwrap().is_none());
        assert!(form.get("c").unwrap().is_none());
        assert_eq!(form.get("d").unwrap(), Some("é x"));
    }
}
