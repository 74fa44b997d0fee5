//! redb: a copy-on-write B-tree in one file. One table for each index, one transaction for each group.

use std::path::Path;

use anyhow::Result;
use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};

use super::Log;
use crate::load::{Batch, decision, id, inbox_keys, queue_key};

const EVENTS: TableDefinition<u64, &[u8]> = TableDefinition::new("events");
const BODIES: TableDefinition<u64, &[u8]> = TableDefinition::new("bodies");
const SEEN: TableDefinition<&[u8], u64> = TableDefinition::new("seen");
const IDS: TableDefinition<[u8; 16], u64> = TableDefinition::new("ids");
const QUEUE: TableDefinition<&[u8], ()> = TableDefinition::new("queue");
const INBOX: TableDefinition<&[u8], ()> = TableDefinition::new("inbox");
const DECISIONS: TableDefinition<u64, &[u8]> = TableDefinition::new("decisions");

pub struct RedbLog {
    db: Database,
    quick_repair: bool,
}

impl RedbLog {
    pub fn open(dir: &Path, quick_repair: bool) -> Result<Self> {
        let db = Database::builder().set_cache_size(64 * 1024 * 1024).create(dir.join("log.redb"))?;
        Ok(Self { db, quick_repair })
    }
}

impl Log for RedbLog {
    fn commit(&mut self, group: &Batch, durable: bool) -> Result<Vec<bool>> {
        let mut tx = self.db.begin_write()?;
        tx.set_durability(if durable { Durability::Immediate } else { Durability::None })?;
        tx.set_quick_repair(self.quick_repair && durable);
        let mut accepted = Vec::with_capacity(group.appends.len());
        {
            let (mut events, mut bodies) = (tx.open_table(EVENTS)?, tx.open_table(BODIES)?);
            let (mut seen, mut ids) = (tx.open_table(SEEN)?, tx.open_table(IDS)?);
            let (mut queue, mut inbox) = (tx.open_table(QUEUE)?, tx.open_table(INBOX)?);
            let mut decisions = tx.open_table(DECISIONS)?;
            for (seq, event) in (group.first..).zip(group.appends) {
                let new = seen.get(&event.delivery[..])?.is_none();
                accepted.push(new);
                if new {
                    seen.insert(&event.delivery[..], seq)?;
                    ids.insert(id(seq), seq)?;
                    events.insert(seq, &event.json[..])?;
                    bodies.insert(seq, &event.body[..])?;
                    queue.insert(&queue_key(seq)[..], ())?;
                }
            }
            for &seq in group.routes {
                queue.remove(&queue_key(seq)[..])?;
                decisions.insert(seq, &decision(seq)[..])?;
                for key in inbox_keys(seq) {
                    inbox.insert(&key[..], ())?;
                }
            }
            for key in group.acks.iter().flat_map(|&seq| inbox_keys(seq)) {
                inbox.remove(&key[..])?;
            }
        }
        tx.commit()?;
        Ok(accepted)
    }

    fn pending(&self) -> Result<usize> {
        let tx = self.db.begin_read()?;
        Ok(tx.open_table(QUEUE)?.iter()?.count() + tx.open_table(INBOX)?.iter()?.count())
    }

    fn holds(&self, seq: u64) -> Result<bool> {
        let tx = self.db.begin_read()?;
        Ok(tx.open_table(EVENTS)?.get(seq)?.is_some() && tx.open_table(BODIES)?.get(seq)?.is_some())
    }
}
