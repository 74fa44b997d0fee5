//! What the writer knows of a log that was just opened.
//!
//! Counts are made anew from the records of what is open; no event is read. Whoever held something before a
//! restart holds nothing now: all of it waits. Within a process, when the engine was opened anew after a failed
//! write, sessions keep what they hold.
//!
//! A record that cannot be read, because a later version wrote it or it is damaged, is counted, passed over and kept:
//! one event or copy less must not close the log of all. Only what all others hang on is an error: a tenant's number
//! and counters, which would be given a second time, and an epoch, which fences.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use nexus_core::id::{InboxId, TenantKey};

use super::deliver::LONGEST_DELAY;
use super::keys::{self, TenantNo};
use super::records::{Counters, Entry, Malformed, Open, Waiting};
use super::shared::{Shared, TenantFile};
use super::state::{Inbox, Place, State, Tenant};
use super::store::{Space, Store, readable, unreadable};
use crate::bus::{BusError, Epoch, cannot};

impl State {
    /// Reads the state of a log.
    pub(super) fn load(store: &Store, shared: &Shared, now: Timestamp) -> Result<Self, BusError> {
        let mut state = Self::default();
        state.load_tenants(store, shared)?;
        state.load_epochs(store)?;
        state.load_pending(store)?;
        state.load_copies(store, now)?;
        state.load_dead(store)?;
        Ok(state)
    }

    fn load_tenants(&mut self, store: &Store, shared: &Shared) -> Result<(), BusError> {
        let mut files = BTreeMap::new();
        for item in store.all(Space::Meta, &[keys::TENANTS]) {
            let (key, value) = item?;
            let name = key.get(1..).and_then(|name| std::str::from_utf8(name).ok());
            let number = <[u8; 4]>::try_from(&*value).map(TenantNo::from_be_bytes);
            let (Some(Ok(name)), Ok(number)) = (name.map(str::parse::<TenantKey>), number) else {
                return Err(cannot("read the tenants")(Malformed("meta")));
            };
            let counters = match store.get(Space::Meta, &keys::counters(number))? {
                Some(value) => Counters::decode(&value).map_err(cannot("read the tenants"))?,
                None => Counters::default(),
            };
            let file = Arc::new(TenantFile::new(number));
            file.set_found(counters.last);
            files.insert(name.clone(), Arc::clone(&file));
            self.numbers.insert(name.clone(), number);
            let tenant = Tenant {
                key: name,
                file,
                counters,
                pending: 0,
                unrouted: 0,
                dead: 0,
                dead_bytes: 0,
                epochs: Default::default(),
            };
            self.tenants.insert(number, tenant);
        }
        shared.set_tenants(files);
        Ok(())
    }

    fn load_epochs(&mut self, store: &Store) -> Result<(), BusError> {
        for item in store.all(Space::Meta, &[keys::EPOCHS]) {
            let (key, value) = item?;
            let key = key.get(1..).and_then(|rest| rest.split_first_chunk::<4>());
            let partition = key.and_then(|(_, rest)| <[u8; 2]>::try_from(rest).ok());
            let epoch = <[u8; 8]>::try_from(&*value).map(Epoch::from_be_bytes);
            let (Some((number, _)), Some(partition), Ok(epoch)) = (key, partition, epoch) else {
                return Err(cannot("read the epochs")(Malformed("meta")));
            };
            if let Some(tenant) = self.tenants.get_mut(&TenantNo::from_be_bytes(*number)) {
                tenant.epochs.insert(u16::from_be_bytes(partition), epoch);
            }
        }
        Ok(())
    }

    fn load_pending(&mut self, store: &Store) -> Result<(), BusError> {
        for item in store.all(Space::Queue, &[]) {
            let (key, value) = item?;
            let waiting = readable("queue", Waiting::decode(&value));
            if let Some(tenant) = keys::tenant_of(&key).and_then(|number| self.tenants.get_mut(&number)) {
                tenant.unrouted += 1;
                tenant.pending += waiting.map_or(0, |waiting| waiting.bytes);
            }
        }
        for item in store.all(Space::Open, &[]) {
            let (key, value) = item?;
            let tenant = keys::tenant_of(&key).and_then(|number| self.tenants.get_mut(&number));
            if let (Some(open), Some(tenant)) = (readable("open", Open::decode(&value)), tenant) {
                tenant.count_copies(Open { open: 0, dead: 0, ..open }, open);
            }
        }
        Ok(())
    }

    fn load_copies(&mut self, store: &Store, now: Timestamp) -> Result<(), BusError> {
        let now = now.as_microsecond();
        let latest = latest_delay(now);
        for item in store.all(Space::Inbox, &[]) {
            let (key, value) = item?;
            let (Some((tenant, inbox)), Some(seq)) = (owner(&key), keys::seq_of(&key)) else {
                unreadable("copies");
                continue;
            };
            self.inboxes.entry((tenant, inbox)).or_default().found(seq);
            if let Some(entry) = readable("copies", Entry::decode(&value))
                && entry.not_before > now
                && entry.not_before <= latest
            {
                self.delay(tenant, Place { inbox, seq }, entry.not_before);
            }
        }
        Ok(())
    }

    fn load_dead(&mut self, store: &Store) -> Result<(), BusError> {
        for item in store.all(Space::Dead, &[]) {
            let (key, _) = item?;
            let Some((tenant, inbox)) = owner(&key) else {
                unreadable("copies");
                continue;
            };
            let inbox: &mut Inbox = self.inboxes.entry((tenant, inbox)).or_default();
            inbox.dead += 1;
        }
        Ok(())
    }
}

/// The latest time that a delay can end at; a later one was written by a clock that has gone back since.
pub(super) fn latest_delay(now: i64) -> i64 {
    now.saturating_add(i64::try_from(LONGEST_DELAY.as_micros()).unwrap_or(i64::MAX))
}

fn owner(key: &[u8]) -> Option<(TenantNo, InboxId)> {
    Some((keys::tenant_of(key)?, keys::inbox_of(key)?))
}
