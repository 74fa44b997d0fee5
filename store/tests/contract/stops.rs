//! Where gateways tell each other of stops: a hash in Redis that is read by its version.

use std::time::Duration;

use nexus_core::clock::ManualClock;
use nexus_core::stop::{MAX_TOLD_BYTES, MAX_TOLD_STOPS};
use nexus_store::redis::{Board, Entry, RedisBus, RedisSettings, StopBoard, Telling};
use tempfile::TempDir;

use super::rig::server::{Server, Trio};

/// How long anything may take to come right again.
const PATIENCE: Duration = Duration::from_secs(60);

const KEY: &str = "nexus:{gateways}:stops";

/// A server of its own, and the boards of two gateways.
struct Boards {
    server: Server,
    clock: ManualClock,
    first: StopBoard,
    second: StopBoard,
    _dir: TempDir,
}

fn board(url: &str, clock: &ManualClock, deadline: Duration) -> StopBoard {
    StopBoard::new(&url.parse().unwrap(), deadline, clock.clock())
}

impl Boards {
    async fn start(more: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start(dir.path(), more).await;
        let clock = ManualClock::at("2026-11-24T07:00:00Z".parse().unwrap());
        let (first, second) =
            (board(&server.url(), &clock, PATIENCE), board(&server.url(), &clock, PATIENCE));
        Self { server, clock, first, second, _dir: dir }
    }

    async fn say(&self, commands: &[&str]) -> String {
        self.server.place().say(commands).await.unwrap()
    }

    /// Puts values of so many bytes there, as anybody could.
    async fn put(&self, name: &str, numbers: std::ops::Range<usize>, bytes: usize) {
        let (first, last) = (numbers.start, numbers.end - 1);
        let put = format!("redis.call('HSET',KEYS[1],'{name}'..n,'1 '..string.rep('x',{bytes}))");
        let answer =
            self.say(&[&format!("EVAL \"for n={first},{last} do {put} end return 'put'\" 1 {KEY}")]).await;
        assert!(answer.contains("put"), "{answer}");
    }

    /// What the second reads.
    async fn all(&mut self) -> Board {
        self.second.read(None).await.unwrap().unwrap()
    }
}

fn entry(uid: &str, generation: u64, told: &str) -> Entry {
    Entry { uid: uid.into(), generation: Some(generation), told: Some(told.into()) }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_tells_the_others_read_and_are_woken() {
    let mut boards = Boards::start(&[]).await;
    let nothing = boards.all().await;
    assert_eq!(nothing, Board::default());
    assert_eq!(boards.second.read(Some(&nothing)).await.unwrap(), None, "nothing is new");
    let settings: RedisSettings = boards.server.url().parse().unwrap();
    let bus = RedisBus::open(settings, boards.clock.clock()).await.unwrap();
    let mut hints = bus.watch_stops();
    hints.mark_unchanged();
    assert_eq!(boards.first.tell("u1", 3, "a stop\nof \"u1\"", &nothing).await.unwrap(), Telling::Told);
    tokio::time::timeout(PATIENCE, hints.changed()).await.unwrap().unwrap();
    let read = boards.second.read(Some(&nothing)).await.unwrap().unwrap();
    assert_eq!(read.entries, [entry("u1", 3, "a stop\nof \"u1\"")]);
    assert_eq!(boards.second.read(Some(&read)).await.unwrap(), None);
    // To tell the same again changes nothing, and wakes nobody to it.
    assert_eq!(boards.second.tell("u1", 3, "a stop\nof \"u1\"", &read).await.unwrap(), Telling::Told);
    assert_eq!(boards.first.read(Some(&read)).await.unwrap(), None);
    // It has no end, and another database has another board.
    assert!(boards.say(&[&format!("TTL {KEY}")]).await.contains(":-1"));
    let mut other = board(&format!("{}?db=3", boards.server.url()), &boards.clock, PATIENCE);
    assert_eq!(other.read(None).await.unwrap(), Some(Board::default()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lower_generation_overwrites_none_and_the_same_one_only_by_who_has_read() {
    let mut boards = Boards::start(&[]).await;
    let unread = Board::default();
    assert_eq!(boards.first.tell("u1", 9, "nine", &unread).await.unwrap(), Telling::Told);
    let read = boards.all().await;
    assert_eq!(boards.second.tell("u1", 8, "eight", &read).await.unwrap(), Telling::ReadFirst);
    assert_eq!(boards.second.tell("u1", 9, "wider", &unread).await.unwrap(), Telling::ReadFirst);
    assert_eq!(boards.all().await, read);
    assert_eq!(boards.second.tell("u1", 9, "wider", &read).await.unwrap(), Telling::Told);
    // Who had read before that has not read it.
    assert_eq!(boards.first.tell("u1", 9, "another", &read).await.unwrap(), Telling::ReadFirst);
    assert_eq!(boards.all().await.entries, [entry("u1", 9, "wider")]);
    // A later stop does not wait for a reading. Ten is more than nine.
    assert_eq!(boards.first.tell("u1", 10, "ten", &unread).await.unwrap(), Telling::Told);
    assert_eq!(boards.first.tell("u2", 1, "other", &unread).await.unwrap(), Telling::Told);
    assert_eq!(boards.all().await.entries, [entry("u1", 10, "ten"), entry("u2", 1, "other")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_released_stop_is_taken_away_and_a_later_one_stays() {
    let mut boards = Boards::start(&[]).await;
    let unread = Board::default();
    for uid in ["u1", "u2"] {
        boards.first.tell(uid, 4, "four", &unread).await.unwrap();
    }
    let before = boards.all().await;
    assert!(!boards.second.forget("u1", 3).await.unwrap());
    assert_eq!(boards.second.read(Some(&before)).await.unwrap(), None);
    assert!(boards.second.forget("u1", 5).await.unwrap());
    assert!(!boards.second.forget("u1", 5).await.unwrap());
    let after = boards.first.read(Some(&before)).await.unwrap().unwrap();
    assert_eq!(after.entries, [entry("u2", 4, "four")]);
    assert!(boards.first.forget("u2", 4).await.unwrap());
    // With the last of them gone it is still another board than the one that never had any.
    let empty = boards.first.read(Some(&after)).await.unwrap().unwrap();
    assert!(empty.entries.is_empty() && empty.version.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_board_that_was_emptied_is_another_and_its_versions_do_not_come_again() {
    let mut boards = Boards::start(&[]).await;
    boards.first.tell("u1", 4, "four", &Board::default()).await.unwrap();
    let before = boards.all().await;
    boards.say(&["FLUSHALL"]).await;
    let empty = boards.second.read(Some(&before)).await.unwrap().unwrap();
    assert_eq!(empty, Board::default());
    boards.clock.advance(Duration::from_secs(1));
    boards.first.tell("u1", 4, "four", &empty).await.unwrap();
    let again = boards.second.read(Some(&before)).await.unwrap().unwrap();
    assert_eq!(again.entries, before.entries);
    assert_ne!(again.version, before.version);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_put_there_is_bounded_and_read_as_far_as_it_can_be() {
    let mut boards = Boards::start(&[]).await;
    let unread = Board::default();
    boards.first.tell("u1", 1, &"x".repeat(MAX_TOLD_BYTES), &unread).await.unwrap();
    for (field, value) in [("u2", "no_generation"), ("u3", "\"1 \\xff\"")] {
        boards.say(&[&format!("HSET {KEY} {field} {value}")]).await;
    }
    boards.put("u", 4..5, MAX_TOLD_BYTES + 1024).await;
    let read = boards.all().await;
    assert_eq!((read.entries.len(), read.surplus), (4, 0));
    assert_eq!(read.entries[0].told.as_ref().unwrap().len(), MAX_TOLD_BYTES);
    let broken = |uid: &str| Entry { uid: uid.into(), generation: None, told: None };
    assert_eq!(read.entries[1..], [broken("u2"), broken("u3"), broken("u4")]);
    // A name that is no uid is cut.
    boards.say(&[&format!("HSET {KEY} {} \"1 x\"", "z".repeat(300))]).await;
    let cut = boards.all().await.entries.pop().unwrap();
    assert_eq!(cut, broken(&"z".repeat(253)));
    // Whose it is writes over what cannot be read; nobody takes it away.
    assert!(!boards.first.forget("u2", u64::MAX >> 12).await.unwrap());
    assert_eq!(boards.first.tell("u2", 1, "mended", &unread).await.unwrap(), Telling::Told);
    assert!(boards.all().await.entries.contains(&entry("u2", 1, "mended")));
    // Beyond the bound nothing is taken, and a surplus of others' is left out. What stands there may still be told of.
    boards.put("more", 0..MAX_TOLD_STOPS, 1).await;
    assert_eq!(boards.first.tell("u9", 1, "late", &unread).await.unwrap(), Telling::Full);
    assert_eq!(boards.first.tell("u2", 2, "again", &unread).await.unwrap(), Telling::Told);
    let read = boards.all().await;
    assert!(
        read.surplus >= 4 && read.entries.len() <= MAX_TOLD_STOPS,
        "{} {}",
        read.surplus,
        read.entries.len()
    );
    // All of them together are no endless answer.
    boards.put("more", 0..40, MAX_TOLD_BYTES - 9).await;
    let read = boards.all().await;
    let bytes: usize = read.entries.iter().filter_map(|entry| entry.told.as_ref()).map(String::len).sum();
    assert!((3 << 20..=4 << 20).contains(&bytes), "{bytes}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_is_told_to_a_full_server_by_a_user_of_few_rights() {
    let boards = Boards::start(&["--maxmemory-policy", "noeviction"]).await;
    let rights = "~nexus:* &nexus:* +@read +@write +eval +evalsha +@pubsub +@connection +info +role -config";
    boards.say(&[&format!("ACL SETUSER bus on >word {rights}"), "CONFIG SET maxmemory 1"]).await;
    let url = boards.server.url().replace("redis+unix://", "redis+unix://bus:word@");
    let mut limited = board(&url, &boards.clock, PATIENCE);
    assert_eq!(limited.tell("u1", 1, "one", &Board::default()).await.unwrap(), Telling::Told);
    assert_eq!(limited.read(None).await.unwrap().unwrap().entries, [entry("u1", 1, "one")]);
    assert!(limited.forget("u1", 1).await.unwrap());
}

fn signal(pid: &str, name: &str) {
    assert!(std::process::Command::new("kill").args(["-s", name, pid.trim()]).status().unwrap().success());
}

/// Asks until there is an answer.
async fn read_again(board: &mut StopBoard) -> Board {
    let mut tries = tokio::time::interval(Duration::from_millis(50));
    let again = async {
        loop {
            tries.tick().await;
            match board.read(None).await {
                Ok(read) => break read.unwrap(),
                Err(error) => assert_eq!(error.label(), "storage"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, again).await.expect("the board is not found again")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_away_or_hangs_is_an_error_in_time_and_is_found_again() {
    let mut boards = Boards::start(&[]).await;
    let mut hasty = board(&boards.server.url(), &boards.clock, Duration::from_millis(300));
    boards.first.tell("u1", 4, "four", &Board::default()).await.unwrap();
    let there = read_again(&mut hasty).await;
    boards.server.kill();
    let away = tokio::time::timeout(PATIENCE, hasty.read(None)).await.expect("it hangs");
    assert_eq!(away.unwrap_err().label(), "storage");
    let mut unmet = board(&boards.server.url(), &boards.clock, Duration::from_millis(300));
    assert_eq!(unmet.read(None).await.unwrap_err().label(), "storage");
    boards.server.start_again().await;
    for board in [&mut hasty, &mut unmet] {
        assert_eq!(read_again(board).await, there);
    }
    // It hangs until it is told to go on.
    let info = boards.say(&["INFO server"]).await;
    let pid = info.lines().find_map(|line| line.strip_prefix("process_id:")).unwrap();
    signal(pid, "STOP");
    let late = tokio::time::timeout(PATIENCE, hasty.read(None)).await.expect("it hangs");
    assert_eq!(late.unwrap_err().label(), "storage");
    signal(pid, "CONT");
    assert_eq!(read_again(&mut hasty).await, there);
    hasty.close().await;
    assert_eq!(read_again(&mut hasty).await, there);
}

/// Nobody listens there, which is known long before the deadline, however soon it is told.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_refused_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let clock = ManualClock::at("2026-11-24T07:00:00Z".parse().unwrap());
    let url = format!("redis+unix://{}", dir.path().join("none.sock").display());
    let mut board = board(&url, &clock, 2 * PATIENCE);
    for _ in 0..500 {
        let refused = tokio::time::timeout(PATIENCE, board.read(None)).await.expect("it waits");
        assert_eq!(refused.unwrap_err().label(), "storage");
    }
}

/// What should be a server takes connections and says nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_does_not_come_about_takes_no_longer_than_a_call() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let clock = ManualClock::at("2026-11-24T07:00:00Z".parse().unwrap());
    let url = format!("redis://{}", silent.local_addr().unwrap());
    let mut board = board(&url, &clock, Duration::from_millis(100));
    for _ in 0..3 {
        // A connection of the bus may take longer than this.
        let late = tokio::time::timeout(Duration::from_secs(4), board.read(None)).await;
        assert_eq!(late.expect("it waits for the connection").unwrap_err().label(), "storage");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_is_followed_and_reads_as_another_version_or_the_same_board() {
    let mut trio = Trio::start().await;
    let clock = ManualClock::at("2026-11-24T07:00:00Z".parse().unwrap());
    let mut one = board(&trio.url(0), &clock, PATIENCE);
    one.tell("u1", 4, "four", &Board::default()).await.unwrap();
    let before = one.read(None).await.unwrap().unwrap();
    let answer = trio.master.say(&["WAIT 1 30000"]).await.unwrap();
    assert!(answer.contains(":1"), "{answer}");
    trio.kill_master();
    assert_eq!(read_again(&mut one).await, before);
}
