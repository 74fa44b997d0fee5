//! Restarts a role that ends although it should go on.

use std::future::Future;
use std::time::Duration;

use nexus_runtime::Drain;
use nexus_runtime::readiness::Readiness;

/// The first pause before a restart, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// A role that ran this long is healthy: the next failure starts with the first pause again.
const HEALTHY: Duration = Duration::from_secs(30);

/// Runs a role again and again until drained, with growing, jittered pauses.
///
/// While the role is down the process is not ready.
pub async fn supervise<F, E>(
    role: &'static str,
    readiness: Readiness,
    drain: Drain,
    mut start: impl FnMut() -> F,
) -> Result<(), E>
where
    F: Future<Output = Result<(), E>>,
    E: std::fmt::Display,
{
    let mut pause = PAUSE.0;
    loop {
        let began = tokio::time::Instant::now();
        let ended = start().await;
        if drain.is_cancelled() {
            return ended;
        }
        if began.elapsed() >= HEALTHY {
            pause = PAUSE.0;
        }
        metrics::counter!("nexus_role_restarts_total", "role" => role).increment(1);
        let error = ended.err().map_or_else(|| "it ended by itself".to_owned(), |error| format!("{error:#}"));
        tracing::error!(role, error, ?pause, "role ended; starting it again");
        let _down = readiness.guard(format!("{role} to start again"));
        tokio::select! {
            () = drain.cancelled() => return Ok(()),
            () = tokio::time::sleep(pause.mul_f64(0.5 + rand::random::<f64>() / 2.0)) => {}
        }
        pause = (pause * 2).min(PAUSE.1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_failing_role_is_started_again_until_the_drain() {
        let drain = Drain::new();
        let mut starts = 0;
        let ended: Result<(), &str> = supervise("test", Readiness::default(), drain.clone(), || {
            starts += 1;
            if starts == 4 {
                drain.cancel();
            }
            async { Err("no") }
        })
        .await;
        assert_eq!(ended, Err("no"));
        assert_eq!(starts, 4);
    }
}
