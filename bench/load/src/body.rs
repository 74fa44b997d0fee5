//! Webhooks as GitHub sends them when an issue is opened: about 10 KB, most of it addresses.

use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Map, Value, json};
use sha2::Sha256;
use uuid::Uuid;

use crate::args::SECRET;

/// Issue numbers begin here, so that all of them have as many digits.
pub const FIRST_NUMBER: u64 = 100_000_000;

/// Stands in the template for the issue's number, and is as long; nothing else looks like it.
const NUMBER: &str = "987654321";

/// Stands in the template for the agent's number, and is as long.
const AGENT: &str = "agent-777";

/// Addresses of a repository that GitHub tells with each event.
const REPOSITORY: &[&str] = &[
    "forks",
    "keys{/key_id}",
    "collaborators{/collaborator}",
    "teams",
    "hooks",
    "issues/events{/number}",
    "events",
    "assignees{/user}",
    "branches{/branch}",
    "tags",
    "git/blobs{/sha}",
    "git/tags{/sha}",
    "git/refs{/sha}",
    "git/trees{/sha}",
    "statuses/{sha}",
    "languages",
    "stargazers",
    "contributors",
    "subscribers",
    "subscription",
    "commits{/sha}",
    "git/commits{/sha}",
    "comments{/number}",
    "issues/comments{/number}",
    "contents/{+path}",
    "compare/{base}...{head}",
    "merges",
    "{archive_format}{/ref}",
    "downloads",
    "issues{/number}",
    "pulls{/number}",
    "milestones{/number}",
    "notifications{?since,all,participating}",
    "labels{/name}",
    "releases{/id}",
    "deployments",
];

/// Addresses of a person.
const PERSON: &[&str] = &[
    "followers",
    "following{/other_user}",
    "gists{/gist_id}",
    "starred{/owner}{/repo}",
    "subscriptions",
    "orgs",
    "repos",
    "events{/privacy}",
    "received_events",
];

/// Fills a body to its length.
const TEXT: &str = "The cart is empty after a reload, although the items were saved a moment before. ";

/// A signed webhook.
pub struct Webhook {
    pub body: Bytes,
    pub guid: String,
    pub signature: String,
}

/// Makes webhooks, each with a number, a GUID and an agent of its own.
pub struct Bodies {
    pieces: Vec<Piece>,
    bytes: usize,
    agents: u64,
    mac: Hmac<Sha256>,
    guid: u128,
}

enum Piece {
    Text(String),
    Number,
    Agent,
}

impl Bodies {
    /// Bodies of about this length.
    pub fn new(bytes: usize, agents: u32) -> anyhow::Result<Self> {
        Ok(Self {
            pieces: pieces(&template(bytes)),
            bytes: bytes + 64,
            agents: u64::from(agents),
            mac: Hmac::new_from_slice(SECRET.as_bytes())?,
            guid: Uuid::new_v4().as_u128(),
        })
    }

    /// The webhook of this place. Same place, same webhook.
    pub fn webhook(&self, seq: u64) -> Webhook {
        let number = (FIRST_NUMBER + seq).to_string();
        let agent = agent_name(seq % self.agents);
        let mut body = String::with_capacity(self.bytes);
        for piece in &self.pieces {
            body.push_str(match piece {
                Piece::Text(text) => text,
                Piece::Number => &number,
                Piece::Agent => &agent,
            });
        }
        let signed = self.mac.clone().chain_update(&body).finalize().into_bytes();
        Webhook {
            guid: Uuid::from_u128(self.guid.wrapping_add(u128::from(seq))).to_string(),
            signature: format!("sha256={}", hex::encode(signed)),
            body: Bytes::from(body),
        }
    }
}

/// The agent of this number, which is also its label.
pub fn agent_name(number: u64) -> String {
    format!("agent-{number:03}")
}

fn pieces(template: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for (at, part) in template.split(NUMBER).enumerate() {
        if at > 0 {
            pieces.push(Piece::Number);
        }
        for (at, text) in part.split(AGENT).enumerate() {
            if at > 0 {
                pieces.push(Piece::Agent);
            }
            pieces.push(Piece::Text(text.to_owned()));
        }
    }
    pieces
}

/// The body with all addresses that GitHub tells, or without them where it has to be short.
fn template(bytes: usize) -> String {
    let text =
        |rich: bool, length: usize| issue(rich, &TEXT.chars().cycle().take(length).collect::<String>());
    let full = text(true, 0).len();
    let rich = full < bytes;
    let least = if rich { full } else { text(false, 0).len() };
    text(rich, bytes.saturating_sub(least))
}

fn issue(rich: bool, text: &str) -> String {
    let api = "https://api.example.test/repos/acme/shop";
    let at = format!("{api}/issues/{NUMBER}");
    let number: u64 = NUMBER.parse().unwrap_or_default();
    let label = json!({"id": 1_362_934_389, "node_id": "MDU6TGFiZWwxMzYyOTM0Mzg5", "name": AGENT, "color": "d73a4a",
        "url": format!("{api}/labels/{AGENT}"), "default": false, "description": "who should look at it"});
    json!({
        "action": "opened",
        "issue": {
            "url": at, "repository_url": api, "labels_url": format!("{at}/labels{{/name}}"),
            "comments_url": format!("{at}/comments"), "events_url": format!("{at}/events"),
            "html_url": format!("https://example.test/acme/shop/issues/{NUMBER}"),
            "id": number, "node_id": format!("MDU6SXNzdWU{NUMBER}"), "number": number,
            "title": format!("Cart {NUMBER} is empty"), "user": person("ann", rich), "labels": [label],
            "state": "open", "locked": false, "assignee": null, "assignees": [], "milestone": null, "comments": 0,
            "created_at": "2026-11-24T07:00:00Z", "updated_at": "2026-11-24T07:00:00Z", "closed_at": null,
            "author_association": "MEMBER", "body": text,
        },
        "repository": repository(api, rich),
        "sender": person("ann", rich),
    })
    .to_string()
}

fn person(login: &str, rich: bool) -> Value {
    let at = format!("https://api.example.test/users/{login}");
    let mut person = Map::new();
    person.insert("login".into(), login.into());
    person.insert("id".into(), 21_031_067.into());
    person.insert("type".into(), "User".into());
    addresses(&mut person, &at, if rich { PERSON } else { &[] });
    person.into()
}

fn repository(api: &str, rich: bool) -> Value {
    let mut repository = Map::new();
    repository.insert("id".into(), 186_853_002.into());
    repository.insert("name".into(), "shop".into());
    repository.insert("full_name".into(), "acme/shop".into());
    repository.insert("private".into(), false.into());
    repository.insert("html_url".into(), "https://example.test/acme/shop".into());
    repository.insert("owner".into(), person("acme", rich));
    addresses(&mut repository, api, if rich { REPOSITORY } else { &[] });
    repository.into()
}

fn addresses(object: &mut Map<String, Value>, at: &str, paths: &[&str]) {
    for path in paths {
        let word = path.split('{').next().unwrap_or_default().replace('/', "_");
        object.insert(format!("{}_url", word.trim_end_matches('_')), format!("{at}/{path}").into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_as_long_as_asked_and_names_one_agent() {
        for bytes in [2_000, 10_000, 50_000] {
            let bodies = Bodies::new(bytes, 25).unwrap();
            let webhook = bodies.webhook(7);
            assert_eq!(webhook.body.len(), bytes);
            let body: Value = serde_json::from_slice(&webhook.body).unwrap();
            assert_eq!(body["issue"]["number"], FIRST_NUMBER + 7);
            assert_eq!(body["issue"]["labels"][0]["name"], "agent-007");
            assert!(!String::from_utf8_lossy(&webhook.body).contains(NUMBER));
        }
    }

    #[test]
    fn webhooks_differ() {
        let bodies = Bodies::new(2_000, 3).unwrap();
        let (one, two) = (bodies.webhook(1), bodies.webhook(2));
        assert!(one.guid != two.guid && one.body != two.body && one.signature != two.signature);
    }
}
