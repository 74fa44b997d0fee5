//! Arguments of `operator`.

use std::net::SocketAddr;

use clap::Args;

use crate::role::operate::OperateSettings;

/// Arguments of `operator`.
#[derive(Debug, Args)]
pub struct OperatorArgs {
    /// Address for ingest and gateway pods: gRPC over TLS
    #[arg(long, env = "NEXUS_LISTEN", default_value = "127.0.0.1:8443", value_name = "HOST:PORT")]
    listen: SocketAddr,
    /// The operator's own namespace: its Lease, its certificate and the pods that it configures are there
    #[arg(long, env = "NEXUS_NAMESPACE", default_value = "nexus-system", value_name = "NAME")]
    namespace: String,
    /// What this replica is called in the Lease and in events; the name of its pod
    #[arg(long, env = "NEXUS_POD", default_value = "nexus-operator", value_name = "NAME")]
    pod: String,
    /// A name under which pods reach the operator, besides that of its Service; can be given again
    #[arg(long = "name", value_name = "HOST")]
    names: Vec<String>,
    /// Log lines as JSON
    #[arg(long)]
    log_json: bool,
}

impl OperatorArgs {
    /// The settings of `nexus operator`.
    pub fn into_settings(self, admin: &str) -> anyhow::Result<OperateSettings> {
        let Self { listen, namespace, pod, names, log_json } = self;
        Ok(OperateSettings { listen, namespace, pod, names, log_json, admin: super::admin_address(admin)? })
    }
}
