//! Segments that were cut or damaged anywhere, and a disk that cannot be written: without any bus.

use std::fs;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use nexus_core::change::ChangeKey;
use nexus_core::id::{EventId, TenantKey};
use nexus_core::kind::{Kind, Rank};
use proptest::prelude::*;

use super::segment::{self, BEGIN};
use super::*;
use crate::bus::Raw;

fn tenant() -> TenantKey {
    "acme/acme".parse().unwrap()
}

fn event(n: u64) -> Append {
    Append {
        id: EventId::from(Uuid::from_u128(n.into())),
        delivery_key: format!("github:{n}"),
        dedupe_for: Duration::from_secs(60),
        thread_key: "acme/shop#1".into(),
        kind: Kind::NewWorkItem,
        source: "github".into(),
        title: None,
        received: Timestamp::UNIX_EPOCH,
        change: ChangeKey::single(format!("issue:{n}"), Rank::Birth),
        event: format!(r#"{{"id":"{n}"}}"#).into(),
        raw: Raw { headers: vec![("x-github-event".into(), "issues".into())], body: "{}".into() },
        quota_bytes: 1 << 20,
    }
}

/// A segment with so many records, as a process leaves it.
async fn written(folder: &Path, count: u64) -> Vec<u8> {
    let mut settings = SpoolSettings::at(folder.to_owned());
    settings.patience = Duration::ZERO;
    let spool = Spool::open(settings).unwrap();
    for n in 0..count {
        assert_eq!(spool.append(&tenant(), event(n)).await.unwrap(), Taken::New);
    }
    spool.close().await;
    fs::read(segment::path_of(folder, 1)).unwrap()
}

/// What a spool finds that is opened over these bytes.
fn found(bytes: &[u8]) -> (u64, usize) {
    let dir = tempfile::tempdir().unwrap();
    fs::write(segment::path_of(dir.path(), 1), bytes).unwrap();
    let spool = Spool::open(SpoolSettings::at(dir.path().to_owned())).unwrap();
    let damaged = fs::read_dir(dir.path())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|end| end == segment::DAMAGED))
        .count();
    (spool.figures().waiting, damaged)
}

#[tokio::test]
async fn an_event_is_read_as_it_was_written() {
    let event = Prepared::of(event(7)).await.unwrap();
    let payload = record::encode(&tenant(), &event).unwrap();
    assert_eq!(record::tenant_of(&payload), Some(tenant()));
    assert_eq!(record::decode(payload.clone().into()), Some((tenant(), event.clone())));
    let decode = |end: usize| record::decode(payload[..end].to_vec().into());
    // An earlier version ended before the length of the JSON, and packed none.
    let earlier = payload.len() - 8;
    assert_eq!(decode(earlier), Some((tenant(), event)));
    for end in (0..payload.len()).filter(|end| *end != earlier) {
        assert_eq!(decode(end), None);
    }
}

#[tokio::test]
async fn packed_json_is_read_as_it_was_written() {
    let json = format!(r#"{{"text":"{}"}}"#, "x".repeat(1000));
    let event = Prepared::of(Append { event: json.clone().into(), ..event(7) }).await.unwrap();
    let payload = record::encode(&tenant(), &event).unwrap();
    assert!(payload.len() < json.len());
    let (_, read) = record::decode(payload.into()).unwrap();
    assert_eq!((read.json.unpack().unwrap(), read.weight()), (json.into(), event.weight()));
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_cut_off_everything_before_it_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = written(dir.path(), 5).await;
    let ends: Vec<_> = segment::scan(1, &bytes)
        .found
        .iter()
        .map(|found| usize::try_from(found.at.offset + u64::from(found.at.len)).unwrap())
        .collect();
    assert_eq!(ends.len(), 5);
    for len in 0..=bytes.len() {
        let whole = ends.iter().filter(|end| **end <= len).count() as u64;
        assert_eq!(found(&bytes[..len]), (whole, 0), "cut at {len}");
    }
    // Room that was given and never written.
    let mut longer = bytes.clone();
    longer.resize(bytes.len() + 10_000, 0);
    assert_eq!(found(&longer), (5, 0));
}

#[test]
fn a_damaged_byte_costs_one_event_at_most_and_is_told_of() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let bytes = runtime.block_on(written(dir.path(), 5));
    proptest!(ProptestConfig::with_cases(400), |(at in 0..bytes.len(), bit in 0..8_u32)| {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1 << bit;
        let last = segment::scan(1, &bytes).torn > 0;
        let (waiting, damaged) = found(&bytes);
        prop_assert_eq!(waiting, if at < BEGIN { 5 } else { 4 });
        // Of the last one nobody can tell whether it was ever finished.
        prop_assert_eq!(damaged, usize::from(!last));
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_damaged_after_it_was_found_is_not_taken_for_an_event() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = written(dir.path(), 3).await;
    let found = segment::scan(1, &bytes).found;
    let path = segment::path_of(dir.path(), 1);
    let file = std::fs::File::open(&path).unwrap();
    let heads = segment::heads(&file, 1, bytes.len() as u64).unwrap();
    assert_eq!(heads, found, "heads alone tell the same");
    assert!(segment::read(&file, found[1].at, found[1].place).is_ok());
    assert!(segment::read(&file, found[1].at, found[0].place).is_err(), "another place");
    let mut bytes = bytes;
    bytes[usize::try_from(found[1].at.offset).unwrap() + 5] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert!(segment::read(&file, found[1].at, found[1].place).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn places_begin_far_behind_those_that_were_found() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), 3).await;
    let settings = SpoolSettings::at(dir.path().to_owned());
    let spool = Spool::open(settings.clone()).unwrap();
    let id = spool.0.shared.id;
    assert_eq!(lock(&spool.0.shared.shelf).place, 3 + 2 * (1 << 28));
    spool.close().await;
    assert_eq!(Spool::open(settings.clone()).unwrap().0.shared.id, id, "the bus knows it by its id");
    for number in segment::list(dir.path()).unwrap() {
        fs::remove_file(segment::path_of(dir.path(), number)).unwrap();
    }
    assert_ne!(Spool::open(settings).unwrap().0.shared.id, id, "without events it is another");
}

/// Events went into the bus before their bytes were durable, and the power went: their places are not used again.
#[tokio::test(flavor = "multi_thread")]
async fn places_that_may_have_been_used_are_not_used_again() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), 3).await;
    let settings = SpoolSettings::at(dir.path().to_owned());
    let place = |spool: &Spool| lock(&spool.0.shared.shelf).place;
    let mut settings_now = settings.clone();
    settings_now.patience = Duration::ZERO;
    let second = Spool::open(settings_now).unwrap();
    second.append(&tenant(), event(9)).await.unwrap();
    let used = place(&second);
    second.close().await;
    // Only its beginning has reached the disk.
    let number = *segment::list(dir.path()).unwrap().last().unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(segment::path_of(dir.path(), number)).unwrap();
    file.set_len(BEGIN as u64).unwrap();
    let third = Spool::open(settings.clone()).unwrap();
    assert!(place(&third) > used);
    third.close().await;
    assert!(place(&Spool::open(settings).unwrap()) > used, "also when the third has written nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_cannot_be_written_refuses_until_it_can() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = SpoolSettings::at(dir.path().join("spool"));
    (settings.patience, settings.segment_bytes) = (Duration::ZERO, 1);
    let spool = Spool::open(settings).unwrap();
    assert_eq!(spool.append(&tenant(), event(1)).await.unwrap(), Taken::New);
    fs::rename(dir.path().join("spool"), dir.path().join("away")).unwrap();
    for n in 2..4 {
        assert_eq!(spool.append(&tenant(), event(n)).await.unwrap_err().label(), "storage");
    }
    assert!(spool.figures().unwritable);
    fs::rename(dir.path().join("away"), dir.path().join("spool")).unwrap();
    assert_eq!(spool.append(&tenant(), event(4)).await.unwrap(), Taken::New);
    let figures = spool.figures();
    assert!(!figures.unwritable);
    assert_eq!(figures.waiting, 2, "what was refused is not kept");
}
