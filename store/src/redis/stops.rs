//! Where gateways tell each other of the stops that they hold: one hash, read by its version.
//!
//! It has a connection and deadlines of its own, so that it waits neither for the bus nor for what the bus waits for. What
//! a stop is it does not know; `docs/adr/0010-stop-by-redis.md` says what is made of it.

use std::time::Duration;

use fred::clients::Client;
use fred::interfaces::ClientLike as _;
use fred::prelude::{Error, ErrorKind, Value};
use nexus_core::clock::Clock;
use nexus_core::stop::{MAX_TOLD_BYTES, MAX_TOLD_STOPS};
use tokio::time::timeout;

use super::connection::{self, Task};
use super::core::channel;
use super::scripts;
use super::settings::RedisSettings;
use super::values::{count_of, malformed, number, parts, str_of, text};
use crate::bus::{BusError, cannot};

/// The key; its tag keeps it in the slot of the gateways.
const STOPS: &str = "nexus:{gateways}:stops";

/// The longest value: what is told, with its generation and its uid.
const LONGEST: usize = MAX_TOLD_BYTES + 512;

/// The most bytes of one answer.
const MAX_ANSWER: usize = 4 * 1024 * 1024;

/// The stops that gateways hold, as one of them reads and writes them. Its connection is made at the first call, and again
/// whenever it has ended; while it is made, calls fail in time and the next ones wait on for it.
#[derive(Debug)]
pub struct StopBoard {
    settings: RedisSettings,
    clock: Clock,
    deadline: Duration,
    channel: String,
    connected: Option<(Client, Task)>,
}

/// What stands on the board.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Board {
    /// Every change moves it; none if there is nothing, as after a FLUSHALL.
    pub version: Option<String>,
    /// What stands there, by uid.
    pub entries: Vec<Entry>,
    /// How many entries were left out, because there are more than gateways put there.
    pub surplus: usize,
}

/// One entry of the board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The uid of the policy.
    pub uid: String,
    /// The generation; none if it cannot be read.
    pub generation: Option<u64>,
    /// What is told; none if it is too long, or no text.
    pub told: Option<String>,
}

/// What became of a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Telling {
    /// It stands there.
    Told,
    /// A later generation stands there, or the same one has changed since it was read: read first.
    ReadFirst,
    /// There is no room for another policy.
    Full,
}

impl StopBoard {
    /// Connects to nothing yet. No call takes longer than the deadline, a connection that is made for it included.
    #[must_use]
    pub fn new(settings: &RedisSettings, deadline: Duration, clock: Clock) -> Self {
        let settings = RedisSettings { command_timeout: deadline, ..settings.clone() };
        let channel = channel(&settings);
        Self { settings, clock, deadline, channel, connected: None }
    }

    /// What stands there, unless it is what was read as this version.
    ///
    /// # Errors
    /// [`BusError::Storage`] when it cannot be read in time. It says nothing then.
    pub async fn read(&mut self, known: Option<&Board>) -> Result<Option<Board>, BusError> {
        let doing = "read the stops that gateways told";
        // A version is a number or nothing.
        let known = known.map_or("unread", |board| board.version.as_deref().unwrap_or_default());
        let more = [number(LONGEST as u64), number(MAX_ANSWER as u64), text(known)];
        let answer = self.call(doing, "read", more).await?;
        let read = |answer| {
            let mut answer = parts(answer)?.into_iter();
            let version = str_of(&answer.next()?)?.to_owned();
            let Some(surplus) = answer.next() else { return Some(None) };
            let mut entries = Vec::new();
            while let Some(uid) = answer.next() {
                entries.push(entry(&uid, &answer.next()?));
            }
            entries.sort_by(|a, b| a.uid.cmp(&b.uid));
            let version = (!version.is_empty()).then_some(version);
            Some(Some(Board { version, entries, surplus: count_of(&surplus)? }))
        };
        read(answer).ok_or_else(|| malformed(doing))
    }

    /// Tells of a stop. `board` is what was read last.
    ///
    /// # Errors
    /// [`BusError::Storage`] when it cannot be written in time; whether it was is open then.
    pub async fn tell(
        &mut self,
        uid: &str,
        generation: u64,
        told: &str,
        board: &Board,
    ) -> Result<Telling, BusError> {
        let doing = "tell gateways of a stop";
        let version = board.version.as_deref().unwrap_or_default();
        let more = [text(uid), number(generation), text(told), text(version)];
        let answer = self.call(doing, "tell", more).await?;
        match str_of(&answer) {
            Some("told") => Ok(Telling::Told),
            Some("read first") => Ok(Telling::ReadFirst),
            Some("full") => Ok(Telling::Full),
            _ => Err(malformed(doing)),
        }
    }

    /// Takes away what is told of a policy, up to this generation. Says whether that was there.
    ///
    /// # Errors
    /// [`BusError::Storage`] when it cannot be written in time; whether it was is open then.
    pub async fn forget(&mut self, uid: &str, upto: u64) -> Result<bool, BusError> {
        let doing = "take away a stop that was told";
        let answer = self.call(doing, "forget", [text(uid), number(upto)]).await?;
        count_of(&answer).map(|gone| gone > 0).ok_or_else(|| malformed(doing))
    }

    /// Ends the connection.
    pub async fn close(&mut self) {
        if let Some((client, _task)) = self.connected.take() {
            // Whatever the server answers, it is given up.
            let _ = timeout(self.deadline, client.quit()).await;
        }
    }

    async fn call(
        &mut self,
        doing: &'static str,
        what: &'static str,
        more: impl IntoIterator<Item = Value>,
    ) -> Result<Value, BusError> {
        let now = self.clock.now().as_microsecond().to_string();
        let mut args = vec![text(self.channel.as_str()), text(""), text(now), text(what)];
        args.push(number(MAX_TOLD_STOPS as u64));
        args.extend(more);
        let deadline = self.deadline;
        let (client, task) = self.connection()?;
        let answer = async {
            tokio::select! {
                biased;
                connected = client.wait_for_connect() => connected?,
                // One that cannot be made may have said so before this listened.
                ended = &mut task.0 => ended.unwrap_or(Ok(())).and(Err(ended_too_soon()))?,
            }
            scripts::STOPS.run(client, STOPS, args).await
        };
        match timeout(deadline, answer).await {
            Ok(answer) => answer.map_err(cannot(doing)),
            Err(late) => Err(cannot(doing)(late)),
        }
    }

    fn connection(&mut self) -> Result<&mut (Client, Task), BusError> {
        // One that has lost its server finds it again by itself, and asks a sentinel where it is.
        self.connected.take_if(|(_, task)| task.0.is_finished());
        if self.connected.is_none() {
            self.connected = Some(connection::begin(&self.settings)?);
        }
        Ok(self.connected.as_mut().expect("it was just made"))
    }
}

fn ended_too_soon() -> Error {
    Error::new(ErrorKind::IO, "the connection to Redis ended")
}

fn entry(uid: &Value, value: &Value) -> Entry {
    let value = str_of(value).and_then(|value| value.split_once(' '));
    Entry {
        uid: str_of(uid).unwrap_or("(no text)").to_owned(),
        generation: value.and_then(|(generation, _)| generation.parse().ok()),
        told: value.map(|(_, told)| told.to_owned()),
    }
}
