//! The scripts: one a step. Each is what all begin with, the parts that it uses, and its own. The server makes each function
//! of a script anew whenever it runs it, so none has a part that it does not use.

use std::sync::LazyLock;

use fred::clients::Client;
use fred::interfaces::{ClientLike as _, LuaInterface as _};
use fred::prelude::{Error, Value};
use fred::types::CustomCommand;
use sha1::{Digest as _, Sha1};

use super::payload::{self, Payload};

/// A script and the name by which the server knows it.
#[derive(Debug)]
pub(super) struct Script {
    source: String,
    sha: String,
}

impl Script {
    fn new(flags: &str, parts: &[&str], own: &str) -> Self {
        let source = [&[flags, include_str!("lua/begin.lua")], parts, &[own]].concat().concat();
        let sha = hex::encode(Sha1::digest(&source));
        Self { source, sha }
    }

    /// Runs it once; a server that does not know it yet is given it.
    pub(super) async fn run(&self, client: &Client, key: &str, args: Vec<Value>) -> Result<Value, Error> {
        self.run_after(client, Vec::new(), key, args).await
    }

    /// The same, with payloads that are sent just before.
    pub(super) async fn run_after(
        &self,
        client: &Client,
        payloads: Vec<Payload>,
        key: &str,
        args: Vec<Value>,
    ) -> Result<Value, Error> {
        let again = args.clone();
        let outcome = if payloads.is_empty() {
            client.evalsha(self.sha.as_str(), key, args).await
        } else {
            let pipeline = client.pipeline();
            payload::put(&pipeline, key, payloads).await?;
            let command = CustomCommand::new_static("EVALSHA", None, false);
            let head = [self.sha.as_str(), "1", key].map(Value::from);
            let _: Value = pipeline.custom(command, head.into_iter().chain(args).collect::<Vec<_>>()).await?;
            // A payload that was not taken is missed by the script.
            pipeline.try_all().await.pop().unwrap_or(Ok(Value::Null))
        };
        match outcome {
            // Nothing was done yet, so this repeats nothing.
            Err(error) if error.details().starts_with("NOSCRIPT") => {
                client.eval(self.source.as_str(), key, again).await
            }
            outcome => outcome,
        }
    }
}

/// Takes more memory, and is refused when there is none.
const GROWS: &str = "";

/// Gets events out, which is what makes room: also done when memory is full.
const DRAINS: &str = "#!lua flags=allow-oom\n";

const READS: &str = "#!lua flags=no-writes\n";

macro_rules! scripts {
    ($($name:ident = $file:literal [$($part:literal)*], $flags:ident;)*) => {
        $(pub(super) static $name: LazyLock<Script> = LazyLock::new(|| {
            let parts = [$(include_str!(concat!("lua/parts/", $part, ".lua"))),*];
            Script::new($flags, &parts, include_str!(concat!("lua/", $file, ".lua")))
        });)*

        #[cfg(test)]
        const PARTS: &[(&str, &[&str], &str)] = &[$((
            $file,
            &[$(include_str!(concat!("lua/parts/", $part, ".lua"))),*],
            include_str!(concat!("lua/", $file, ".lua")),
        )),*];
    };
}

// A part comes after those that it uses itself.
scripts! {
    APPEND = "append" [], GROWS;
    ACQUIRE = "acquire" [], DRAINS;
    CLAIM = "claim" [], DRAINS;
    FLEET = "fleet" [], DRAINS;
    FENCE = "fence" ["revoked"], DRAINS;
    ROUTE = "route" ["sums" "state" "delays" "notes" "revoked" "hand_out"], DRAINS;
    PULL = "pull" ["state" "delays" "notes" "revoked" "hand_out"], DRAINS;
    ACK = "ack" ["sums" "count" "state" "notes" "let_go"], DRAINS;
    NACK = "nack" ["sums" "count" "state" "delays" "notes" "let_go" "ready" "parked"], DRAINS;
    GIVE_BACK = "give_back" ["state" "notes" "let_go" "ready" "revoked"], DRAINS;
    END_SESSION = "end_session" ["sums" "count" "state" "notes" "let_go" "ready" "parked" "revoked"], DRAINS;
    RETAIN = "retain" ["state" "notes" "let_go" "ready"], DRAINS;
    AGAIN = "again" ["sums" "count" "state" "ready" "parked"], DRAINS;
    LOOK = "look" ["state" "notes"], READS;
    SWEEP = "sweep" [], DRAINS;
    POLL = "poll" ["delays"], DRAINS;
    STOPS = "stops" [], DRAINS;
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const KEYWORDS: [&str; 7] = ["if", "elseif", "and", "or", "not", "return", "function"];
    const BUILTINS: [&str; 8] =
        ["tonumber", "tostring", "ipairs", "pairs", "unpack", "pcall", "error", "type"];

    /// A line without its comment and quoted text, neither of which has the marks of the other.
    fn code(line: &str) -> String {
        let line = line.split("--").next().unwrap_or_default();
        line.split('\'').step_by(2).collect::<Vec<_>>().join("''")
    }

    /// Names, and what stands before and behind each.
    fn words(code: &str) -> impl Iterator<Item = (&str, &str, &str)> {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let parts = code.split(move |c| !is_word(c)).filter(|word| !word.is_empty());
        parts.map(move |word| {
            let at = word.as_ptr() as usize - code.as_ptr() as usize;
            (&code[..at], word, &code[at + word.len()..])
        })
    }

    /// What a line defines that begins with `local`.
    fn defined(line: &str) -> Vec<&str> {
        match line.strip_prefix("local ") {
            Some(local) => match local.strip_prefix("function ") {
                Some(function) => vec![function.split('(').next().unwrap_or_default()],
                None => local.split(" = ").next().unwrap_or_default().split(", ").collect(),
            },
            None => Vec::new(),
        }
    }

    /// What a part defines for what comes after it.
    fn offered(part: &str) -> BTreeSet<&str> {
        part.lines().flat_map(defined).collect()
    }

    /// The server finds out what is missing only when it is called.
    #[test]
    fn each_script_has_what_it_calls_before_it_calls_it() {
        for (script, parts, own) in PARTS {
            let text = [&[include_str!("lua/begin.lua")], *parts, &[*own]].concat().concat();
            let mut known = BTreeSet::from(BUILTINS.map(str::to_owned));
            let mut calls = 0;
            for line in text.lines().map(code) {
                known.extend(defined(line.trim_start()).into_iter().map(str::to_owned));
                for (before, name, behind) in words(&line) {
                    let is_call = behind.starts_with('(') && !before.ends_with(['.', ':']);
                    if is_call && !KEYWORDS.contains(&name) {
                        assert!(known.contains(name), "{script} calls {name}, which is not there: {line}");
                        calls += 1;
                    }
                }
            }
            assert!(calls > 0, "{script} calls nothing");
        }
    }

    #[test]
    fn each_script_has_what_it_names_of_a_part_and_no_part_in_vain() {
        let all: BTreeSet<_> =
            PARTS.iter().flat_map(|(_, parts, _)| parts.iter().copied().flat_map(offered)).collect();
        for (script, parts, own) in PARTS {
            let texts: Vec<&str> = parts.iter().copied().chain([*own]).collect();
            for (n, text) in texts.iter().enumerate() {
                let before: BTreeSet<_> = texts[..n].iter().copied().flat_map(offered).collect();
                let here: BTreeSet<_> = text.lines().flat_map(|line| defined(line.trim_start())).collect();
                for line in text.lines().map(code) {
                    for (_, name, _) in words(&line) {
                        let there = !all.contains(name) || here.contains(name) || before.contains(name);
                        assert!(there, "{script} has no part that tells {name}: {line}");
                    }
                }
                let mut later = texts[n + 1..].iter().flat_map(|text| text.lines()).map(code);
                let is_used = later.any(|line| words(&line).any(|(_, name, _)| offered(text).contains(name)));
                assert!(n + 1 == texts.len() || is_used, "{script} uses nothing of {:?}", offered(text));
            }
        }
    }
}
