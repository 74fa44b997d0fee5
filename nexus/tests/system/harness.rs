//! A `nexus dev` process over a folder of its own.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// The signing secret of every source of the test tenant.
pub const SECRET: &str = "a-signing-secret-for-tests-only";

/// The longest that any condition is waited for.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A folder of CRs, a data folder and three ports, which outlive the process over them.
pub struct Site {
    pub folder: TempDir,
    pub data: TempDir,
    pub ingest: u16,
    pub gateway: u16,
    pub admin: u16,
    pub http: reqwest::Client,
}

/// The process. Dropping it kills it.
pub struct Nexus(Child);

impl Site {
    /// A tenant `acme/acme` with a GitHub source and these agents, each of which hears of new work items.
    pub fn new(agents: &[&str]) -> Self {
        let site = Self::empty();
        site.write("tenant.yaml", &tenant_yaml("acme"));
        site.write(
            "policy.yaml",
            "apiVersion: nexus.dev/v1alpha1\nkind: NexusPolicy\nmetadata: {name: stop-all}\nspec: {}\n",
        );
        for agent in agents {
            site.write(&format!("{agent}.yaml"), &agent_yaml(agent));
        }
        site
    }

    fn empty() -> Self {
        let [ingest, gateway, admin] = free_ports();
        let http = reqwest::Client::builder().timeout(Duration::from_secs(20)).build().unwrap();
        Self { folder: tempdir(), data: tempdir(), ingest, gateway, admin, http }
    }

    pub fn write(&self, name: &str, content: &str) {
        std::fs::write(self.folder.path().join(name), content).unwrap();
    }

    pub fn remove(&self, name: &str) {
        std::fs::remove_file(self.folder.path().join(name)).unwrap();
    }

    /// Starts the process and waits until it is ready.
    pub async fn start(&self) -> Nexus {
        let nexus = self.spawn(self.folder.path());
        self.ready().await;
        nexus
    }

    /// Starts the process over any folder.
    pub fn spawn(&self, folder: &Path) -> Nexus {
        Nexus(self.command(folder).spawn().unwrap())
    }

    /// The command that serves a folder.
    pub fn command(&self, folder: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nexus"));
        command
            .arg("dev")
            .arg(folder)
            .arg("--data")
            .arg(self.data.path())
            .args(["--ingest", &format!("127.0.0.1:{}", self.ingest)])
            .args(["--gateway", &format!("127.0.0.1:{}", self.gateway)])
            .args(["--admin", &format!("127.0.0.1:{}", self.admin)])
            .env("NEXUS_LOG", "warn")
            .stdout(Stdio::null())
            .kill_on_drop(true);
        command
    }

    pub async fn ready(&self) {
        until("the process is ready", || async {
            let answer = self.http.get(format!("http://127.0.0.1:{}/readyz", self.admin)).send().await;
            answer.is_ok_and(|answer| answer.status().is_success()).then_some(())
        })
        .await;
    }

    /// A verb of the command line against this site.
    pub fn verb(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nexus"));
        command.args(args).args(["--admin", &format!("127.0.0.1:{}", self.admin)]);
        command
    }

    /// Runs a verb of the command line against this site.
    pub async fn cli(&self, args: &[&str]) -> std::process::Output {
        self.verb(args).output().await.unwrap()
    }

    /// Runs a verb that must succeed and print JSON.
    pub async fn cli_json(&self, args: &[&str]) -> Value {
        let output = self.cli(&[args, &["-o", "json"]].concat()).await;
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    pub fn credentials(&self, agent: &str) -> PathBuf {
        self.data.path().join(format!("agents/acme/{agent}-nexus-agent"))
    }

    pub fn gateway_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.gateway)
    }

    /// Posts a new GitHub issue; the event's id if it was accepted.
    pub async fn post_issue(&self, number: u64) -> Option<String> {
        let answer = self.post_issue_to("acme/acme", number).await.ok()?;
        if !answer.status().is_success() {
            return None;
        }
        let answer: Value = answer.json().await.ok()?;
        Some(answer["event"].as_str().unwrap().to_owned())
    }

    /// Posts a new GitHub issue to a tenant.
    pub async fn post_issue_to(&self, tenant: &str, number: u64) -> reqwest::Result<reqwest::Response> {
        let body = json!({
            "action": "opened",
            "issue": {"id": number, "number": number, "title": format!("issue {number}"), "state": "open"},
            "repository": {"id": 1, "full_name": "acme/shop"},
            "sender": {"id": 2, "login": "ann", "type": "User"},
        })
        .to_string();
        self.http
            .post(format!("http://127.0.0.1:{}/hooks/{tenant}/github", self.ingest))
            .header("content-type", "application/json")
            .header("x-github-event", "issues")
            .header("x-github-delivery", format!("delivery-{number}"))
            .header("x-hub-signature-256", signed(SECRET, &body))
            .body(body)
            .send()
            .await
    }

    pub async fn status(&self) -> Value {
        self.cli_json(&["status"]).await
    }
}

impl From<Child> for Nexus {
    fn from(child: Child) -> Self {
        Self(child)
    }
}

impl Nexus {
    /// kill -9.
    pub async fn kill(mut self) {
        self.0.kill().await.unwrap();
    }

    /// Sends a signal.
    pub async fn signal(&self, name: &str) {
        let pid = self.0.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().await.unwrap().success());
    }

    /// SIGTERM, then the exit status.
    pub async fn terminate(mut self) -> std::process::ExitStatus {
        let pid = self.0.id().unwrap().to_string();
        assert!(Command::new("kill").arg(&pid).status().await.unwrap().success());
        tokio::time::timeout(PATIENCE, self.0.wait()).await.expect("the process drains").unwrap()
    }
}

/// GitHub's signature of a body.
pub fn signed(secret: &str, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}

/// A tenant of the namespace `acme` with a GitHub source; more of its spec can be added behind.
pub fn tenant_yaml(name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: webhooks-{name}, namespace: acme}}\nstringData: {{key: {SECRET}}}\n---\n\
         apiVersion: nexus.dev/v1alpha1\nkind: Tenant\nmetadata: {{name: {name}, namespace: acme}}\nspec:\n  \
         sources:\n    - {{name: github, provider: github, secretRef: {{name: webhooks-{name}, key: key}}}}\n"
    )
}

pub fn agent_yaml(name: &str) -> String {
    format!(
        "apiVersion: nexus.dev/v1alpha1\nkind: AgentProfile\nmetadata: {{name: {name}, namespace: acme}}\nspec:\n  \
         tenant: acme\n  maxInFlight: 64\n  subscriptions: [{{kinds: [NewWorkItem]}}]\n"
    )
}

/// Asks again and again until there is an answer.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let asked = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(answer) => answer,
        Err(_) => panic!("waited {PATIENCE:?} in vain: {what}"),
    }
}

fn tempdir() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// Three ports that are free now; held together, so that they differ.
pub fn free_ports() -> [u16; 3] {
    let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}
