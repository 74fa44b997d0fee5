//! Rounds of gateways around a real Redis, one after the other.

use std::process::{Child, Command, Stdio};

use nexus_core::id::{AgentId, TenantKey};
use nexus_core::selector::Labels;
use nexus_core::stop::Subject;
use nexus_crds::NexusPolicy;
use nexus_runtime::clock;
use nexus_runtime::lane::StopLane;
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::folder::FilePolicy;
use crate::role::switch::FolderSwitch;

const PATIENCE: Duration = Duration::from_secs(60);

/// A server in a folder of its own, which ends with this.
struct Redis {
    folder: TempDir,
    process: Child,
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Redis {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let process = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--unixsocket", "redis.sock", "--dir"])
            .arg(folder.path())
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is not there; install it with `scripts/test-deps`");
        Self { folder, process }
    }

    fn settings(&self) -> RedisSettings {
        format!("redis+unix://{}", self.folder.path().join("redis.sock").display()).parse().unwrap()
    }

    fn board(&self) -> StopBoard {
        StopBoard::new(&self.settings(), PATIENCE, clock::system())
    }

    /// A gateway that has looked at a policy once.
    async fn gateway(&self) -> Gateway {
        let data = tempfile::tempdir().unwrap();
        let lane = StopLane::open(&data.path().join("latch.json")).unwrap();
        let switch = Arc::new(Switch::new(lane));
        let folder = FolderSwitch::open(&data.path().join("policies.json"), Arc::clone(&switch)).unwrap();
        let mut hearsay = Hearsay::new(&self.settings(), Arc::clone(&switch), clock::system());
        hearsay.board = self.board();
        let mut gateway = Gateway { hearsay, switch, folder, _data: data };
        gateway.sees(json!({}));
        // The server may still be about to start.
        let heard = gateway.hearsay.hints().heard.subscribe();
        let first = async {
            while !*heard.borrow() {
                gateway.round().await;
            }
        };
        tokio::time::timeout(PATIENCE, first).await.unwrap();
        gateway
    }
}

struct Gateway {
    hearsay: Hearsay,
    switch: Arc<Switch>,
    folder: FolderSwitch,
    _data: TempDir,
}

impl Gateway {
    fn sees(&mut self, spec: serde_json::Value) {
        let policy = NexusPolicy::new("stop-all", serde_json::from_value(spec).unwrap());
        self.folder.observe(&[FilePolicy { file: "policy.yaml".into(), policy }]);
    }

    async fn round(&mut self) {
        self.hearsay.round().await;
    }

    fn runs(&self) -> bool {
        let tenant: TenantKey = "acme/acme".parse().unwrap();
        let subject = Subject { tenant: &tenant, agent: AgentId::of(&tenant, "a"), labels: &Labels::new() };
        self.switch.gate().decide(&subject).may_run()
    }

    /// The uid, generation and name of what holds.
    fn held(&self) -> (String, u64, String) {
        let latch = self.switch.gate().latch();
        let held = latch.engagements().next().unwrap();
        (held.uid.clone(), held.generation, held.name().to_string())
    }
}

async fn read(board: &mut StopBoard) -> Board {
    board.read(None).await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_round_tells_and_a_round_hears() {
    let redis = Redis::start();
    let (mut first, mut second) = (redis.gateway().await, redis.gateway().await);
    first.sees(json!({"stop": true}));
    first.round().await;
    assert!(second.runs());
    second.round().await;
    assert!(!second.runs());
    assert_eq!(second.held(), first.held());
    // Nothing is said twice: what stands there is as it was told, and all is settled.
    let mut board = redis.board();
    let told = read(&mut board).await;
    for gateway in [&mut first, &mut second] {
        gateway.round().await;
        assert!(gateway.hearsay.settled.is_some());
    }
    assert_eq!(board.read(Some(&told)).await.unwrap(), None);
    // Whoever holds it tells it again when it is lost, also who only heard of it.
    assert!(board.forget(&first.held().0, u64::MAX >> 12).await.unwrap());
    second.round().await;
    assert_eq!(read(&mut board).await.entries, told.entries);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_is_taken_away_once_and_again_after_a_while() {
    let redis = Redis::start();
    let (mut first, mut second) = (redis.gateway().await, redis.gateway().await);
    first.sees(json!({"stop": true}));
    first.round().await;
    second.round().await;
    let (uid, _, name) = first.held();
    let mut board = redis.board();
    first.sees(json!({"release": name}));
    first.round().await;
    assert!(first.runs() && read(&mut board).await.entries.is_empty());
    // The other has not seen the release, and tells of it: that is heard of no more, and left alone.
    second.round().await;
    for _ in 0..3 {
        first.round().await;
        assert!(first.runs());
    }
    assert_eq!(read(&mut board).await.entries[0].uid, uid);
    assert!(!second.runs());
    // Its teller may be gone.
    first.hearsay.again = Duration::ZERO;
    first.round().await;
    assert!(read(&mut board).await.entries.is_empty());
    // A later stop is news to both, and stays.
    first.hearsay.again = AGAIN;
    first.sees(json!({"stop": true}));
    first.round().await;
    second.round().await;
    first.round().await;
    let entries = read(&mut board).await.entries;
    assert_eq!((entries.len(), entries[0].generation), (1, Some(first.held().1)));
    assert_eq!(second.held(), first.held());
    // Both see its release: nothing stays.
    let (_, _, name) = first.held();
    for gateway in [&mut first, &mut second] {
        gateway.sees(json!({"release": name}));
        gateway.round().await;
        assert!(gateway.runs());
    }
    assert!(read(&mut board).await.entries.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_written_over_unless_another_version_told_it() {
    let redis = Redis::start();
    let mut gateway = redis.gateway().await;
    gateway.sees(json!({"stop": true}));
    gateway.round().await;
    let (uid, generation, _) = gateway.held();
    let mut board = redis.board();
    let told = read(&mut board).await;
    for (written, stays) in [("{", false), (r#"{"version":2}"#, true), ("{}", false)] {
        let before = read(&mut board).await;
        assert_eq!(board.tell(&uid, generation, written, &before).await.unwrap(), Telling::Told);
        gateway.round().await;
        let after = read(&mut board).await.entries;
        if stays {
            assert_eq!(after[0].told.as_deref(), Some(written));
        } else {
            assert_eq!(after, told.entries, "after {written}");
        }
        assert!(!gateway.runs());
    }
}
