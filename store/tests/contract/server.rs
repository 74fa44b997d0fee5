//! Private Redis servers: one of its own, or a master with a replica and three sentinels. They end with the test, also
//! with one that is killed.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

/// How long a server may take to be there.
const PATIENCE: Duration = Duration::from_secs(60);

const MISSING: &str =
    "redis-server is missing: install it with scripts/test-deps, or `apt-get install redis-server`";

/// Runs a program until its standard input ends, which it does when the test does, and kills it then.
const KEEP: &str = r#""$@" </dev/null >/dev/null 2>&1 & read _; kill -9 $!; wait $! 2>/dev/null"#;

/// A running server.
#[derive(Debug)]
struct Process(Child);

impl Process {
    fn start(args: &[&str]) -> Self {
        let child = Command::new("sh")
            .args([
                "-c",
                &format!("command -v redis-server >/dev/null || exit 1; {KEEP}"),
                "sh",
                "redis-server",
            ])
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    fn check(&mut self) {
        assert!(self.0.try_wait().unwrap().is_none(), "{MISSING}");
    }
}

/// `kill -9`.
impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// Waits for a future where none can be awaited.
pub(crate) fn wait_for<T>(future: impl Future<Output = T>) -> T {
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(future))
}

/// Where a server listens.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    Socket(PathBuf),
    Port(u16),
}

impl Place {
    /// Sends commands on a connection of their own, and gives the answer to the last as it came.
    pub(crate) async fn say(&self, commands: &[&str]) -> std::io::Result<String> {
        let mut text = String::new();
        for command in commands {
            text.push_str(command);
            text.push_str("\r\n");
        }
        let mut answer = Vec::new();
        match self {
            Self::Socket(path) => {
                let mut stream = UnixStream::connect(path).await?;
                stream.write_all(text.as_bytes()).await?;
                // The server answers and then closes; a sentinel knows no QUIT.
                stream.shutdown().await?;
                stream.read_to_end(&mut answer).await?;
            }
            Self::Port(port) => {
                let mut stream = TcpStream::connect(("127.0.0.1", *port)).await?;
                stream.write_all(text.as_bytes()).await?;
                // The server answers and then closes; a sentinel knows no QUIT.
                stream.shutdown().await?;
                stream.read_to_end(&mut answer).await?;
            }
        }
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    /// Waits until a command is answered with something that has this in it.
    async fn until(&self, process: &mut Process, command: &str, expected: &str) {
        let mut tries = tokio::time::interval(Duration::from_millis(10));
        let answered = async {
            loop {
                tries.tick().await;
                process.check();
                if self.say(&[command]).await.is_ok_and(|answer| answer.contains(expected)) {
                    break;
                }
            }
        };
        tokio::time::timeout(PATIENCE, answered).await.expect("the server does not come up");
    }
}

/// A server of its own, over files in a folder.
#[derive(Debug)]
pub(crate) struct Server {
    dir: PathBuf,
    more: Vec<String>,
    process: Option<Process>,
}

impl Server {
    /// Starts one with an append-only file that is synced before each answer, and with more settings.
    pub(crate) async fn start(dir: &Path, more: &[&str]) -> Self {
        let more = more.iter().map(|arg| (*arg).to_owned()).collect();
        let mut server = Self { dir: dir.to_owned(), more, process: None };
        server.start_again().await;
        server
    }

    pub(crate) async fn start_again(&mut self) {
        let socket = self.dir.join("redis.sock");
        // What a killed server left is not what the new one listens on.
        let _ = std::fs::remove_file(&socket);
        let (dir, path) = (self.dir.display().to_string(), socket.display().to_string());
        let mut args = vec!["--port", "0", "--unixsocket", &path, "--dir", &dir, "--save", ""];
        args.extend(["--databases", "256", "--appendonly", "yes", "--appendfsync", "always"]);
        args.extend(self.more.iter().map(String::as_str));
        let mut process = Process::start(&args);
        self.place().until(&mut process, "PING", "PONG").await;
        self.process = Some(process);
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    pub(crate) fn place(&self) -> Place {
        Place::Socket(self.dir.join("redis.sock"))
    }

    pub(crate) fn url(&self) -> String {
        format!("redis+unix://{}", self.dir.join("redis.sock").display())
    }
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A master, a replica, and three sentinels that watch them.
#[derive(Debug)]
pub(crate) struct Trio {
    _dir: TempDir,
    pub(crate) master: Place,
    servers: Vec<Option<Process>>,
    _sentinels: Vec<Process>,
    sentinels: Vec<u16>,
    databases: Mutex<Vec<u8>>,
}

impl Trio {
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let [master, replica] = [free_port(), free_port()];
        let mut servers = Vec::new();
        for port in [master, replica] {
            let folder = dir.path().join(port.to_string());
            std::fs::create_dir_all(&folder).unwrap();
            let (port_text, folder) = (port.to_string(), folder.display().to_string());
            let mut args = vec!["--port", &port_text, "--dir", &folder, "--save", "", "--bind", "127.0.0.1"];
            args.extend(["--databases", "256", "--appendonly", "yes", "--appendfsync", "always"]);
            args.extend(["--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"]);
            let of = master.to_string();
            if port == replica {
                args.extend(["--replicaof", "127.0.0.1", &of]);
            }
            let mut process = Process::start(&args);
            Place::Port(port).until(&mut process, "PING", "PONG").await;
            if port == replica {
                Place::Port(port).until(&mut process, "INFO replication", "master_link_status:up").await;
            }
            servers.push(Some(process));
        }
        let sentinels: Vec<_> = (0..3).map(|_| free_port()).collect();
        let mut processes = Vec::new();
        for port in &sentinels {
            let file = dir.path().join(format!("sentinel-{port}.conf"));
            let config = format!(
                "port {port}\nbind 127.0.0.1\ndir {}\nsentinel monitor main 127.0.0.1 {master} 2\n\
                 sentinel down-after-milliseconds main 1000\nsentinel failover-timeout main 5000\n",
                dir.path().display()
            );
            std::fs::write(&file, config).unwrap();
            processes.push(Process::start(&[&file.display().to_string(), "--sentinel"]));
        }
        // Each knows the others and the replica: only then a failover can be agreed on.
        for (port, process) in sentinels.iter().zip(&mut processes) {
            Place::Port(*port).until(process, "INFO sentinel", "slaves=1,sentinels=3").await;
        }
        let databases = Mutex::new((0..=255).collect());
        let master = Place::Port(master);
        Self { _dir: dir, master, servers, _sentinels: processes, sentinels, databases }
    }

    /// One for all who change nothing of it.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Trio> = OnceLock::new();
        SHARED.get_or_init(|| wait_for(Self::start()))
    }

    /// A database that nobody uses, and that has nothing.
    pub(crate) async fn take_database(&self) -> u8 {
        let free = self.databases.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let free = free.expect("no more than 256 tests run at once");
        let answer = self.master.say(&[&format!("SELECT {free}"), "FLUSHDB"]).await.unwrap();
        assert!(!answer.contains("-ERR"), "{answer}");
        free
    }

    pub(crate) fn give_database_back(&self, database: u8) {
        self.databases.lock().unwrap_or_else(PoisonError::into_inner).push(database);
    }

    pub(crate) fn kill_master(&mut self) {
        self.servers[0] = None;
    }

    pub(crate) fn url(&self, database: u8) -> String {
        let sentinels: Vec<_> = self.sentinels.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        format!("redis-sentinel://{}/main?db={database}", sentinels.join(","))
    }
}
