//! The part of a compiled tenant that a process keeps.

use nexus_compile::Compiled;
use nexus_core::snapshot::SigningSecrets;

/// Which snapshots a process has roles for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Cut {
    /// All of them.
    #[default]
    All,
    /// That of ingest: no agent, no digest of a credential.
    Ingest,
    /// That of gateway: no signing secret.
    Gateway,
}

impl Cut {
    /// Drops what the process has no use for.
    pub fn keep(self, compiled: &mut Compiled) {
        match self {
            Self::All => {}
            Self::Ingest => {
                compiled.gateway.agents.clear();
                compiled.gateway.aliases.clear();
            }
            // The sources stay: subscriptions are checked against them.
            Self::Gateway => compiled.signing = SigningSecrets::default(),
        }
    }
}
