//! Notes of what expires when, a few for each batch, so that what is remembered can be forgotten in time.

use std::collections::BTreeMap;

use serde::Serialize;

use super::keys::{self, TenantNo};
use super::records::Claimed;
use super::store::{Space, Txn};
use crate::bus::Seq;

/// How many keys a note tells of, unless one event has more.
pub(super) const PER_NOTE: usize = 32;

/// In [`Space::Expiry`]: the value is a list of delivery keys.
pub(super) const DELIVERY: u8 = 1;
/// In [`Space::Expiry`]: the value is a list of [`Claimed`].
pub(super) const CLAIMS: u8 = 2;

/// Things of one kind by tenant and time, each with the place of its event, which makes the note's key unique.
type Notes<T> = BTreeMap<(TenantNo, i64), Vec<(Seq, T)>>;

/// What the events of a batch leave behind that expires.
#[derive(Default)]
pub(super) struct Expiring {
    deliveries: Notes<String>,
    claims: Notes<Claimed>,
}

impl Expiring {
    /// A delivery key is remembered until then, in microseconds since 1970.
    pub(super) fn delivery(&mut self, tenant: TenantNo, at: i64, seq: Seq, key: String) {
        self.deliveries.entry((tenant, at)).or_default().push((seq, key));
    }

    /// Claims stand until then, in microseconds since 1970.
    pub(super) fn claims(&mut self, tenant: TenantNo, at: i64, seq: Seq, claimed: Claimed) {
        self.claims.entry((tenant, at)).or_default().push((seq, claimed));
    }

    pub(super) fn write(&mut self, txn: &mut Txn) {
        write(txn, DELIVERY, std::mem::take(&mut self.deliveries), |_| 1);
        write(txn, CLAIMS, std::mem::take(&mut self.claims), |claimed| claimed.pairs().count());
    }
}

fn write<T: Serialize>(txn: &mut Txn, what: u8, notes: Notes<T>, weight: impl Fn(&T) -> usize) {
    for ((tenant, at), mut things) in notes {
        while let Some((seq, _)) = things.first() {
            let key = keys::expiry(tenant, at, *seq, what);
            let mut keys = 0;
            let fits = things.iter().take_while(|(_, thing)| {
                keys += weight(thing);
                keys <= PER_NOTE
            });
            let rest = things.split_off(fits.count().max(1));
            let told: Vec<_> = things.iter().map(|(_, thing)| thing).collect();
            let value = serde_json::to_vec(&told).expect("texts and lists of texts are JSON");
            txn.put(Space::Expiry, key, value);
            things = rest;
        }
    }
}
