//! The scripts: one a step. Each is the common part and its own.

use std::sync::LazyLock;

use fred::interfaces::LuaInterface as _;
use fred::prelude::{Error, Value};
use sha1::{Digest as _, Sha1};

/// A script and the name by which the server knows it.
#[derive(Debug)]
pub(super) struct Script {
    source: String,
    sha: String,
}

impl Script {
    fn new(flags: &str, own: &str) -> Self {
        let source = format!("{flags}{}{own}", include_str!("lua/common.lua"));
        let sha = hex::encode(Sha1::digest(&source));
        Self { source, sha }
    }

    /// Runs it once; a server that does not know it yet is given it.
    pub(super) async fn run(
        &self,
        client: &fred::clients::Client,
        key: &str,
        args: Vec<Value>,
    ) -> Result<Value, Error> {
        let again = args.clone();
        match client.evalsha(self.sha.as_str(), key, args).await {
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
    ($($name:ident = $file:literal, $flags:ident;)*) => {
        $(pub(super) static $name: LazyLock<Script> =
            LazyLock::new(|| Script::new($flags, include_str!(concat!("lua/", $file, ".lua"))));)*
    };
}

scripts! {
    APPEND = "append", GROWS;
    ACQUIRE = "acquire", DRAINS;
    CLAIM = "claim", DRAINS;
    FLEET = "fleet", DRAINS;
    FENCE = "fence", DRAINS;
    ROUTE = "route", DRAINS;
    PULL = "pull", DRAINS;
    ACK = "ack", DRAINS;
    NACK = "nack", DRAINS;
    GIVE_BACK = "give_back", DRAINS;
    END_SESSION = "end_session", DRAINS;
    RETAIN = "retain", DRAINS;
    AGAIN = "again", DRAINS;
    UNROUTED = "unrouted", READS;
    LOOK = "look", READS;
    SWEEP = "sweep", DRAINS;
    POLL = "poll", DRAINS;
    STOPS = "stops", DRAINS;
}
