//! Arguments of `rbac`.

use std::path::PathBuf;

use clap::Args;

/// Arguments of `rbac`.
#[derive(Debug, Args)]
pub struct RbacArgs {
    /// Folder or file with all Tenants, AgentProfiles and Mappings of a namespace
    #[arg(value_name = "PATH")]
    pub path: PathBuf,
    /// Only for this namespace; can be given again
    #[arg(long = "namespace", short, value_name = "NAME")]
    pub namespaces: Vec<String>,
    /// Leave out the right to create Secrets, which cannot be limited to names: the credentials of each agent come from elsewhere
    #[arg(long)]
    pub own_credentials: bool,
    /// Where the operator runs
    #[arg(long, default_value = "nexus-system", value_name = "NAME")]
    pub operator_namespace: String,
}
