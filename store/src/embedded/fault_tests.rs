//! Faults that only show from within: records that are gone, bytes that never reached the disk.

use std::fs::OpenOptions;
use std::sync::atomic::Ordering;

use super::command::Fault;
use super::store::{Space, Txn};
use super::*;
use crate::bus::{Bus, HandOut, MAX_ATTEMPTS, Page};

#[path = "../../tests/contract/rig.rs"]
#[expect(dead_code, reason = "the contract's rig has more than is needed here")]
mod rig;

use rig::*;

fn log(rig: &Rig) -> &EmbeddedLog {
    let Bus::Embedded(log) = &rig.bus else {
        panic!("this rig has an embedded log");
    };
    log
}

/// Lets the writer do something, and waits until it did.
async fn fault(rig: &Rig, fault: impl FnOnce(&mut Writer) + Send + 'static) {
    let (reply, done) = oneshot::channel();
    let fault = Fault(Box::new(move |writer| {
        fault(writer);
        reply.send(()).unwrap();
    }));
    let commands = log(rig).commands.as_ref().unwrap();
    commands.send(Command::Fault(fault)).await.unwrap();
    done.await.unwrap();
}

/// Lets every write fail until the log is opened anew.
fn fail_writes(rig: &Rig) {
    log(rig).shared.store().unwrap().fails.store(true, Ordering::SeqCst);
}

/// Waits until the log was opened anew.
async fn open_again(rig: &Rig) {
    let again = async {
        while rig.bus.depth(&tenant()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), again).await.expect("the log is not opened anew");
}

fn broken() -> BusError {
    cannot("write to the log")(std::io::Error::other("the disk of this test fails"))
}

/// What a loss of power may take: all that was written after the last sync.
fn lose_unsynced(path: &Path) {
    let journal = repair::journals(path).unwrap().pop().unwrap();
    let batches = repair::outline(&repair::read(&journal).unwrap().0);
    let unsynced = batches.iter().rposition(|batch| batch.synced).map_or(0, |last| last + 1);
    if let Some(lost) = batches.get(unsynced) {
        let file = OpenOptions::new().write(true).open(&journal).unwrap();
        file.set_len(lost.at as u64).unwrap();
    }
}

/// The engine fails, and what was not synced is lost.
async fn fail_and_lose_unsynced(rig: &Rig) {
    fault(rig, |writer| {
        writer.give_up(broken(), None);
        lose_unsynced(&writer.path);
    })
    .await;
}

/// What came a moment ago is read from the engine from now on, as after a while.
fn forget(rig: &Rig) {
    let shared = &log(rig).shared;
    shared.recent.clear();
    let file = shared.tenant(&tenant()).unwrap();
    for partition in 0..crate::bus::PARTITIONS {
        file.unrouted(partition).unwrap().begin(file.committed());
    }
}

fn lose_event(rig: &Rig, seq: Seq) {
    forget(rig);
    let mut txn = Txn::new(&log(rig).shared.store().unwrap());
    let number = log(rig).shared.tenant(&tenant()).unwrap().number;
    txn.remove(Space::Events, keys::event(number, seq));
    txn.commit(true).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_cannot_be_read_is_parked_and_holds_nothing_up() {
    let rig = Rig::new(Backend::Embedded);
    rig.fill(&["a", "b"], inbox(1)).await;
    lose_event(&rig, 1);
    let acme = tenant();
    let pull = || rig.bus.pull(&acme, inbox(1), session(1), 1, usize::MAX);
    let mut watch = rig.bus.watch_inbox(&tenant(), inbox(1));
    assert_eq!(label(pull().await), "storage");
    // Whoever waits for the inbox hears that there is more, and gets what is behind.
    changed(&mut watch).await;
    assert_eq!(ids_of(&pull().await.unwrap()), ids(&["b"]));
    for attempt in 2..=MAX_ATTEMPTS {
        assert!(pull().await.unwrap().is_empty(), "it waits a while");
        assert!(rig.bus.dead(&tenant(), inbox(1), None, 9).await.unwrap().is_empty());
        rig.clock.advance(HOUR);
        assert_eq!(label(pull().await), "storage", "attempt {attempt}");
    }
    assert!(pull().await.unwrap().is_empty());
    let dead = rig.bus.dead(&tenant(), inbox(1), None, 9).await.unwrap();
    assert_eq!(dead.len(), 1);
    assert_eq!((dead[0].id, dead[0].attempts), (id("a"), MAX_ATTEMPTS));
    assert_eq!(dead[0].reason, "the event cannot be read from the log");
    let depth = rig.bus.inbox_depth(&tenant(), inbox(1)).await.unwrap();
    assert_eq!((depth.waiting, depth.held, depth.dead), (0, 1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_read_is_handed_out_without_what_cannot() {
    let rig = Rig::new(Backend::Embedded);
    rig.fill(&["a", "b", "c"], inbox(1)).await;
    lose_event(&rig, 2);
    assert_eq!(rig.pull_ids(inbox(1), session(1)).await, ids(&["a", "c"]));
    assert_eq!(rig.ack(session(1), &["a", "b", "c"]).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_of_an_engine_that_failed_was_not_tried() {
    let rig = Rig::new(Backend::Embedded);
    rig.fill(&["a", "b"], inbox(1)).await;
    let shared = &log(&rig).shared;
    let (store, file) = (shared.store().unwrap(), shared.tenant(&tenant()).unwrap());
    let event = store.get(Space::Events, &keys::event(file.number, 1)).unwrap().unwrap();
    lose_event(&rig, 1);
    let pull = Pull { inbox: inbox(1), session: session(1), max: 9, max_bytes: usize::MAX };
    let handed = log(&rig).ask(|reply| Command::Pull(tenant(), pull, reply)).await.unwrap();
    shared.set_broken(broken());
    let (handed, held) = read_handed(shared, &store, &file, inbox(1), handed).unwrap();
    shared.set_open(Arc::clone(&store));
    handed.claim();
    assert_eq!(ids_of(&held), ids(&["b"]));
    let mut txn = Txn::new(&store);
    txn.put(Space::Events, keys::event(file.number, 1), event);
    txn.commit(true).unwrap();
    let held = rig.pull(inbox(1), session(2), 9).await;
    assert_eq!(ids_of(&held), ids(&["a"]));
    assert_eq!(held[0].attempt, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_failed_sync_lost_is_found_again() {
    let rig = Rig::new(Backend::Embedded);
    rig.fill(&["a", "b"], inbox(1)).await;
    rig.pull(inbox(1), session(1), 9).await;
    rig.ack(session(1), &["a", "b"]).await;
    rig.clock.advance(2 * DAY);
    // Readers have seen that nothing waits, and a sweep that there is nothing below.
    assert!(rig.unrouted().await.is_empty());
    rig.sweep(DAY).await;
    let mut watch = rig.bus.watch_unrouted(&tenant(), 0);
    fail_and_lose_unsynced(&rig).await;
    open_again(&rig).await;
    assert_eq!(rig.bus.depth(&tenant()).await.unwrap().unrouted, 1);
    changed(&mut watch).await;
    let waiting: Vec<_> = rig.unrouted().await.into_iter().map(|(_, _, id)| id).collect();
    assert_eq!(waiting, ids(&["b"]));
    rig.route(&[inbox(1)]).await;
    assert_eq!(rig.pull_ids(inbox(1), session(2)).await, ids(&["a", "b"]));
    rig.ack(session(2), &["a", "b"]).await;
    assert_eq!(rig.sweep(DAY).await, 2);
    assert!(rig.bus.event(&tenant(), id("a")).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_says_when_there_is_more() {
    let rig = Rig::new(Backend::Embedded);
    let names: Vec<_> = (0..45).map(|n| format!("{n}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    // The first twenty are held, the others are of nobody.
    rig.fill(&names[..20], inbox(1)).await;
    rig.pull(inbox(1), session(1), 99).await;
    rig.store_all(&names[20..]).await;
    rig.route(&[]).await;
    rig.clock.advance(DAY);
    let mut calls = Vec::new();
    while calls.last().is_none_or(|swept: &Swept| swept.more) {
        calls.push(log(&rig).sweep_some(&tenant(), DAY, 10).await.unwrap());
    }
    let events: Vec<_> = calls.iter().map(|swept| swept.events).collect();
    assert_eq!(events, [0, 0, 10, 10, 5]);
    // Only keys are left to go: 45 delivery keys, 20 change keys.
    rig.clock.advance(4 * DAY);
    let mut keys = 0;
    loop {
        let swept = log(&rig).sweep_some(&tenant(), DAY, 10).await.unwrap();
        assert_eq!(swept.events, 0);
        keys += swept.keys;
        if !swept.more {
            break;
        }
    }
    assert_eq!(keys, 45 + 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_counts_the_keys_that_a_note_tells_of() {
    let rig = Rig::new(Backend::Embedded);
    let inboxes: Vec<_> = (1..=20).map(inbox).collect();
    let acme = tenant();
    let events = || (0..30).map(|n| rig.bus.append(&acme, rig.event(&format!("{n}"))));
    futures_util::future::try_join_all(events()).await.unwrap();
    rig.route(&inboxes).await;
    rig.clock.advance(4 * DAY);
    let mut keys = Vec::new();
    loop {
        let swept = log(&rig).sweep_some(&tenant(), 9 * DAY, 10).await.unwrap();
        keys.push(swept.keys);
        if !swept.more {
            break;
        }
    }
    assert_eq!(keys.iter().sum::<u64>(), 30 + 30 * 20);
    // The last note that a call takes may tell of more than there is room for.
    let note = expiring::PER_NOTE as u64;
    assert!(keys.iter().all(|keys| *keys < 10 + note), "{keys:?}");
    assert!(rig.bus.sweep(&tenant(), 9 * DAY).await.unwrap().keys == 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_failed_sweep_left_is_found_by_the_next() {
    let rig = Rig::new(Backend::Embedded);
    rig.store_all(&["a", "b"]).await;
    rig.route(&[]).await;
    rig.clock.advance(2 * DAY);
    rig.store_all(&["c"]).await;
    fail_writes(&rig);
    assert_eq!(label(rig.bus.sweep(&tenant(), DAY).await), "storage");
    open_again(&rig).await;
    assert_eq!(rig.sweep(DAY).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answered_append_survives_a_loss_of_power() {
    let mut rig = Rig::new(Backend::Embedded);
    for n in 0..20 {
        let name = format!("{n}");
        let acme = tenant();
        let append = || rig.bus.append(&acme, rig.event(&name));
        // Of two that come together the second is answered by the first, which must be kept as well.
        let (one, two) = tokio::join!(append(), append());
        let outcomes = [one.unwrap(), two.unwrap()];
        assert!(outcomes.contains(&Appended::Stored(n + 1)), "{outcomes:?}");
        assert!(outcomes.contains(&Appended::Duplicate(id(&name))), "{outcomes:?}");
        rig.crash_with(lose_unsynced);
        assert_eq!(rig.unrouted().await.len() as u64, n + 1);
        let again = rig.bus.append(&tenant(), rig.event(&name)).await.unwrap();
        assert_eq!(again, Appended::Duplicate(id(&name)));
        // What is routed without a sync is lost, and so this test can see a missing one.
        let (partition, seq, _) = *rig.unrouted().await.last().unwrap();
        let epoch = rig.bus.acquire(&tenant(), partition).await.unwrap();
        let routes = vec![to(seq, &[])];
        rig.bus.route(&tenant(), partition, epoch, routes, HandOut::Nothing).await.unwrap();
        assert_eq!(rig.unrouted().await.len() as u64, n);
        rig.crash_with(lose_unsynced);
        assert_eq!(rig.unrouted().await.len() as u64, n + 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answered_replay_requeue_and_epoch_survives_a_loss_of_power() {
    let mut rig = Rig::new(Backend::Embedded);
    rig.fill(&["a", "b"], inbox(1)).await;
    for _ in 0..MAX_ATTEMPTS {
        rig.pull(inbox(1), session(1), 9).await;
        rig.nack(session(1), "a", Duration::ZERO).await;
        rig.end(session(1)).await;
    }
    let epoch = rig.bus.acquire(&tenant(), 7).await.unwrap();
    rig.crash_with(lose_unsynced);
    assert_eq!(rig.bus.dead(&tenant(), inbox(1), None, 9).await.unwrap().len(), 2);
    assert_eq!(rig.bus.acquire(&tenant(), 7).await.unwrap(), epoch + 1);

    let count = rig.bus.requeue(&tenant(), inbox(1), ids(&["a"])).await.unwrap();
    assert_eq!(count, 1);
    rig.crash_with(lose_unsynced);
    assert_eq!(rig.pull_ids(inbox(1), session(1)).await, ids(&["a"]));

    let count = rig.bus.replay(&tenant(), ids(&["b"]), vec![inbox(2)]).await.unwrap();
    assert_eq!(count, 1);
    rig.crash_with(lose_unsynced);
    assert_eq!(rig.pull_ids(inbox(2), session(1)).await, ids(&["b"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_reached_nobody_goes_back_although_a_write_failed() {
    let rig = Rig::new(Backend::Embedded);
    rig.fill(&["a"], inbox(1)).await;
    let pull = Pull { inbox: inbox(1), session: session(1), max: 9, max_bytes: usize::MAX };
    let handed = log(&rig).ask(|reply| Command::Pull(tenant(), pull, reply)).await.unwrap();
    assert_eq!(handed.copies().len(), 1);
    fail_writes(&rig);
    drop(handed);
    open_again(&rig).await;
    let held = rig.pull(inbox(1), session(2), 9).await;
    assert_eq!(ids_of(&held), ids(&["a"]));
    assert_eq!(held[0].attempt, 1);
    assert_eq!(rig.end(session(1)).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_engine_is_broken_nobody_queues_and_the_writer_mends_it_by_itself() {
    let rig = Rig::new(Backend::Embedded);
    rig.store_all(&["a"]).await;
    // An append is answered before whoever waits is woken; this comes after both.
    rig.bus.depth(&tenant()).await.unwrap();
    let mut watch = rig.bus.watch_unrouted(&tenant(), 0);
    watch.mark_unchanged();
    let (is_broken, wait) = oneshot::channel();
    let (go_on, held_up) = std::sync::mpsc::channel();
    let writer = fault(&rig, move |writer| {
        writer.give_up(broken(), Some(std::time::Instant::now()));
        is_broken.send(()).unwrap();
        held_up.recv().unwrap();
    });
    let caller = async {
        wait.await.unwrap();
        // The writer is busy, so whoever queued would wait for it.
        let limit = Duration::from_secs(20);
        let refused = tokio::time::timeout(limit, rig.bus.append(&tenant(), rig.event("b"))).await;
        assert_eq!(label(refused.expect("the caller queued")), "storage");
        go_on.send(()).unwrap();
    };
    tokio::join!(writer, caller);
    // Nobody asks for anything, and it is opened anew.
    changed(&mut watch).await;
    assert_eq!(rig.unrouted().await.len(), 1);
    rig.store_all(&["b"]).await;
}

/// Writes a record past the writer.
fn write(rig: &Rig, space: Space, key: &[u8], value: &[u8]) {
    forget(rig);
    let mut txn = Txn::new(&log(rig).shared.store().unwrap());
    txn.put(space, key, value);
    txn.commit(true).unwrap();
}

fn number(rig: &Rig) -> keys::TenantNo {
    log(rig).shared.tenant(&tenant()).unwrap().number
}

/// Lets an event be of a kind that only a later version knows; gives back what is to be read then.
fn become_unreadable(rig: &Rig, seq: Seq) -> Vec<u8> {
    let key = keys::event(number(rig), seq);
    let head = log(rig).shared.store().unwrap().get(Space::Heads, &key).unwrap().unwrap();
    let later = String::from_utf8_lossy(&head).replace("NewWorkItem", "OfTomorrow");
    assert_ne!(later.as_bytes(), &head[..]);
    write(rig, Space::Heads, &key, later.as_bytes());
    head.to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_a_kind_of_tomorrow_waits_and_holds_up_no_other() {
    let mut rig = Rig::new(Backend::Embedded);
    for name in ["a", "b", "c"] {
        rig.store(Append { thread_key: "one".into(), ..rig.event(name) }).await;
    }
    let head = become_unreadable(&rig, 2);
    rig.route(&[inbox(1)]).await;
    assert_eq!(rig.pull_ids(inbox(1), session(1)).await, ids(&["a", "c"]));
    // It is not given to a router again and again, and still it waits.
    assert!(rig.unrouted().await.is_empty());
    assert_eq!(rig.bus.depth(&tenant()).await.unwrap().unrouted, 1);
    rig.ack(session(1), &["a", "c"]).await;
    let found = rig.bus.events(&tenant(), Page { limit: 9, ..Page::default() }).await.unwrap();
    let seqs: Vec<_> = found.events.iter().map(|summary| summary.seq).collect();
    assert_eq!((seqs, found.unreadable, found.next), (vec![3, 1], vec![2], None));
    assert_eq!(label(rig.bus.event(&tenant(), id("b")).await), "storage");
    rig.clock.advance(5 * DAY);
    assert_eq!(rig.sweep(DAY).await, 2);
    // The version that can read it comes back.
    write(&rig, Space::Heads, &keys::event(number(&rig), 2), &head);
    rig.reopen().await;
    rig.route(&[inbox(1)]).await;
    assert_eq!(rig.pull_ids(inbox(1), session(1)).await, ids(&["b"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_passes_over_what_it_cannot_read_and_keeps_it() {
    let rig = Rig::new(Backend::Embedded);
    rig.store_all(&["a", "b", "c"]).await;
    rig.route(&[]).await;
    let at = |seq| keys::event(number(&rig), seq);
    become_unreadable(&rig, 1);
    write(&rig, Space::Routes, &at(2), b"?");
    let note = keys::expiry(number(&rig), 1, 1, expiring::CLAIMS);
    write(&rig, Space::Expiry, &note, b"no note");
    rig.clock.advance(5 * DAY);
    assert_eq!(rig.sweep(DAY).await, 1);
    let store = log(&rig).shared.store().unwrap();
    for (space, key) in [(Space::Heads, &at(1)[..]), (Space::Routes, &at(2)), (Space::Expiry, &note)] {
        assert!(store.get(space, key).unwrap().is_some(), "{space:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_cannot_be_read_holds_up_no_other() {
    let rig = Rig::new(Backend::Embedded);
    rig.fill(&["a", "b", "c"], inbox(1)).await;
    write(&rig, Space::Inbox, &keys::copy(number(&rig), inbox(1), 2), b"?");
    assert_eq!(rig.pull_ids(inbox(1), session(1)).await, ids(&["a", "c"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_with_a_copy_that_cannot_be_read_ends_and_refuses_the_others() {
    let rig = Rig::new(Backend::Embedded);
    rig.fill(&["a", "b", "c"], inbox(1)).await;
    assert_eq!(rig.pull_ids(inbox(1), session(1)).await, ids(&["a", "b", "c"]));
    let number = number(&rig);
    let key = keys::copy(number, inbox(1), 2);
    let entry = log(&rig).shared.store().unwrap().get(Space::Inbox, &key).unwrap().unwrap();
    write(&rig, Space::Inbox, &key, b"?");
    // What cannot be counted is no reason either.
    write(&rig, Space::Open, &keys::event(number, 1), b"?");
    assert!(rig.nack(session(1), "a", Duration::ZERO).await);
    assert_eq!(rig.end(session(1)).await, 2);
    assert_eq!(rig.pull_ids(inbox(1), session(2)).await, ids(&["a", "c"]));
    assert_eq!(rig.ack(session(2), &["a", "c"]).await, 2);
    let depth = rig.bus.inbox_depth(&tenant(), inbox(1)).await.unwrap();
    assert_eq!((depth.waiting, depth.held), (1, 0));
    // It is kept, and handed out once it can be read.
    write(&rig, Space::Inbox, &key, &entry);
    assert_eq!(rig.pull_ids(inbox(1), session(2)).await, ids(&["b"]));
}

/// Parks these.
async fn park(rig: &Rig, names: &[&str]) {
    rig.fill(names, inbox(1)).await;
    for _ in 0..MAX_ATTEMPTS {
        rig.pull(inbox(1), session(1), 99).await;
        rig.end(session(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_that_cannot_be_read_hides_no_other() {
    let rig = Rig::new(Backend::Embedded);
    park(&rig, &["a", "b", "c", "d"]).await;
    let number = number(&rig);
    write(&rig, Space::Dead, &keys::copy(number, inbox(1), 2), b"?");
    write(&rig, Space::Open, &keys::event(number, 3), b"?");
    let acme = tenant();
    let dead = |after, limit| rig.bus.dead(&acme, inbox(1), after, limit);
    let listed = |found: Vec<DeadLetter>| found.iter().map(|letter| letter.id).collect::<Vec<_>>();
    assert_eq!(listed(dead(None, 9).await.unwrap()), ids(&["a", "c", "d"]));
    // A full page is full: only a shorter one is the last.
    assert_eq!(listed(dead(Some(1), 2).await.unwrap()), ids(&["c", "d"]));
    assert_eq!(rig.bus.requeue(&acme, inbox(1), ids(&["a", "b", "c"])).await.unwrap(), 2);
    assert_eq!(rig.bus.drop_dead(&acme, inbox(1), ids(&["b", "d"])).await.unwrap(), 1);
    let depth = rig.bus.inbox_depth(&acme, inbox(1)).await.unwrap();
    assert_eq!((depth.waiting, depth.dead), (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_with_records_that_cannot_be_read_opens() {
    let mut rig = Rig::new(Backend::Embedded);
    park(&rig, &["a", "b"]).await;
    rig.fill(&["c", "d"], inbox(1)).await;
    rig.store_all(&["e", "f"]).await;
    let number = number(&rig);
    let (partition, seq, _) = rig.unrouted().await[0];
    assert_eq!(seq, 5);
    let damaged = [
        (Space::Queue, keys::queue(number, partition, 5).to_vec()),
        (Space::Open, keys::event(number, 4).to_vec()),
        (Space::Inbox, keys::copy(number, inbox(1), 3).to_vec()),
        (Space::Dead, keys::copy(number, inbox(1), 1).to_vec()),
    ];
    let store = log(&rig).shared.store().unwrap();
    let good: Vec<_> = damaged.iter().map(|(space, key)| store.get(*space, key).unwrap().unwrap()).collect();
    drop(store);
    for (space, key) in &damaged {
        write(&rig, *space, key, b"?");
    }
    rig.reopen().await;
    // All is counted as far as it can be, and what can be read goes its way.
    let depth = rig.bus.depth(&tenant()).await.unwrap();
    assert_eq!((depth.unrouted, depth.dead), (2, 2));
    let unrouted: Vec<_> = rig.unrouted().await.into_iter().map(|(_, seq, _)| seq).collect();
    assert_eq!(unrouted, [6]);
    rig.route(&[inbox(1)]).await;
    assert_eq!(rig.pull_ids(inbox(1), session(1)).await, ids(&["d", "f"]));
    assert_eq!(rig.ack(session(1), &["d", "f"]).await, 2);
    rig.clock.advance(5 * DAY);
    assert_eq!(rig.sweep(DAY).await, 1, "the one whose copies cannot be counted stays");
    // It is all still there for who can read it.
    for ((space, key), value) in damaged.iter().zip(good) {
        write(&rig, *space, key, &value);
    }
    rig.reopen().await;
    rig.route(&[inbox(1)]).await;
    assert_eq!(rig.pull_ids(inbox(1), session(1)).await, ids(&["c", "e"]));
    assert_eq!(rig.bus.dead(&tenant(), inbox(1), None, 9).await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_or_a_change_that_cannot_be_looked_up_is_taken_as_new() {
    let rig = Rig::new(Backend::Embedded);
    rig.fill(&["a"], inbox(1)).await;
    let number = number(&rig);
    write(&rig, Space::Seen, &keys::delivery(number, "github:b"), b"?");
    write(&rig, Space::Claims, &keys::claim(number, inbox(1), "issue:b"), b"?");
    rig.fill(&["b"], inbox(1)).await;
    assert_eq!(rig.pull_ids(inbox(1), session(1)).await, ids(&["a", "b"]));
}

thread_local! {
    static LINES: std::cell::RefCell<Option<Lines>> = const { std::cell::RefCell::new(None) };
}

/// What the writer of a bus logs.
#[derive(Debug, Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Lines {
    /// From now on.
    async fn of(rig: &Rig) -> Self {
        // One for all threads, which gives each line to whom its thread belongs.
        static ALL: std::sync::Once = std::sync::Once::new();
        ALL.call_once(|| {
            let lines = || LINES.with_borrow(|lines| lines.clone().unwrap_or_default());
            tracing_subscriber::fmt().with_ansi(false).with_writer(lines).init();
        });
        let lines = Self::default();
        let writer = lines.clone();
        fault(rig, |_| LINES.set(Some(writer))).await;
        lines
    }

    fn with(&self, words: &str) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().filter(|line| line.contains(words)).map(str::to_owned).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parking_is_logged_once_it_is_written_and_without_the_agents_words() {
    let rig = Rig::new(Backend::Embedded);
    let lines = Lines::of(&rig).await;
    rig.fill(&["a"], inbox(1)).await;
    for _ in 1..MAX_ATTEMPTS {
        rig.pull(inbox(1), session(1), 9).await;
        rig.end(session(1)).await;
    }
    rig.pull(inbox(1), session(1), 9).await;
    let acme = tenant();
    let nack = || rig.bus.nack(&acme, session(1), id("a"), Duration::ZERO, "my own words".to_owned());
    fail_writes(&rig);
    assert_eq!(label(nack().await), "storage");
    open_again(&rig).await;
    assert_eq!(lines.with("a write failed").len(), 1);
    assert!(lines.with("parked").is_empty(), "it was not");
    assert!(nack().await.unwrap());
    let parked = lines.with("an event was parked as a dead letter");
    assert_eq!(parked.len(), 1);
    assert!(parked[0].contains(&id("a").to_string()) && parked[0].contains("attempts=5"), "{parked:?}");
    assert!(lines.with("my own words").is_empty());
    assert_eq!(rig.bus.dead(&acme, inbox(1), None, 9).await.unwrap()[0].reason, "my own words");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_are_parked_together_some_are_named() {
    let rig = Rig::new(Backend::Embedded);
    let lines = Lines::of(&rig).await;
    let names: Vec<_> = (0..20).map(|n| format!("{n}")).collect();
    park(&rig, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert_eq!(rig.bus.inbox_depth(&tenant(), inbox(1)).await.unwrap().dead, 20);
    assert_eq!(lines.with("an event was parked as a dead letter").len(), 16);
    assert_eq!(lines.with("others=4").len(), 1);
}
