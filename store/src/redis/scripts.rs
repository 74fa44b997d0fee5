//! The scripts: one a step. Each is the common part and its own, of one or two files.

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
    fn new(flags: &str, own: &[&str]) -> Self {
        let source = format!("{flags}{}{}", include_str!("lua/common.lua"), own.concat());
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
    ($($name:ident = $($file:literal)+, $flags:ident;)*) => {
        $(pub(super) static $name: LazyLock<Script> =
            LazyLock::new(|| Script::new($flags, &[$(include_str!(concat!("lua/", $file, ".lua"))),+]));)*
    };
}

scripts! {
    APPEND = "append", GROWS;
    ACQUIRE = "acquire", DRAINS;
    CLAIM = "claim", DRAINS;
    FLEET = "fleet", DRAINS;
    FENCE = "fence", DRAINS;
    ROUTE = "hand_out" "route", DRAINS;
    PULL = "hand_out" "pull", DRAINS;
    ACK = "ack", DRAINS;
    NACK = "nack", DRAINS;
    GIVE_BACK = "give_back", DRAINS;
    END_SESSION = "end_session", DRAINS;
    RETAIN = "retain", DRAINS;
    AGAIN = "again", DRAINS;
    LOOK = "look", READS;
    SWEEP = "sweep", DRAINS;
    POLL = "poll", DRAINS;
    STOPS = "stops", DRAINS;
}
