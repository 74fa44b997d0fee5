//! Roles as processes around a Redis: one `nexus ingest`, two `nexus gateway`, and a link from each to the bus.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::crowd;
use crate::doors::Doors;
use crate::ledger::{AGENTS, agents};
use crate::link::Link;
use crate::program::{NO_SETPRIV, mortal};
use crate::redis::Redis;
use crate::site::{LOOK, Nexus, PATIENCE, free_ports, ready, write_resources};
use crate::webhook::TENANTS;

/// How many gateways there are.
pub const GATEWAYS: usize = 2;

/// The most bytes of the spool, unless a part says otherwise.
const SPOOL: u64 = 1 << 30;

/// A process of one role.
#[derive(Debug)]
pub struct Unit {
    name: String,
    role: &'static str,
    listen: u16,
    admin: u16,
    /// Its state.
    pub data: PathBuf,
    log: PathBuf,
    /// Its link to the bus.
    pub link: Link,
    /// What it is started with instead of the folder, such as where its operator is.
    pub configured_by: Option<Vec<String>>,
    /// What it is started with besides.
    pub arguments: Vec<String>,
    /// More environment.
    pub environment: Vec<(&'static str, PathBuf)>,
    /// The words that it is started by, such as `prlimit`, which bound what it may have.
    pub within: Vec<OsString>,
    nexus: Option<Nexus>,
}

/// All of them.
#[derive(Debug)]
pub struct Fleet {
    program: PathBuf,
    /// The folder of custom resources.
    pub folder: PathBuf,
    /// Where they are reached.
    pub doors: Arc<Doors>,
    /// The bus.
    pub redis: Redis,
    /// Takes webhooks.
    pub ingest: Unit,
    /// Take agents.
    pub gateways: [Unit; GATEWAYS],
}

impl Fleet {
    /// Writes what they need, and starts the server alone.
    pub async fn new(program: &Path, work: &Path, fsync: &str) -> anyhow::Result<Self> {
        let mut redis = Redis::new(work.join("redis"), fsync)?;
        redis.start(&[]).await?;
        Self::around(program, work, redis).await
    }

    /// Writes what they need around a server.
    pub async fn around(program: &Path, work: &Path, redis: Redis) -> anyhow::Result<Self> {
        let (folder, agents, keys) = (work.join("resources"), work.join("agents"), work.join("token-keys"));
        write_resources(&folder)?;
        known_agents().try_for_each(|(tenant, agent)| write_agent(&folder, &agents, tenant, &agent))?;
        make_key(&keys)?;
        let ports: [u16; 2 + 2 * GATEWAYS] = free_ports()?;
        let (listen, admin) = ports.split_at(1 + GATEWAYS);
        let doors = Arc::new(Doors::new(vec![listen[0]], listen[1..].to_vec(), agents)?);
        let unit = async |name: String, role, number: usize, arguments| {
            anyhow::Ok(Unit {
                data: work.join(&name),
                log: work.join(format!("{name}.log")),
                name,
                role,
                listen: listen[number],
                admin: admin[number],
                link: Link::new(redis.port).await?,
                configured_by: None,
                arguments,
                environment: Vec::new(),
                within: Vec::new(),
                nexus: None,
            })
        };
        let spool = vec!["--spool-bytes".to_owned(), SPOOL.to_string()];
        let token_keys = vec!["--token-keys".to_owned(), keys.display().to_string()];
        let gateway = async |number: usize| {
            unit(format!("gateway-{number}"), "gateway", number, token_keys.clone()).await
        };
        Ok(Self {
            program: program.to_owned(),
            folder,
            doors,
            ingest: unit("ingest".to_owned(), "ingest", 0, spool).await?,
            gateways: [gateway(1).await?, gateway(2).await?],
            redis,
        })
    }

    /// Starts all, waits until they are ready, and notes the agents' ids.
    pub async fn start(&mut self) -> anyhow::Result<()> {
        let (program, folder, http) = (&self.program, &self.folder, &self.doors.http);
        for unit in self.gateways.iter_mut().chain([&mut self.ingest]) {
            unit.start(program, folder)?;
        }
        for unit in self.gateways.iter_mut().chain([&mut self.ingest]) {
            unit.ready(http).await?;
        }
        self.know_agents().await
    }

    /// Notes the agents' ids, as the first gateway tells them.
    pub async fn know_agents(&self) -> anyhow::Result<()> {
        let config = self.gateways[0].config(&self.doors.http).await?;
        for (tenant, agent) in known_agents() {
            let id = &config[format!("{tenant}/{tenant}")]["gateway"]["agents"][&agent]["id"];
            let id = id.as_str().with_context(|| format!("the gateway knows no {agent}: {config}"))?;
            std::fs::write(self.doors.agents.join(format!("{tenant}/{agent}-nexus-agent/client-id")), id)?;
        }
        Ok(())
    }

    /// What each process tells of its configuration, by its name.
    pub async fn configs(&self) -> anyhow::Result<Vec<(&str, Value)>> {
        let mut configs = Vec::new();
        for unit in self.gateways.iter().chain([&self.ingest]) {
            configs.push((unit.name.as_str(), unit.config(&self.doors.http).await?));
        }
        Ok(configs)
    }

    /// The sum of a metric of all gateways; see [`Unit::metric`].
    pub async fn gateways_metric(&self, name: &str, with: &str) -> anyhow::Result<f64> {
        let mut sum = 0.0;
        for gateway in &self.gateways {
            sum += gateway.metric(&self.doors.http, name, with).await?.unwrap_or_default();
        }
        Ok(sum)
    }

    /// Starts ingest again, and waits until it is ready.
    pub async fn start_ingest(&mut self) -> anyhow::Result<()> {
        self.ingest.start(&self.program, &self.folder)?;
        self.ingest.ready(&self.doors.http).await
    }

    /// Starts ingest again, and does not wait.
    pub fn begin_ingest(&mut self) -> anyhow::Result<()> {
        self.ingest.start(&self.program, &self.folder)
    }

    /// Starts a gateway again, and does not wait.
    pub fn start_gateway(&mut self, number: usize) -> anyhow::Result<()> {
        self.gateways[number].start(&self.program, &self.folder)
    }

    /// Waits until a gateway is ready.
    pub async fn gateway_ready(&mut self, number: usize) -> anyhow::Result<()> {
        self.gateways[number].ready(&self.doors.http).await
    }

    /// Waits until what a gauge of ingest tells is as it should be.
    pub async fn ingest_shows(&self, gauge: &str, wanted: impl Fn(f64) -> bool) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let shown = self.ingest.gauge(&self.doors.http, gauge).await?;
            if shown.is_some_and(&wanted) {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "{gauge} stays at {shown:?}; the log: {}",
                self.ingest.log.display()
            );
            sleep(LOOK * 10).await;
        }
    }

    /// Whether one has ended by itself.
    pub fn check(&mut self) -> anyhow::Result<()> {
        self.gateways.iter_mut().chain([&mut self.ingest]).try_for_each(Unit::check)
    }
}

impl Unit {
    fn start(&mut self, program: &Path, folder: &Path) -> anyhow::Result<()> {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(&self.log)?;
        let mut command = mortal(program, &self.within, &self.environment);
        command.arg(self.role);
        match &self.configured_by {
            Some(words) => command.args(words),
            None => command.arg(folder),
        };
        command
            .arg("--data")
            .arg(&self.data)
            .args(["--listen", &format!("127.0.0.1:{}", self.listen)])
            .args(["--admin", &format!("127.0.0.1:{}", self.admin)])
            .args(["--bus", &format!("redis://127.0.0.1:{}", self.link.port)])
            .args(&self.arguments)
            .env("NEXUS_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        self.nexus = Some(Nexus(command.spawn().context(NO_SETPRIV)?));
        Ok(())
    }

    async fn ready(&mut self, http: &reqwest::Client) -> anyhow::Result<()> {
        let nexus = self.nexus.as_mut().context("it was not started")?;
        ready(http, self.admin, &self.name, &self.log, nexus).await
    }

    /// kill -9.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        match self.nexus.take() {
            Some(mut nexus) => nexus.kill().await,
            None => Ok(()),
        }
    }

    /// SIGTERM, and a clean end.
    pub async fn drain(&mut self) -> anyhow::Result<()> {
        if let Some(mut nexus) = self.nexus.take() {
            let status = nexus.drain().await?;
            ensure!(status.success(), "{} ends with {status}: {}", self.name, self.log.display());
        }
        Ok(())
    }

    /// Its exit status, if it has ended by itself.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        self.nexus.as_mut().map_or(Ok(None), Nexus::ended)
    }

    /// Fails if it has ended by itself.
    pub fn check(&mut self) -> anyhow::Result<()> {
        match self.ended()? {
            Some(status) => bail!("{} ended by itself: {status}; its log: {}", self.name, self.log.display()),
            None => Ok(()),
        }
    }

    /// What it tells of its configuration.
    pub async fn config(&self, http: &reqwest::Client) -> anyhow::Result<Value> {
        let url = format!("http://127.0.0.1:{}/config", self.admin);
        Ok(http.get(url).send().await?.error_for_status()?.json().await?)
    }

    /// What it still waits for before it is ready, as it tells.
    pub async fn awaited(&self, http: &reqwest::Client) -> anyhow::Result<String> {
        Ok(self.readiness(http).await?.1)
    }

    /// Whether it is ready, and what it says of that.
    pub async fn readiness(&self, http: &reqwest::Client) -> anyhow::Result<(bool, String)> {
        let url = format!("http://127.0.0.1:{}/readyz", self.admin);
        let answer = http.get(url).send().await?;
        Ok((answer.status().is_success(), answer.text().await?))
    }

    /// The sum of a metric over its labels; none if it does not tell it.
    pub async fn gauge(&self, http: &reqwest::Client, name: &str) -> anyhow::Result<Option<f64>> {
        self.metric(http, name, "").await
    }

    /// The sum of a metric over those labels that contain a text; none if it does not tell it.
    pub async fn metric(
        &self,
        http: &reqwest::Client,
        name: &str,
        with: &str,
    ) -> anyhow::Result<Option<f64>> {
        metric(http, self.admin, name, with).await
    }
}

/// The sum of a metric over those labels that contain a text, as an admin port tells it.
pub(crate) async fn metric(
    http: &reqwest::Client,
    admin: u16,
    name: &str,
    with: &str,
) -> anyhow::Result<Option<f64>> {
    let url = format!("http://127.0.0.1:{admin}/metrics");
    Ok(sum(&http.get(url).send().await?.error_for_status()?.text().await?, name, with))
}

/// The sum of a metric over those labels that contain a text.
pub(crate) fn sum(metrics: &str, name: &str, with: &str) -> Option<f64> {
    let values = metrics.lines().filter_map(|line| {
        let (labels, value) = line.strip_prefix(name)?.rsplit_once(' ')?;
        let meant = (labels.is_empty() || labels.starts_with('{')) && labels.contains(with);
        meant.then(|| value.parse::<f64>().ok())?
    });
    values.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
}

/// All agents, with their tenants: those of the books, and the crowd's.
fn known_agents() -> impl Iterator<Item = (&'static str, String)> {
    let of_books = agents().map(|(tenant, agent)| (TENANTS[tenant], AGENTS[agent].to_owned()));
    of_books.chain((0..crowd::AGENTS).map(|number| (TENANTS[0], crowd::name(number))))
}

/// Writes an agent's credentials, for the fleet and for itself, and its profile if it is not one of the books'.
fn write_agent(folder: &Path, agents: &Path, tenant: &str, agent: &str) -> anyhow::Result<()> {
    let secret = format!("{tenant}-{agent}-has-a-secret-of-at-least-32-characters");
    let mut objects = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: {agent}-nexus-agent, namespace: {tenant}}}\n\
         stringData: {{client-secret: {secret}}}\n"
    );
    if !AGENTS.contains(&agent) {
        objects += &crowd::profile(tenant, agent);
    }
    std::fs::write(folder.join(format!("{tenant}-{agent}.yaml")), objects)?;
    let credentials = agents.join(format!("{tenant}/{agent}-nexus-agent"));
    std::fs::create_dir_all(&credentials)?;
    Ok(std::fs::write(credentials.join("client-secret"), secret)?)
}

/// Writes a key of Ed25519 into a folder, as `openssl genpkey -algorithm ed25519` does.
fn make_key(folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)?;
    let output = std::process::Command::new("openssl")
        .args(["genpkey", "-algorithm", "ed25519", "-out"])
        .arg(folder.join("token"))
        .output()
        .context("cannot run openssl (Debian: apt-get install openssl)")?;
    ensure!(output.status.success(), "openssl makes no key: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_the_sum_over_the_labels_that_are_meant() {
        let metrics = "# TYPE seen counter\nseen{by=\"a\"} 2\nseen{by=\"b\"} 3\nseen_long 7\nplain 1\n";
        assert_eq!(sum(metrics, "seen", ""), Some(5.0));
        assert_eq!(sum(metrics, "seen", "by=\"b\""), Some(3.0));
        assert_eq!(sum(metrics, "plain", ""), Some(1.0));
        assert_eq!(sum(metrics, "seen", "by=\"c\""), None);
    }
}
