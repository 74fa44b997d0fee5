//! Sample bodies in the providers' shapes, with fresh ids, for `nexus send` and for tests.

use jiff::Timestamp;
use nexus_core::event::Provider;
use serde_json::{Value, json};

/// A sample body.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Whose it is.
    pub provider: Provider,
    /// Its name on the command line.
    pub name: &'static str,
    /// GitHub's name of the event; empty for the others.
    pub event: &'static str,
    /// Its text unless another is given.
    text: &'static str,
    body: fn(&Fresh<'_>) -> Value,
}

/// What differs from one sending to the next.
struct Fresh<'a> {
    text: &'a str,
    /// A number that was not used before.
    number: u64,
    now: Timestamp,
}

/// Every sample; the first of a provider is its default.
pub const SAMPLES: &[Sample] = &[
    Sample {
        provider: Provider::GitHub,
        name: "issue",
        event: "issues",
        text: "The cart is empty after signing in. @AI_Squad, please have a look.",
        body: github_issue,
    },
    Sample {
        provider: Provider::GitHub,
        name: "comment",
        event: "issue_comment",
        text: "@coder can you reproduce this?",
        body: github_comment,
    },
    Sample {
        provider: Provider::GitHub,
        name: "pull-request",
        event: "pull_request",
        text: "Keeps the cart over the sign-in.",
        body: github_pull_request,
    },
    Sample {
        provider: Provider::Slack,
        name: "message",
        event: "",
        text: "@AI_Squad the shop is slow",
        body: slack_message,
    },
    Sample {
        provider: Provider::Slack,
        name: "group",
        event: "",
        text: "<!subteam^S0614TZR7|@ai-squad> the shop is slow",
        body: slack_message,
    },
    Sample { provider: Provider::ClickUp, name: "task", event: "", text: "to do", body: clickup_task },
    Sample {
        provider: Provider::ClickUp,
        name: "comment",
        event: "",
        text: "@AI_Squad please estimate",
        body: clickup_comment,
    },
];

impl Sample {
    /// The sample of this name, or the provider's default.
    pub fn find(provider: Provider, name: Option<&str>) -> anyhow::Result<&'static Self> {
        let mut of_provider = SAMPLES.iter().filter(|sample| sample.provider == provider);
        of_provider.clone().find(|sample| name.is_none_or(|name| name == sample.name)).ok_or_else(|| {
            let names: Vec<_> = of_provider.by_ref().map(|sample| sample.name).collect();
            let wrong = name.unwrap_or_default();
            anyhow::anyhow!("no sample `{wrong}` of {}; there are: {}", provider.name(), names.join(", "))
        })
    }

    /// The body. `number` must not have been used before, `text` stands for the sample's own.
    #[must_use]
    pub fn body(&self, number: u64, now: Timestamp, text: Option<&str>) -> Vec<u8> {
        let fresh = Fresh { text: text.unwrap_or(self.text), number, now };
        (self.body)(&fresh).to_string().into_bytes()
    }
}

/// The repository and the sender that GitHub bodies share.
fn github(mut body: Value) -> Value {
    body["repository"] = json!({
        "id": 186_853_002,
        "name": "shop",
        "full_name": "acme/shop",
        "html_url": "https://github.example/acme/shop",
        "owner": {"id": 6_752_317, "login": "acme", "type": "Organization"},
    });
    body["sender"] = json!({"id": 21_031_067, "login": "ann", "type": "User"});
    body
}

fn issue(fresh: &Fresh<'_>) -> Value {
    let number = fresh.number % 1_000_000_000;
    json!({
        "id": fresh.number,
        "number": number,
        "title": "Cart is empty after signing in",
        "body": fresh.text,
        "state": "open",
        "html_url": format!("https://github.example/acme/shop/issues/{number}"),
        "labels": [{"id": 1, "name": "bug"}],
        "assignees": [],
        "user": {"id": 21_031_067, "login": "ann", "type": "User"},
        "created_at": fresh.now.to_string(),
        "updated_at": fresh.now.to_string(),
    })
}

fn github_issue(fresh: &Fresh<'_>) -> Value {
    github(json!({"action": "opened", "issue": issue(fresh)}))
}

fn github_comment(fresh: &Fresh<'_>) -> Value {
    let mut issue = issue(fresh);
    issue["body"] = json!("Since yesterday.");
    let url = format!("{}#issuecomment-{}", issue["html_url"].as_str().unwrap_or_default(), fresh.number);
    github(json!({
        "action": "created",
        "issue": issue,
        "comment": {
            "id": fresh.number,
            "body": fresh.text,
            "html_url": url,
            "user": {"id": 21_031_067, "login": "ann", "type": "User"},
            "created_at": fresh.now.to_string(),
            "updated_at": fresh.now.to_string(),
        },
    }))
}

fn github_pull_request(fresh: &Fresh<'_>) -> Value {
    let mut pull_request = issue(fresh);
    pull_request["title"] = json!("Keep the cart over the sign-in");
    pull_request["head"] = json!({"ref": "keep-cart", "sha": "ec26c3e57ca3a959ca5aad62de7213c562f8c821"});
    pull_request["base"] = json!({"ref": "main", "sha": "f95f852bd8fca8fcc58a9a2d6c842781e32a215e"});
    pull_request["merged"] = json!(false);
    pull_request["draft"] = json!(false);
    github(json!({"action": "opened", "number": pull_request["number"], "pull_request": pull_request}))
}

fn slack_message(fresh: &Fresh<'_>) -> Value {
    let ts = format!("{}.{:06}", fresh.now.as_second(), fresh.number % 1_000_000);
    json!({
        "token": "one-long-verification-token",
        "team_id": "T061EG9R6",
        "api_app_id": "A0MDYCDME",
        "type": "event_callback",
        "event_id": format!("Ev{:012X}", fresh.number),
        "event_time": fresh.now.as_second(),
        "authorizations": [{"team_id": "T061EG9R6", "user_id": "U0LAN0Z89", "is_bot": true}],
        "event": {
            "type": "message",
            "channel": "C024BE91L",
            "channel_type": "channel",
            "user": "U2147483697",
            "text": fresh.text,
            "ts": ts,
            "event_ts": ts,
        },
    })
}

/// What ClickUp bodies share. The task id is made of the number in base 36, as ClickUp's are.
fn clickup(event: &str, fresh: &Fresh<'_>, mut item: Value) -> Value {
    item["id"] = json!(format!("28{}", fresh.number));
    item["type"] = json!(1);
    item["date"] = json!(fresh.now.as_millisecond().to_string());
    item["parent_id"] = json!("901");
    item["user"] = json!({"id": 183, "username": "Ann", "email": "ann@acme.example", "initials": "A"});
    json!({
        "event": event,
        "webhook_id": "7689a169-a000-4985-8676-6902b96d6627",
        "task_id": task_id(fresh.number),
        "history_items": [item],
    })
}

fn task_id(mut number: u64) -> String {
    const DIGITS: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut id = String::new();
    while number > 0 {
        let digit = usize::try_from(number % 36).unwrap_or_default();
        id.insert(0, char::from(DIGITS[digit]));
        number /= 36;
    }
    id
}

fn clickup_task(fresh: &Fresh<'_>) -> Value {
    let status = json!({"status": fresh.text, "color": "#f9d900", "orderindex": 0, "type": "open"});
    let mut body = clickup("taskCreated", fresh, json!({"field": "status", "before": null, "after": status}));
    let mut creation = body["history_items"][0].clone();
    creation["id"] = json!(format!("29{}", fresh.number));
    creation["field"] = json!("task_creation");
    creation["after"] = Value::Null;
    if let Some(items) = body["history_items"].as_array_mut() {
        items.push(creation);
    }
    body
}

fn clickup_comment(fresh: &Fresh<'_>) -> Value {
    let comment = json!({
        "id": fresh.number.to_string(),
        "date": fresh.now.as_millisecond().to_string(),
        "parent": task_id(fresh.number),
        "type": 1,
        "comment": [{"text": fresh.text, "attributes": {}}, {"text": "\n", "attributes": {}}],
        "text_content": format!("{}\n", fresh.text),
        "user": {"id": 183, "username": "Ann"},
    });
    clickup(
        "taskCommentPosted",
        fresh,
        json!({"field": "comment", "after": fresh.number.to_string(), "comment": comment}),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_sendings_differ_in_what_identifies_them() {
        for sample in SAMPLES {
            let body = |number| sample.body(number, Timestamp::UNIX_EPOCH, None);
            assert_ne!(body(1), body(2), "{}", sample.name);
        }
    }

    #[test]
    fn a_wrong_name_lists_the_right_ones() {
        let error = Sample::find(Provider::ClickUp, Some("tsak")).unwrap_err();
        assert_eq!(error.to_string(), "no sample `tsak` of clickup; there are: task, comment");
    }
}
