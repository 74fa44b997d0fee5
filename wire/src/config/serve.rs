//! One stream, as the operator serves it: an Update when something differs, the next once it is answered. It is pulled by
//! the connection that it writes to: a pod that does not read costs its place and nothing else.

use std::collections::BTreeMap;

use futures_util::{Stream, stream};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tonic::{Status, Streaming};

use super::entries::Entry;
use super::report;
use super::told::{Batch, Published, Told};
use super::v1::{self, operator_message, pod_message};

/// A stream that was admitted.
pub(super) struct Serving {
    incoming: Streaming<v1::PodMessage>,
    published: watch::Receiver<Published>,
    told: Told,
    configure: bool,
    entry: Entry,
    _place: OwnedSemaphorePermit,
    nonce: u64,
    /// What the pod has not answered yet.
    in_flight: Option<Batch>,
    /// Whether it was logged that the pod tells of more than is kept.
    surplus: bool,
}

impl Serving {
    pub(super) fn new(
        incoming: Streaming<v1::PodMessage>,
        published: watch::Receiver<Published>,
        told: Told,
        configure: bool,
        entry: Entry,
        place: OwnedSemaphorePermit,
    ) -> Self {
        let (nonce, in_flight, surplus) = (0, None, false);
        Self { incoming, published, told, configure, entry, _place: place, nonce, in_flight, surplus }
    }

    /// What the pod is sent, until either end has enough.
    pub(super) fn run(self) -> impl Stream<Item = Result<v1::OperatorMessage, Status>> + Send {
        stream::unfold(Some(self), |serving| async {
            let mut serving = serving?;
            match serving.next().await {
                Ok(Some(update)) => {
                    let message = Some(operator_message::Message::Update(update));
                    Some((Ok(v1::OperatorMessage { message }), Some(serving)))
                }
                Ok(None) => None,
                Err(status) => Some((Err(status), None)),
            }
        })
    }

    /// The next Update, however long it takes. None when the pod has ended the stream.
    async fn next(&mut self) -> Result<Option<v1::Update>, Status> {
        loop {
            if let Some(update) = self.update()? {
                return Ok(Some(update));
            }
            tokio::select! {
                message = self.incoming.message() => match message {
                    Ok(Some(message)) => self.hear(message)?,
                    Ok(None) => return Ok(None),
                    Err(status) => {
                        tracing::debug!(pod = self.entry.pod(), %status, "a config stream broke off");
                        return Ok(None);
                    }
                },
                changed = self.published.changed() => {
                    if changed.is_err() {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// What the pod is to be told now, if it has answered what it was told before.
    fn update(&mut self) -> Result<Option<v1::Update>, Status> {
        let published = self.published.borrow_and_update();
        if published.closed {
            return Err(Status::unavailable("this operator ends; ask another"));
        }
        if !self.configure || self.in_flight.is_some() {
            return Ok(None);
        }
        let Some(batch) = self.told.next(&published) else { return Ok(None) };
        drop(published);
        self.nonce += 1;
        let update = batch.proto(self.nonce);
        self.in_flight = Some(batch);
        Ok(Some(update))
    }

    fn hear(&mut self, message: v1::PodMessage) -> Result<(), Status> {
        match message.message {
            Some(pod_message::Message::Answer(answer)) => self.answered(answer),
            Some(pod_message::Message::Report(report)) => {
                let whole = self.entry.update(|pod| pod.take(report)).unwrap_or(true);
                if !whole && !std::mem::replace(&mut self.surplus, true) {
                    tracing::warn!(pod = self.entry.pod(), "a pod reports more than is kept of it");
                }
                Ok(())
            }
            Some(pod_message::Message::Hello(_)) => Err(Status::invalid_argument("Hello comes once")),
            // A message of a later version.
            None => Ok(()),
        }
    }

    fn answered(&mut self, answer: v1::Answer) -> Result<(), Status> {
        let batch = self.in_flight.take().filter(|_| answer.nonce == self.nonce);
        let batch = batch.ok_or_else(|| Status::invalid_argument("an Answer to no Update"))?;
        let refused = answer.refused.into_iter().take(batch.resources.len()).filter_map(report::refusal);
        let refused: BTreeMap<_, _> = refused.map(|(name, refused)| (name, refused.digest)).collect();
        self.told.settle(batch, &refused);
        Ok(())
    }
}
