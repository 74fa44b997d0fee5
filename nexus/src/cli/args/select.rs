//! Which events are meant: the same flags wherever events are chosen.

use clap::Args;
use jiff::Timestamp;
use nexus_core::id::TenantKey;
use nexus_core::kind::Kind;

use super::values::{Moment, parse_kind, parse_moment};

/// Flags that choose events.
#[derive(Debug, Clone, Default, Args)]
pub struct SelectArgs {
    /// Only this tenant
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub tenant: Option<TenantKey>,
    /// Only this kind, such as NewWorkItem; may be given several times
    #[arg(long = "kind", value_name = "KIND", value_parser = parse_kind)]
    pub kinds: Vec<Kind>,
    /// Only this source, as the Tenant has it
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,
    /// Only what was received then or later: a time in RFC 3339, or how long ago, such as 2h
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    pub since: Option<Moment>,
    /// Only what was received before then: a time in RFC 3339, or how long ago, such as 10m
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    pub until: Option<Moment>,
}

impl SelectArgs {
    /// Whether anything is chosen at all.
    pub fn is_empty(&self) -> bool {
        let Self { tenant, kinds, source, since, until } = self;
        tenant.is_none() && kinds.is_empty() && source.is_none() && since.is_none() && until.is_none()
    }

    /// The query of a page of events, but for the tenant: pairs of name and value.
    pub fn query(&self, now: Timestamp) -> Vec<(&'static str, String)> {
        let list = |names: Vec<String>| Some(names.join(",")).filter(|list| !list.is_empty());
        let time = |moment: Option<Moment>| moment.map(|moment| moment.at(now).to_string());
        let pairs = [
            ("kinds", list(self.kinds.iter().map(ToString::to_string).collect())),
            ("source", self.source.clone()),
            ("since", time(self.since)),
            ("until", time(self.until)),
        ];
        pairs.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}
