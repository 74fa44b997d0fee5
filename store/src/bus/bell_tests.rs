//! Who is woken, and by whom.

use futures_util::FutureExt as _;

use super::*;

type Waiting<'w> = std::pin::Pin<Box<dyn Future<Output = Result<(), Ended>> + 'w>>;

/// All of them wait.
fn wait(watches: &[InboxWatch]) -> Vec<Waiting<'_>> {
    let waiting = watches.iter().map(|watch| Box::pin(watch.changed()) as Waiting<'_>);
    let mut waiting: Vec<_> = waiting.collect();
    assert_eq!(woken(&mut waiting), 0);
    waiting
}

/// How many of them were woken since.
fn woken(waiting: &mut Vec<Waiting<'_>>) -> usize {
    let before = waiting.len();
    waiting.retain_mut(|watch| watch.now_or_never().is_none());
    before - waiting.len()
}

fn listeners(bell: &Arc<Bell>, count: usize) -> Vec<InboxWatch> {
    (0..count).map(|_| bell.listen()).collect()
}

#[test]
fn a_ring_wakes_one_and_an_empty_inbox_answers_for_all() {
    let bell = Arc::default();
    let watches = listeners(&bell, 5);
    let mut waiting = wait(&watches);
    bell.ring();
    let mut look = watches[0].look();
    // The others do not even look when they are polled for something else: the first polled may be any.
    look.found(Rest::Nothing);
    assert_eq!(woken(&mut waiting), 0);
    assert!(watches.iter().all(|watch| !watch.has_changed().unwrap()));
    drop(waiting);
    let mut waiting = wait(&watches);
    bell.ring();
    assert_eq!(woken(&mut waiting), 1);
    bell.ring();
    assert_eq!(woken(&mut waiting), 1);
}

#[test]
fn a_ring_during_a_look_is_not_covered_by_it() {
    let bell = Arc::default();
    let mut watch = Bell::listen(&bell);
    bell.ring();
    let mut look = watch.look();
    bell.ring();
    watch.looked(&look);
    look.found(Rest::Nothing);
    assert!(watch.has_changed().unwrap());
    assert!(watch.changed().now_or_never().is_some());
}

#[test]
fn where_there_is_more_two_others_look_each_time() {
    let bell = Arc::default();
    let watches = listeners(&bell, 9);
    let mut waiting = wait(&watches);
    bell.ring();
    assert_eq!(woken(&mut waiting), 1);
    for _ in 0..3 {
        watches[0].look().found(Rest::More);
        assert_eq!(woken(&mut waiting), 2);
    }
}

#[test]
fn what_is_not_for_everybody_is_told_to_all_once() {
    let bell = Arc::default();
    let mut watches = listeners(&bell, 5);
    bell.ring();
    let mut look = watches[0].look();
    watches.iter_mut().for_each(|watch| watch.looked(&look));
    let mut waiting = wait(&watches);
    bell.ring();
    assert_eq!(woken(&mut waiting), 1);
    look = watches[0].look();
    look.found(Rest::Others);
    assert_eq!(woken(&mut waiting), 4);
    drop(waiting);
    // Each of them looks in vain; then there is peace until the next ring.
    for watch in &mut watches {
        let mut look = watch.look();
        watch.looked(&look);
        look.found(Rest::Others);
    }
    let mut waiting = wait(&watches);
    watches[4].look().found(Rest::Others);
    assert_eq!(woken(&mut waiting), 0);
    bell.ring();
    assert_eq!(woken(&mut waiting), 1);
}

#[test]
fn a_look_that_is_given_up_is_taken_up_by_others() {
    let bell = Arc::default();
    let watches = listeners(&bell, 3);
    let mut waiting = wait(&watches);
    bell.ring();
    assert_eq!(woken(&mut waiting), 1);
    drop(watches[0].look());
    assert_eq!(woken(&mut waiting), 2);
}

#[test]
fn who_goes_away_passes_on_what_it_was_told() {
    let bell = Arc::default();
    let watches = listeners(&bell, 3);
    let mut waiting = wait(&watches);
    bell.ring();
    // The first one was told, and never polled again.
    drop(waiting.remove(0));
    assert_eq!(woken(&mut waiting), 1);
}

#[test]
fn who_did_not_wait_sees_what_it_missed() {
    let bell = Arc::default();
    let watch = Bell::listen(&bell);
    let mut late = Bell::listen(&bell);
    bell.ring();
    assert!(watch.has_changed().unwrap() && watch.changed().now_or_never().is_some());
    late.mark_unchanged();
    assert!(late.changed().now_or_never().is_none());
}

#[test]
fn the_end_is_told_to_all() {
    let bell = Arc::default();
    let watches = listeners(&bell, 3);
    let mut waiting = wait(&watches);
    bell.end();
    assert_eq!(woken(&mut waiting), 3);
    assert_eq!(watches[0].changed().now_or_never(), Some(Err(Ended)));
    assert_eq!(watches[0].has_changed(), Err(Ended));
}

/// Whatever sessions do, an event in the inbox is found: nobody waits while something is there that it could have.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_left_lying() {
    use std::sync::Mutex;
    use std::time::Duration;

    const EVENTS: usize = 4000;
    let bell: Arc<Bell> = Arc::default();
    let inbox = Arc::new(Mutex::new((0, 0)));
    let mut sessions = tokio::task::JoinSet::new();
    for n in 0..8_u64 {
        let (bell, inbox) = (Arc::clone(&bell), Arc::clone(&inbox));
        sessions.spawn(async move {
            let mut watch = bell.listen();
            watch.heard = 0;
            for turn in 0_u64.. {
                if watch.changed().await.is_err() {
                    return;
                }
                let mut look = watch.look();
                if (turn + n).is_multiple_of(7) {
                    // A pull that fails; it will look again of itself, as after a failure.
                    drop(look);
                    tokio::time::sleep(Duration::from_micros(50)).await;
                    continue;
                }
                tokio::task::yield_now().await;
                let rest = {
                    let mut inbox = inbox.lock().unwrap();
                    let (waiting, taken) = &mut *inbox;
                    let took = (*waiting).min(1);
                    *waiting -= took;
                    *taken += took;
                    if *waiting > 0 { Rest::More } else { Rest::Nothing }
                };
                if rest != Rest::More {
                    watch.looked(&look);
                }
                look.found(rest);
                if turn.is_multiple_of(3) {
                    // It has no credit for a while, and does not wait.
                    tokio::time::sleep(Duration::from_micros(100)).await;
                }
            }
        });
    }
    for n in 0..EVENTS {
        inbox.lock().unwrap().0 += 1;
        bell.ring();
        if n.is_multiple_of(5) {
            tokio::time::sleep(Duration::from_micros(20)).await;
        }
    }
    let all = async {
        while inbox.lock().unwrap().1 < EVENTS {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), all).await.expect("events are left lying");
    bell.end();
    while let Some(session) = sessions.join_next().await {
        session.unwrap();
    }
}
