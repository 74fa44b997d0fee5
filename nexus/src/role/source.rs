//! Where a process of its own takes its configuration from: a folder, or an operator.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use nexus_runtime::Drain;
use nexus_runtime::readiness::Readiness;
use nexus_runtime::tasks::Tasks;
use nexus_wire::config::{Role, Standing};
use tokio::sync::watch;

use super::configured::Configured;
use super::control::{self, Control, Scope};
use super::cut::Cut;
use super::operator::OperatorSettings;
use super::reload;
use super::subscribed::{Kept, Subscribed};
use super::switch::StopSwitch;

/// Where the configuration comes from.
#[derive(Debug, Clone)]
pub enum Source {
    /// A folder of CR and Secret files.
    Folder(PathBuf),
    /// An operator.
    Operator(OperatorSettings),
}

/// What a role is to whoever configures it.
pub struct Configurable<'a> {
    /// What it runs.
    pub role: Role,
    /// Where the last good configuration is kept; in a folder of objects it is passed over.
    pub data: &'a Path,
    /// Where signing secrets are kept, if anywhere.
    pub secrets: Option<&'a Path>,
    /// The stop switch.
    pub switch: StopSwitch,
    /// What it tells the operator of itself.
    pub standing: watch::Receiver<Standing>,
    /// What start-up waits for.
    pub readiness: &'a Readiness,
}

/// What configures a process. Whatever can be in force without waiting is.
pub enum Configuring {
    /// A folder.
    Folder {
        /// Who reads it.
        control: Arc<Control>,
        /// The folder.
        folder: PathBuf,
        /// What in it is ours.
        without: PathBuf,
    },
    /// An operator.
    Operator {
        /// Who takes what it sends.
        subscribed: Box<Subscribed>,
        /// What is in force.
        configured: Arc<Configured>,
    },
}

impl Source {
    /// Reads the folder, or the last good configuration. Blocks on the disk.
    pub fn begin(&self, role: Configurable<'_>) -> anyhow::Result<Configuring> {
        let Configurable { role, data, secrets, switch, standing, readiness } = role;
        match self {
            Self::Folder(folder) => {
                let (folder, without) = (control::served(folder)?, data.to_owned());
                let cut = match role {
                    Role::Ingest => Cut::Ingest,
                    Role::Gateway => Cut::Gateway,
                };
                let scope = Scope { without: Some(without.clone()), cut, agents: None, switch };
                let control = Arc::new(Control::new(&folder, scope));
                control.reload();
                Ok(Configuring::Folder { control, folder, without })
            }
            Self::Operator(settings) => {
                let configured = Arc::new(Configured::new(switch.switch().cloned()));
                let kept = Kept::at(role, data, secrets);
                let (settings, target) = (settings.clone(), Arc::clone(&configured));
                let subscribed = Subscribed::begin(role, settings, kept, target, standing, readiness);
                Ok(Configuring::Operator { subscribed: Box::new(subscribed), configured })
            }
        }
    }
}

impl Configuring {
    /// What is in force.
    pub fn configured(&self) -> &Arc<Configured> {
        match self {
            Self::Folder { control, .. } => control.configured(),
            Self::Operator { configured, .. } => configured,
        }
    }

    /// Keeps it up to date.
    pub fn start(self, tasks: &mut Tasks, drain: Drain) {
        match self {
            Self::Folder { control, folder, without } => {
                tasks.start("folder", reload::run(control, folder, Some(without), drain));
            }
            Self::Operator { subscribed, .. } => tasks.start("operator", subscribed.run(drain)),
        }
    }
}
