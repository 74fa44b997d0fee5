//! `nexus dev`: all roles in one process over a folder.
//!
//! Start-up order matters. The stop latch is read before anything may act; configuration is compiled before a
//! port opens, so that no webhook meets an empty one; the banner comes when everything is ready.

mod admin;
mod banner;
mod replay;
mod roles;
mod story;
#[cfg(test)]
mod unreadable;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use nexus_runtime::lane::StopLane;
use nexus_runtime::tasks::Tasks;
use nexus_store::bus::Bus;

use self::roles::{Roles, RolesDeps};
use crate::role::control::{Control, Scope};
use crate::role::cut::Cut;
use crate::role::data::{self, DataDir};
use crate::role::process::Process;
use crate::role::switch::{FolderSwitch, StopSwitch, Switch};
use crate::role::{control, credentials};

/// Settings of `nexus dev`.
#[derive(Debug, Clone)]
pub struct DevSettings {
    /// Folder of CR and Secret files.
    pub folder: PathBuf,
    /// Where state is kept.
    pub data: PathBuf,
    /// Address for webhooks.
    pub ingest: SocketAddr,
    /// Address for agents.
    pub gateway: SocketAddr,
    /// Address for the admin.
    pub admin: SocketAddr,
    /// How long access tokens are good for.
    pub token_lifetime: Duration,
    /// Whether log lines are JSON.
    pub log_json: bool,
}

/// Where an agent finds the credentials that were made for it under a data folder.
pub fn credentials_folder(data: &Path, namespace: &str, agent: &str) -> PathBuf {
    credentials::folder(&data.join(data::AGENTS), namespace, agent)
}

/// Runs until Ctrl-C or SIGTERM, then drains.
pub async fn run(settings: DevSettings) -> anyhow::Result<()> {
    let process = Process::begin(settings.log_json)?;
    let folder = control::served(&settings.folder)?;
    let data = DataDir::open(&settings.data)?;
    let starting = process.readiness.guard("start-up");
    let switch = Arc::new(Switch::new(StopLane::open(&data.latch())?));
    let switch = Arc::new(FolderSwitch::open(&data.policies(), switch)?);
    let bus = Bus::open_embedded(&data.bus(), process.clock.clone())
        .with_context(|| format!("cannot open the bus in {}", data.bus().display()))?;
    let scope = Scope {
        // The data folder may lie inside the served one.
        without: Some(data.path().to_owned()),
        cut: Cut::All,
        agents: Some(data.agents()),
        switch: StopSwitch::Folder(Arc::clone(&switch)),
    };
    let control = Arc::new(Control::new(&folder, scope));
    control.reload();

    let mut tasks = Tasks::new("nexus dev", process.drain.clone());
    let settings = DevSettings { folder, data: data.path().to_owned(), ..settings };
    let deps = RolesDeps { settings, bus: bus.clone(), control, switch, process: &process };
    let roles = Arc::new(Roles::new(deps, &data)?);
    roles.start(&mut tasks).await?;
    drop(starting);
    banner::show(&roles, &data)?;
    process.run(tasks, async move { bus.close().await }).await
}
