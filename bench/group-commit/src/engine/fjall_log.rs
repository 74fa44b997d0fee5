//! fjall: an LSM tree with a journal. One keyspace for each index, one batch for each group.

use std::collections::HashSet;
use std::path::Path;

use anyhow::{Context, Result};
use fjall::config::CompressionPolicy;
use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, PersistMode};

use super::Log;
use crate::load::{Batch, decision, id, inbox_keys, queue_key};

const MIB: u64 = 1024 * 1024;

/// In the order of [`NAMES`].
type Keyspaces = [Keyspace; 7];
const NAMES: [&str; 7] = ["events", "bodies", "seen", "ids", "queue", "inbox", "decisions"];

pub struct FjallLog {
    db: Database,
    sync: PersistMode,
    keyspaces: Keyspaces,
}

impl FjallLog {
    /// Options: `nokv` (bodies in the tree), `syncall` (fsync), `defaults` (of the library).
    pub fn open(dir: &Path, option: &str) -> Result<Self> {
        let tuned = option != "defaults";
        let mut builder = Database::builder(dir).cache_size(16 * MIB);
        if tuned {
            builder = builder.worker_threads(2).max_journaling_size(128 * MIB);
            builder = builder.journal_compression(CompressionType::None);
        }
        let db = builder.open()?;
        let memtable = |mib| KeyspaceCreateOptions::default().max_memtable_size(if tuned { mib } else { 64 } * MIB);
        let blobs = KvSeparationOptions::default().compression(CompressionType::None);
        let bodies = memtable(16)
            .data_block_compression_policy(CompressionPolicy::disabled())
            .with_kv_separation((tuned && option != "nokv").then_some(blobs));
        let [events, rest @ ..] = NAMES;
        let mut keyspaces = vec![db.keyspace(events, || memtable(16))?];
        for name in rest {
            keyspaces.push(db.keyspace(name, || if name == "bodies" { bodies.clone() } else { memtable(4) })?);
        }
        let keyspaces = keyspaces.try_into().ok().context("seven keyspaces")?;
        let sync = if option == "syncall" { PersistMode::SyncAll } else { PersistMode::SyncData };
        Ok(Self { db, sync, keyspaces })
    }
}

impl Log for FjallLog {
    fn commit(&mut self, group: &Batch, durable: bool) -> Result<Vec<bool>> {
        let [events, bodies, seen, ids, queue, inbox, decisions] = &self.keyspaces;
        let mut batch = self.db.batch().durability(Some(if durable { self.sync } else { PersistMode::Buffer }));
        // A batch cannot be read before it is committed, so repeats within the group are ours to find.
        let mut claimed = HashSet::with_capacity(group.appends.len());
        let mut accepted = Vec::with_capacity(group.appends.len());
        for (seq, event) in (group.first..).zip(group.appends) {
            let new = claimed.insert(&event.delivery) && !seen.contains_key(&event.delivery)?;
            accepted.push(new);
            if new {
                let at = seq.to_be_bytes();
                batch.insert(seen, &event.delivery[..], at);
                batch.insert(ids, id(seq), at);
                batch.insert(events, at, &event.json[..]);
                batch.insert(bodies, at, &event.body[..]);
                batch.insert(queue, queue_key(seq), []);
            }
        }
        for &seq in group.routes {
            batch.remove(queue, queue_key(seq));
            batch.insert(decisions, seq.to_be_bytes(), decision(seq));
            inbox_keys(seq).into_iter().for_each(|key| batch.insert(inbox, key, []));
        }
        for key in group.acks.iter().flat_map(|&seq| inbox_keys(seq)) {
            batch.remove(inbox, key);
        }
        batch.commit()?;
        Ok(accepted)
    }

    fn pending(&self) -> Result<usize> {
        let [.., queue, inbox, _] = &self.keyspaces;
        Ok(queue.prefix("acme/").count() + inbox.prefix("acme/").count())
    }

    fn holds(&self, seq: u64) -> Result<bool> {
        let [events, bodies, ..] = &self.keyspaces;
        Ok(events.contains_key(seq.to_be_bytes())? && bodies.contains_key(seq.to_be_bytes())?)
    }
}
