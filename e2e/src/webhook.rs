//! Webhooks as the three providers send them: replies in threads, each with a mark of its own in its text.

use std::fmt;
use std::str::FromStr;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

/// The signing secret of every source.
pub const SECRET: &str = "a-signing-secret-for-tests-only";

/// The tenants, each in the namespace of its name.
pub const TENANTS: [&str; 2] = ["acme", "globex"];

/// A provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Provider {
    /// ClickUp: comments on a task.
    ClickUp,
    /// Slack: replies to a message.
    Slack,
    /// GitHub: comments on an issue.
    GitHub,
}

impl Provider {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::ClickUp, Self::Slack, Self::GitHub];

    /// The name of the source.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ClickUp => "clickup",
            Self::Slack => "slack",
            Self::GitHub => "github",
        }
    }
}

/// A thread: one task, message or issue of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Thread {
    /// The place in [`TENANTS`].
    pub tenant: usize,
    /// Whose it is.
    pub provider: Provider,
    /// Its number.
    pub number: u32,
}

/// A delivery: what a provider sends under one delivery id, once or again. Its text is `mark` in `Display`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Delivery {
    /// The thread.
    pub thread: Thread,
    /// Its place in the thread.
    pub place: u32,
}

impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Thread { tenant, provider, number } = self.thread;
        write!(f, "mark {tenant} {} {number} {}", provider.name(), self.place)
    }
}

impl FromStr for Delivery {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let wrong = || anyhow::anyhow!("`{}` is not one of ours", text.chars().take(80).collect::<String>());
        let words: Vec<_> = text.split_whitespace().collect();
        let ["mark", tenant, provider, number, place, ..] = words[..] else {
            return Err(wrong());
        };
        let provider = Provider::ALL.into_iter().find(|each| each.name() == provider).ok_or_else(wrong)?;
        let thread = Thread { tenant: tenant.parse()?, provider, number: number.parse()? };
        Ok(Self { thread, place: place.parse()? })
    }
}

impl Delivery {
    /// The path of its source.
    pub fn path(&self) -> String {
        let tenant = TENANTS[self.thread.tenant];
        format!("/hooks/{tenant}/{tenant}/{}", self.thread.provider.name())
    }

    /// The body; `filler` makes it longer.
    pub fn body(&self, filler: &str) -> String {
        let text = format!("{self} {filler}");
        match self.thread.provider {
            Provider::ClickUp => self.clickup(&text),
            Provider::Slack => self.slack(&text),
            Provider::GitHub => self.github(&text),
        }
        .to_string()
    }

    /// Unlike that of any other delivery.
    fn id(&self) -> u64 {
        u64::from(self.thread.number) * 1_000_000_000 + u64::from(self.place)
    }

    fn clickup(&self, text: &str) -> Value {
        let id = self.id().to_string();
        json!({
            "event": "taskCommentPosted",
            "webhook_id": "7689a169-a000-4985-8676-6902b96d6627",
            "task_id": format!("task{}", self.thread.number),
            "history_items": [{
                "id": id, "type": 1, "date": "1790000000000", "field": "comment", "parent_id": "901",
                "user": {"id": 183, "username": "Ann"}, "after": id,
                "comment": {
                    "id": id, "date": "1790000000000", "parent": format!("task{}", self.thread.number), "type": 1,
                    "comment": [{"text": text, "attributes": {}}], "text_content": text,
                    "user": {"id": 183, "username": "Ann"},
                },
            }],
        })
    }

    fn slack(&self, text: &str) -> Value {
        let ts = format!("{}.{:06}", 1_780_000_000 + self.place, self.thread.number);
        json!({
            "team_id": "T061EG9R6", "api_app_id": "A0MDYCDME", "type": "event_callback",
            "event_id": format!("Ev{:014X}", self.id()), "event_time": 1_780_000_000 + self.place,
            "authorizations": [{"team_id": "T061EG9R6", "user_id": "U0LAN0Z89", "is_bot": true}],
            "event": {
                "type": "message", "channel": "C024BE91L", "channel_type": "channel", "user": "U2147483697",
                "text": text, "ts": ts, "event_ts": ts,
                "thread_ts": format!("1770000000.{:06}", self.thread.number),
            },
        })
    }

    fn github(&self, text: &str) -> Value {
        let (number, id) = (self.thread.number, self.id());
        json!({
            "action": "created",
            "issue": {"id": number, "number": number, "title": "Cart is empty", "state": "open"},
            "comment": {"id": id, "body": text, "user": {"id": 2, "login": "ann", "type": "User"}},
            "repository": {"id": 1, "full_name": "acme/shop"},
            "sender": {"id": 2, "login": "ann", "type": "User"},
        })
    }

    /// The headers, signed as the provider would.
    pub fn headers(&self, body: &str) -> Vec<(&'static str, String)> {
        let mut headers = vec![("content-type", "application/json".to_owned())];
        match self.thread.provider {
            Provider::ClickUp => headers.push(("x-signature", hmac_hex(SECRET, &[body]))),
            Provider::Slack => {
                let now = now().to_string();
                headers.push((
                    "x-slack-signature",
                    format!("v0={}", hmac_hex(SECRET, &["v0:", &now, ":", body])),
                ));
                headers.push(("x-slack-request-timestamp", now));
            }
            Provider::GitHub => {
                let id = format!("{:032x}", u128::from(self.id()) << 8 | self.thread.tenant as u128);
                headers.push(("x-github-event", "issue_comment".to_owned()));
                headers.push(("x-github-delivery", id));
                headers.push(("x-hub-signature-256", format!("sha256={}", hmac_hex(SECRET, &[body]))));
            }
        }
        headers
    }
}

/// What GitHub tells of an issue.
#[derive(Debug, Clone, Copy)]
pub struct Issue<'a> {
    /// What was done with it, such as `opened`.
    pub action: &'a str,
    /// Its number: each has a thread of its own.
    pub number: u64,
    /// Its title.
    pub title: &'a str,
}

impl Issue<'_> {
    /// The body.
    pub fn body(&self) -> String {
        let Self { action, number, title } = self;
        let state = if *action == "closed" { "closed" } else { "open" };
        json!({
            "action": action,
            "issue": {
                "id": number, "number": number, "title": title, "body": "@AI_Squad, please have a look.",
                "state": state, "user": {"id": 2, "login": "ann", "type": "User"},
            },
            "repository": {"id": 1, "full_name": "acme/shop"},
            "sender": {"id": 2, "login": "ann", "type": "User"},
        })
        .to_string()
    }

    /// The headers of a delivery that is like no other, signed by a secret.
    pub fn headers(secret: &str, body: &str) -> [(&'static str, String); 4] {
        [
            ("content-type", "application/json".to_owned()),
            ("x-github-event", "issues".to_owned()),
            ("x-github-delivery", format!("{:032x}", rand::random::<u128>())),
            ("x-hub-signature-256", format!("sha256={}", hmac_hex(secret, &[body]))),
        ]
    }
}

/// Seconds since 1970, as the other side's clock has them.
#[expect(clippy::disallowed_methods, reason = "signatures are checked against the clock of the built system")]
fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// What providers sign a body by, in hexadecimal.
fn hmac_hex(secret: &str, parts: &[&str]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(part.as_bytes());
    }
    hex::encode(mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_back() {
        for (tenant, provider) in [(0, Provider::Slack), (1, Provider::GitHub), (1, Provider::ClickUp)] {
            let delivery = Delivery { thread: Thread { tenant, provider, number: 7 }, place: 12 };
            assert_eq!(format!("{delivery} and more").parse::<Delivery>().unwrap(), delivery);
            assert!(delivery.body("and more").contains(&delivery.to_string()));
        }
        assert!("something else".parse::<Delivery>().is_err());
    }
}
