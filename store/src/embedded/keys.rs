//! Keys of the keyspaces. Every key of a tenant's data begins with the tenant's number, four bytes given once
//! and kept for ever, so that no name can reach into another tenant's keys. Numbers are big-endian: the order
//! of the bytes is the order of meaning.

use nexus_core::id::{EventId, InboxId};
use uuid::Uuid;

use crate::bus::Seq;

/// A tenant's number.
pub(super) type TenantNo = u32;

/// Texts longer than this are cut and get a digest, since keys of the engine end at 64 KiB.
const LONGEST_TEXT: usize = 1024;

/// In `meta`: the format of the log.
pub(super) const FORMAT: u8 = b'f';
/// In `meta`: a tenant's number.
pub(super) const TENANTS: u8 = b't';
/// In `meta`: a tenant's counters.
pub(super) const COUNTERS: u8 = b'c';
/// In `meta`: the epoch of a partition.
pub(super) const EPOCHS: u8 = b'e';

/// Puts parts of known lengths together.
fn join<const N: usize>(parts: &[&[u8]]) -> [u8; N] {
    let mut key = [0; N];
    let mut rest = &mut key[..];
    for part in parts {
        let (here, after) = rest.split_at_mut(part.len());
        here.copy_from_slice(part);
        rest = after;
    }
    key
}

pub(super) fn tenant_name(name: &str) -> Vec<u8> {
    [&[TENANTS], name.as_bytes()].concat()
}

pub(super) fn counters(tenant: TenantNo) -> [u8; 5] {
    join(&[&[COUNTERS], &tenant.to_be_bytes()])
}

pub(super) fn epoch(tenant: TenantNo, partition: u16) -> [u8; 7] {
    join(&[&[EPOCHS], &tenant.to_be_bytes(), &partition.to_be_bytes()])
}

/// Of all that is kept once an event: head, event, route, open copies.
pub(super) fn event(tenant: TenantNo, seq: Seq) -> [u8; 12] {
    join(&[&tenant.to_be_bytes(), &seq.to_be_bytes()])
}

pub(super) fn id(tenant: TenantNo, id: EventId) -> [u8; 20] {
    join(&[&tenant.to_be_bytes(), id.as_bytes()])
}

pub(super) fn queue(tenant: TenantNo, partition: u16, seq: Seq) -> [u8; 14] {
    join(&[&tenant.to_be_bytes(), &partition.to_be_bytes(), &seq.to_be_bytes()])
}

/// Of a copy that is open or dead, by inbox.
pub(super) fn copy(tenant: TenantNo, inbox: InboxId, seq: Seq) -> [u8; 28] {
    join(&[&tenant.to_be_bytes(), inbox.as_bytes(), &seq.to_be_bytes()])
}

/// Of a copy that is done, by event.
pub(super) fn receipt(tenant: TenantNo, seq: Seq, inbox: InboxId) -> [u8; 28] {
    join(&[&tenant.to_be_bytes(), &seq.to_be_bytes(), inbox.as_bytes()])
}

pub(super) fn delivery(tenant: TenantNo, delivery_key: &str) -> Vec<u8> {
    with_text(&tenant.to_be_bytes(), delivery_key)
}

pub(super) fn claim(tenant: TenantNo, inbox: InboxId, change: &str) -> Vec<u8> {
    with_text(&join::<20>(&[&tenant.to_be_bytes(), inbox.as_bytes()]), change)
}

/// Of a note of what expires when; `at` is never negative.
pub(super) fn expiry(tenant: TenantNo, at: i64, seq: Seq, what: u8) -> [u8; 21] {
    join(&[&tenant.to_be_bytes(), &at.max(0).to_be_bytes(), &seq.to_be_bytes(), &[what]])
}

fn with_text(prefix: &[u8], text: &str) -> Vec<u8> {
    let text = text.as_bytes();
    match text.get(..LONGEST_TEXT) {
        Some(start) if text.len() > LONGEST_TEXT => {
            [prefix, start, Uuid::new_v5(&Uuid::NAMESPACE_OID, text).as_bytes()].concat()
        }
        _ => [prefix, text].concat(),
    }
}

fn number_at<const N: usize>(key: &[u8], at: usize) -> Option<[u8; N]> {
    key.get(at..at + N)?.try_into().ok()
}

/// The number at the front of a key.
pub(super) fn tenant_of(key: &[u8]) -> Option<TenantNo> {
    number_at(key, 0).map(TenantNo::from_be_bytes)
}

/// The place at the end of a key.
pub(super) fn seq_of(key: &[u8]) -> Option<Seq> {
    number_at(key, key.len().checked_sub(8)?).map(Seq::from_be_bytes)
}

/// The inbox of a [`copy`] key.
pub(super) fn inbox_of(key: &[u8]) -> Option<InboxId> {
    number_at(key, 4).map(InboxId::from_bytes)
}

/// When the thing of an [`expiry`] key expires.
pub(super) fn expiry_of(key: &[u8]) -> Option<i64> {
    number_at(key, 4).map(i64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_by_tenant_inbox_and_place() {
        let inbox = |n: u8| InboxId::from_bytes([n; 16]);
        let mut keys =
            [copy(2, inbox(0), 1), copy(1, inbox(1), 300), copy(1, inbox(1), 2), copy(1, inbox(0), 9)];
        keys.sort_unstable();
        let places = keys.map(|key| (tenant_of(&key), inbox_of(&key), seq_of(&key)));
        assert_eq!(
            places,
            [
                (Some(1), Some(inbox(0)), Some(9)),
                (Some(1), Some(inbox(1)), Some(2)),
                (Some(1), Some(inbox(1)), Some(300)),
                (Some(2), Some(inbox(0)), Some(1)),
            ]
        );
    }

    #[test]
    fn long_texts_stay_apart_and_short() {
        let [a, b] = ["a", "b"].map(|end| delivery(1, &format!("{}{end}", "x".repeat(100_000))));
        assert_ne!(a, b);
        assert!(a.len() < 1100);
        assert_eq!(delivery(1, "short"), b"\0\0\0\x01short");
    }
}
