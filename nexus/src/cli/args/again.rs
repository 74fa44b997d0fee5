//! Arguments of `dlq` and `replay`.

use clap::{Args, Subcommand};
use nexus_core::id::{EventId, TenantKey};

use super::select::SelectArgs;
use super::values::parse_event;

/// What to do with parked events.
#[derive(Debug, Subcommand)]
pub enum DlqVerb {
    /// List parked events
    #[command(after_help = "Example:\n  nexus dlq ls --agent coder")]
    Ls(WhoseArgs),
    /// Show a parked event: why it was parked, its story, and the event itself
    #[command(after_help = "Example:\n  nexus dlq show 0190163d-8694-739b-aea5-966c26f8ad91")]
    Show {
        /// The event
        #[arg(value_parser = parse_event)]
        event: EventId,
    },
    /// Let parked events wait again, their attempts forgotten
    #[command(
        after_help = "Examples:\n  nexus dlq requeue 0190163d-8694-739b-aea5-966c26f8ad91\n  nexus dlq requeue --all --agent coder"
    )]
    Requeue(WhichArgs),
    /// Give parked events up for good
    #[command(
        after_help = "Examples:\n  nexus dlq drop 0190163d-8694-739b-aea5-966c26f8ad91\n  nexus dlq drop --all --agent coder --yes"
    )]
    Drop {
        /// Which
        #[command(flatten)]
        which: WhichArgs,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// In whose inboxes.
#[derive(Debug, Clone, Default, Args)]
pub struct WhoseArgs {
    /// Only this agent's inbox
    #[arg(long, value_name = "NAME")]
    pub agent: Option<String>,
    /// Only the shared inbox of this alias
    #[arg(long, value_name = "NAME", conflicts_with = "agent")]
    pub alias: Option<String>,
    /// Only this tenant
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub tenant: Option<TenantKey>,
}

/// Which parked events.
#[derive(Debug, Args)]
pub struct WhichArgs {
    /// The events
    #[arg(value_name = "EVENT", value_parser = parse_event, required_unless_present = "all")]
    pub events: Vec<EventId>,
    /// All that are parked there
    #[arg(long, conflicts_with = "events")]
    pub all: bool,
    /// Where
    #[command(flatten)]
    pub whose: WhoseArgs,
}

/// Arguments of `replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// The events, by their ids
    #[arg(value_name = "EVENT", value_parser = parse_event)]
    pub events: Vec<EventId>,
    /// Or those that these choose
    #[command(flatten)]
    pub select: SelectArgs,
    /// Deliver to this agent instead of those whom the rules in force choose
    #[arg(long, value_name = "NAME")]
    pub agent: Option<String>,
    /// Deliver to the shared inbox of this alias instead
    #[arg(long, value_name = "NAME", conflicts_with = "agent")]
    pub alias: Option<String>,
    /// Only say how many there are, and who would get them
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
}
