//! One stream, as a pod has it: Hello, then Updates in and Answers and reports out.

use std::convert::Infallible;

use futures_util::{StreamExt as _, stream};
use nexus_core::secret::Secret;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};

use super::report::{Reporter, versions_proto};
use super::stage::Turn;
use super::subscriber::Subscriber;
use super::v1::configuration_client::ConfigurationClient;
use super::v1::{self, operator_message, pod_message};
use super::{FIRST_WORD, MAX_MESSAGE_BYTES, REPORT_EVERY};

/// Why a stream ended, or did not begin.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// There is no token to say who calls.
    #[error("cannot read the token")]
    Token(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The operator cannot be reached.
    #[error("cannot connect")]
    Connect(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The operator has not answered in time.
    #[error("no answer came in time")]
    Silent,
    /// The operator refuses the stream.
    #[error("the stream is refused: {}", .0.message())]
    Refused(Box<Status>),
    /// The stream broke off.
    #[error("the stream broke off: {}", .0.message())]
    Broken(Box<Status>),
    /// The operator ended the stream.
    #[error("the stream was ended")]
    Ended,
    /// An Update could not be put in force.
    #[error("an Update could not be put in force")]
    Apply(#[source] tokio::task::JoinError),
}

impl StreamError {
    /// The word for metrics.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Token(_) => "token",
            Self::Connect(_) => "connect",
            Self::Silent => "silent",
            Self::Refused(_) => "refused",
            Self::Broken(_) => "broken",
            Self::Ended => "ended",
            Self::Apply(_) => "apply",
        }
    }
}

/// A stream counts as open while this lives.
struct Open;

impl Open {
    fn new() -> Self {
        metrics::gauge!("nexus_config_streams").increment(1.0);
        Self
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        metrics::gauge!("nexus_config_streams").decrement(1.0);
    }
}

/// The ways up. Answers have one of their own: reports that wait to be sent must not keep the stream from being read, or
/// both ends could wait for each other.
struct Up {
    answers: mpsc::Sender<v1::PodMessage>,
    reports: mpsc::Sender<v1::PodMessage>,
}

impl Subscriber {
    /// Holds a stream until it ends.
    pub(super) async fn stream(
        &self,
        channel: Channel,
        token: &Secret,
        configure: bool,
    ) -> Result<Infallible, StreamError> {
        // Before Hello says what is held. It may wait for an Update that is being put in force.
        let turn = match configure {
            true => {
                let stage = self.stage.clone();
                let begun = tokio::task::spawn_blocking(move || stage.begin()).await;
                Some(begun.map_err(StreamError::Apply)?)
            }
            false => None,
        };
        let (up, incoming) = self.open(channel, token, configure).await?;
        let _open = Open::new();
        tracing::info!(configure, "a stream to the operator is open");
        self.converse(up, incoming, turn).await
    }

    async fn open(
        &self,
        channel: Channel,
        token: &Secret,
        configure: bool,
    ) -> Result<(Up, Streaming<v1::OperatorMessage>), StreamError> {
        let (answers, answered) = mpsc::channel(1);
        let (reports, reported) = mpsc::channel(1);
        let hello = {
            let held = self.stage.held();
            let held = versions_proto(held.borrow().versions());
            v1::Hello { role: self.role.proto().into(), pod: self.pod.clone(), held, configure }
        };
        let hello = message(pod_message::Message::Hello(hello));
        let rest = stream::select(ReceiverStream::new(answered), ReceiverStream::new(reported));
        let mut request = Request::new(stream::iter([hello]).chain(rest));
        request.metadata_mut().insert("authorization", bearer(token)?);
        let mut client = ConfigurationClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        // The operator may take as long for each of two steps.
        let answer =
            timeout(FIRST_WORD * 2, client.stream(request)).await.map_err(|_| StreamError::Silent)?;
        let incoming = answer.map_err(|status| StreamError::Refused(Box::new(status)))?.into_inner();
        Ok((Up { answers, reports }, incoming))
    }

    async fn converse(
        &self,
        up: Up,
        mut incoming: Streaming<v1::OperatorMessage>,
        turn: Option<Turn>,
    ) -> Result<Infallible, StreamError> {
        let (mut held, mut standing) = (self.stage.held(), self.standing.clone());
        let (mut reporter, mut due, mut dirty, mut told) = (Reporter::default(), Instant::now(), true, true);
        loop {
            tokio::select! {
                come = incoming.message() => {
                    let come = come.map_err(|status| StreamError::Broken(Box::new(status)))?;
                    let come = come.ok_or(StreamError::Ended)?;
                    // Whoever only hears reports has nothing to say.
                    if let (Some(turn), Some(operator_message::Message::Update(update))) = (turn, come.message) {
                        let answer = message(pod_message::Message::Answer(self.apply(turn, update).await?));
                        // There is room: an Update comes only when the former one's Answer was read.
                        up.answers.send(answer).await.map_err(|_| StreamError::Ended)?;
                    }
                }
                _ = held.changed() => dirty = true,
                changed = standing.changed(), if told => {
                    // Whoever tells of it may have gone: what it told last stands.
                    told = changed.is_ok();
                    dirty = true;
                }
                room = room(&up.reports, due), if dirty => {
                    let report = reporter.report(&held.borrow_and_update(), &standing.borrow_and_update());
                    dirty = report.as_ref().is_some_and(|(_, more)| *more);
                    due = Instant::now() + REPORT_EVERY;
                    if let Some((report, _)) = report {
                        room?.send(message(pod_message::Message::Report(report)));
                    }
                }
            }
        }
    }

    async fn apply(&self, turn: Turn, update: v1::Update) -> Result<v1::Answer, StreamError> {
        let stage = self.stage.clone();
        let applied = tokio::task::spawn_blocking(move || stage.take(turn, update)).await;
        let answer = applied.map_err(StreamError::Apply)?.ok_or(StreamError::Ended)?;
        metrics::counter!("nexus_config_updates_total").increment(1);
        for refused in &answer.refused {
            let name = refused.name.as_ref().map_or("", |name| &name.tenant);
            tracing::warn!(tenant = name, "a resource of the operator is refused: {}", refused.reason);
        }
        Ok(answer)
    }
}

/// Waits until it is time for a report and there is room for one.
async fn room(
    reports: &mpsc::Sender<v1::PodMessage>,
    due: Instant,
) -> Result<mpsc::Permit<'_, v1::PodMessage>, StreamError> {
    sleep_until(due).await;
    reports.reserve().await.map_err(|_| StreamError::Ended)
}

fn message(message: pod_message::Message) -> v1::PodMessage {
    v1::PodMessage { message: Some(message) }
}

fn bearer(token: &Secret) -> Result<MetadataValue<Ascii>, StreamError> {
    let value = [b"Bearer ", token.expose().trim_ascii()].concat();
    // The error would quote nothing, but it is not needed either.
    let value = MetadataValue::try_from(value.as_slice());
    let mut value = value.map_err(|_| StreamError::Token("it is no text that a header takes".into()))?;
    value.set_sensitive(true);
    Ok(value)
}
