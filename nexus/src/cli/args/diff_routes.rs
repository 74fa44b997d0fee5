//! Arguments of `diff-routes`.

use std::path::PathBuf;

use clap::Args;

use super::select::SelectArgs;

/// Arguments of `diff-routes`.
#[derive(Debug, Args)]
pub struct DiffRoutesArgs {
    /// The edited folder
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// At most so many of the newest events
    #[arg(long, visible_alias = "last", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
    /// Which events
    #[command(flatten)]
    pub select: SelectArgs,
    /// Events from a file instead of the running server, as `nexus events --full` writes them; `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub events: Option<PathBuf>,
    /// Succeed also if there is no event to compare
    #[arg(long)]
    pub allow_empty: bool,
    /// Compare with this folder instead of the rules that the running server has in force
    #[arg(long, value_name = "DIR")]
    pub against: Option<PathBuf>,
}
