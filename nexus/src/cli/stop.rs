//! `nexus stop` and `nexus release`.

use super::args::{ReleaseArgs, StopArgs};
use super::client::Client;
use super::output::Output;
use crate::api::{ReleaseRequest, Status, Stop, StopAnswer, StopRequest};

/// Stops every agent that the policy means.
pub async fn stop(client: &Client, args: StopArgs, output: Output) -> anyhow::Result<()> {
    let request = StopRequest { reason: args.reason };
    let answer: StopAnswer = client.post(&format!("policies/{}/stop", args.policy), &request).await?;
    output.show(&answer, |answer| {
        let stopped: Vec<_> = answer.stops.iter().map(stop_line).collect();
        format!("{}\nsessions still open: {}", stopped.join("\n"), answer.sessions)
    })
}

/// Releases a stop by its name.
pub async fn release(client: &Client, args: ReleaseArgs, output: Output) -> anyhow::Result<()> {
    let Some(engagement) = args.engagement else {
        let status: Status = client.get("status").await?;
        anyhow::ensure!(!status.stops.is_empty(), "no stop is engaged");
        let names: Vec<_> = status.stops.iter().map(stop_line).collect();
        anyhow::bail!("name the engagement to release:\n{}", names.join("\n"));
    };
    let request = ReleaseRequest { engagement };
    let answer: StopAnswer = client.post(&format!("policies/{}/release", args.policy), &request).await?;
    output.show(&answer, |answer| match answer.stops.as_slice() {
        [] => "released; all may run".to_owned(),
        left => {
            let left: Vec<_> = left.iter().map(stop_line).collect();
            format!("released; still engaged:\n{}", left.join("\n"))
        }
    })
}

fn stop_line(stop: &Stop) -> String {
    let reason = stop.reason.as_deref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    format!("stopped by {}{reason}; release with: {}", stop.policy, stop.release_command())
}
