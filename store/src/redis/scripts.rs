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
    fn new(own: &str) -> Self {
        let source = format!("{}{own}", include_str!("lua/common.lua"));
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

macro_rules! scripts {
    ($($name:ident = $file:literal;)*) => {
        $(pub(super) static $name: LazyLock<Script> =
            LazyLock::new(|| Script::new(include_str!(concat!("lua/", $file, ".lua"))));)*
    };
}

scripts! {
    APPEND = "append";
    ACQUIRE = "acquire";
    CLAIM = "claim";
    FLEET = "fleet";
    FENCE = "fence";
    ROUTE = "route";
    PULL = "pull";
    ACK = "ack";
    NACK = "nack";
    GIVE_BACK = "give_back";
    END_SESSION = "end_session";
    AGAIN = "again";
    UNROUTED = "unrouted";
    LOOK = "look";
    SWEEP = "sweep";
    POLL = "poll";
}
