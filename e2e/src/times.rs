//! How long a stop and a change take at a real API server: from the PATCH to the last byte that any agent reads and the last
//! connection that closes, and from a change of a custom resource until every pod holds it.
//!
//! Nothing is asserted: it measures, and shows.

mod changes;
mod stops;

use std::time::Duration;

use clap::Args;
use serde::Serialize;

use crate::operated::Operated;
use crate::proof::{align, bar, table};
use crate::sessions::Many;
use crate::setup::{Begun, Setup};

/// What is measured.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  nexus-e2e times --nexus target/release/nexus\n  \
                        nexus-e2e times --stops 0 --changes 100 --mappings 1000 -o json")]
pub struct Settings {
    /// What every proof is told.
    #[command(flatten)]
    pub setup: Setup,
    /// The sessions that a stop ends
    #[command(flatten)]
    pub many: Many,
    /// Stops, each released again
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub stops: usize,
    /// Changes of a Tenant
    #[arg(long, default_value_t = 100, value_name = "N")]
    pub changes: usize,
    /// Mappings of that Tenant
    #[arg(long, default_value_t = 1000, value_name = "N")]
    pub mappings: usize,
}

/// How values fall, in milliseconds.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Spread {
    /// What they are of.
    pub name: &'static str,
    /// How many there are.
    pub count: usize,
    /// Half of them are at most this.
    pub p50: f64,
    /// 99 % of them are at most this.
    pub p99: f64,
    /// All of them are at most this.
    pub max: f64,
}

impl Spread {
    /// None where there are no values.
    pub(crate) fn of(name: &'static str, mut values: Vec<Duration>) -> Option<Self> {
        values.sort_unstable();
        let at = |percent: usize| {
            let place = (values.len() * percent).div_ceil(100);
            values.get(place.max(1) - 1).map(|value| value.as_secs_f64() * 1000.0)
        };
        Some(Self { name, count: values.len(), p50: at(50)?, p99: at(99)?, max: at(100)? })
    }
}

/// What was measured.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Sessions that each stop ended.
    pub sessions: usize,
    /// How many of them were over gRPC.
    pub grpc: usize,
    /// Webhooks a second meanwhile.
    pub events: u32,
    /// Mappings while changes were made.
    pub mappings: usize,
    /// The figures.
    pub spreads: Vec<Spread>,
    /// What status told of the last stop.
    pub status: serde_json::Value,
}

impl Report {
    /// As a table.
    #[must_use]
    pub fn table(&self) -> String {
        let mut table = table(["MILLISECONDS", "TIMES", "P50", "P99", "MAX"]);
        for spread in &self.spreads {
            let figures = [spread.p50, spread.p99, spread.max].map(|value| format!("{value:.1}"));
            table.add_row([spread.name.to_owned(), spread.count.to_string()].into_iter().chain(figures));
        }
        align(&mut table, 1, 4);
        let Self { sessions, grpc, events, mappings, status, .. } = self;
        format!(
            "{table}\n{sessions} sessions a stop, {grpc} of them over gRPC, {events} webhooks a second; {mappings} Mappings; \
             status of the last stop: {status}"
        )
    }
}

/// Measures.
///
/// # Errors
/// When a part of the system cannot be started, or does not do what is asked.
pub async fn run(settings: Settings) -> anyhow::Result<Report> {
    let Begun { nexus, work, .. } = settings.setup.begin("nexus-times-")?;
    let mut operated = Operated::new(&nexus, work.path()).await?;
    let _operator = operated.start_operator(0)?;
    operated.start_pods().await?;
    let progress = bar((settings.stops + settings.changes) as u64)?;
    progress.set_message("stops");
    let (mut spreads, status) = stops::measure(&operated, &settings, &progress).await?;
    progress.set_message("changes");
    spreads.extend(changes::measure(&operated, &settings, &progress).await?);
    progress.finish_and_clear();
    let Many { sessions, events, .. } = settings.many;
    let (grpc, mappings) = (settings.many.over_grpc(), settings.mappings);
    Ok(Report { sessions, grpc, events, mappings, spreads, status })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_of_what_there_is() {
        let millis = |values: &[u64]| values.iter().copied().map(Duration::from_millis).collect();
        assert!(Spread::of("none", millis(&[])).is_none());
        let one = Spread::of("one", millis(&[7])).unwrap();
        assert_eq!((one.p50, one.p99, one.max), (7.0, 7.0, 7.0));
        let more = Spread::of("more", millis(&[4, 1, 3, 2])).unwrap();
        assert_eq!((more.count, more.p50, more.max), (4, 2.0, 4.0));
    }
}
