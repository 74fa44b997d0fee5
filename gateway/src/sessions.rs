//! The owner of all sessions: no session is detached, and what one leaves that breaks off is returned.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;

use nexus_core::id::SessionId;
use nexus_runtime::Drain;
use tokio::sync::mpsc;
use tokio::task::{Id, JoinSet};

use crate::session::{self, Start, sever};
use crate::shared::Shared;

/// Runs sessions as they start, until drained and all of them have ended.
pub(crate) async fn own(
    shared: Arc<Shared>,
    mut starts: mpsc::Receiver<Start>,
    drain: Drain,
) -> Result<(), Infallible> {
    let mut sessions = JoinSet::new();
    let mut ids = HashMap::<Id, SessionId>::new();
    let mut config = shared.config.clone();
    let mut accepting = true;
    // What a former gateway was aborted with, and what sessions leave here that break off.
    let mut returns = std::pin::pin!(shared.leases.return_dropped(&shared.bus));
    while accepting || !sessions.is_empty() {
        tokio::select! {
            start = starts.recv(), if accepting => match start {
                Some(start) => {
                    let session = start.entered.figures().session;
                    let task = sessions.spawn(session::run(Arc::clone(&shared), start, drain.clone()));
                    ids.insert(task.id(), session);
                }
                None => accepting = false,
            },
            // After this, what is in the channel is still taken out, and told of the drain at once.
            () = drain.cancelled(), if !starts.is_closed() => starts.close(),
            Some(ended) = sessions.join_next_with_id() => {
                let (id, error) = match ended {
                    Ok((id, ())) => (id, None),
                    Err(error) => (error.id(), Some(error)),
                };
                let session = ids.remove(&id);
                if let (Some(error), Some(session)) = (error, session) {
                    metrics::counter!("nexus_session_ends_total", "reason" => "panicked").increment(1);
                    tracing::error!(%session, %error, "a session broke off");
                }
            }
            () = sever::changed(&mut config) => {
                let known = Arc::clone(&config.borrow_and_update());
                shared.presence.retain(|agent| known.agent(agent).is_some());
            }
            () = &mut returns => {}
        }
    }
    Ok(())
}
