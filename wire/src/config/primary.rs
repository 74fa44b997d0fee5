//! Which of a pod's streams configures it: the first whose connection is there, for as long as it lives.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::watch;

/// The place of the one that configures.
#[derive(Debug, Clone, Default)]
pub(super) struct Primary(Arc<watch::Sender<Option<SocketAddr>>>);

/// The place, taken. Dropping it leaves it to others.
#[derive(Debug)]
pub(super) struct Claim(Primary);

impl Primary {
    /// Takes the place if nobody has it.
    pub(super) fn claim(&self, address: SocketAddr) -> Option<Claim> {
        let taken = self.0.send_if_modified(|primary| {
            let free = primary.is_none();
            primary.get_or_insert(address);
            free
        });
        taken.then(|| Claim(self.clone()))
    }

    /// Waits until the place can be taken.
    pub(super) async fn claimed(&self, address: SocketAddr) -> Claim {
        let mut primary = self.0.subscribe();
        loop {
            if let Some(claim) = self.claim(address) {
                return claim;
            }
            if primary.wait_for(Option::is_none).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.0.0.send_replace(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_has_the_place_and_the_next_gets_it_when_it_is_left() {
        let primary = Primary::default();
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let first = primary.claim(address(1)).unwrap();
        assert!(primary.claim(address(2)).is_none());
        let (waiting, ()) = tokio::join!(primary.claimed(address(2)), async {
            tokio::task::yield_now().await;
            drop(first);
        });
        assert!(primary.claim(address(3)).is_none());
        drop(waiting);
        assert!(primary.claim(address(3)).is_some());
    }
}
