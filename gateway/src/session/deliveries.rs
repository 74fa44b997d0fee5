//! What a session has sent and when, so that its acknowledgements can be measured and traced.

use std::collections::HashMap;

use jiff::Timestamp;
use nexus_core::id::{AgentId, EventId, SessionId, TenantKey};
use nexus_core::trace::{Delivery, Step, TraceId};
use nexus_runtime::trace::{self, Kind, Span};
use nexus_store::bus::Held;

/// Deliveries that wait for an answer; no more than the session holds.
pub(crate) struct Deliveries {
    tenant: TenantKey,
    agent: AgentId,
    /// The agent's name, which is one of few, unlike the ids of sessions.
    name: String,
    session: SessionId,
    sent: HashMap<EventId, Vec<(Delivery, Timestamp)>>,
    receipt_to_send: metrics::Histogram,
    send_to_ack: metrics::Histogram,
}

/// What a span tells of, in the words of OpenTelemetry's conventions.
#[derive(Clone, Copy)]
struct Did {
    operation: &'static str,
    operation_type: &'static str,
    kind: Kind,
}

impl Did {
    const DELIVER: Self = Self { operation: "deliver", operation_type: "send", kind: Kind::Producer };
    const ACK: Self = Self { operation: "ack", operation_type: "settle", kind: Kind::Settlement };
    const NACK: Self = Self { operation: "nack", operation_type: "settle", kind: Kind::Settlement };
}

impl Deliveries {
    pub(crate) fn new(tenant: &TenantKey, agent: AgentId, name: &str, session: SessionId) -> Self {
        let label = tenant.to_string();
        Self {
            tenant: tenant.clone(),
            agent,
            name: name.to_owned(),
            session,
            sent: HashMap::new(),
            receipt_to_send: metrics::histogram!("nexus_receipt_to_send_seconds", "tenant" => label.clone()),
            send_to_ack: metrics::histogram!("nexus_send_to_ack_seconds", "tenant" => label),
        }
    }

    /// The trace context that goes with an event.
    pub(crate) fn traceparent(&self, held: &Held) -> String {
        trace::traceparent(held.id, self.delivery(held))
    }

    /// Notes that an event was handed to the transport.
    pub(crate) fn sent(&mut self, held: &Held, start: Timestamp, now: Timestamp) {
        let delivery = self.delivery(held);
        self.sent.entry(held.id).or_default().push((delivery, now));
        if !held.replay
            && let Some(received) = received(held.id)
        {
            self.receipt_to_send.record(seconds(received, now));
        }
        trace::record(held.id, Step::Deliver(delivery), || {
            self.span(Did::DELIVER, held.id, delivery, start, now).with("nexus.outcome", "sent")
        });
        tracing::debug!(
            tenant = %self.tenant, event = %held.id, agent = %self.agent, session = %self.session,
            trace_id = %TraceId::of(held.id), attempt = held.attempt, "delivered"
        );
    }

    /// Notes that an event cannot be sent at all.
    pub(crate) fn undeliverable(&self, held: &Held, reason: &'static str, now: Timestamp) {
        let delivery = self.delivery(held);
        trace::record(held.id, Step::Deliver(delivery), || {
            let span = self.span(Did::DELIVER, held.id, delivery, now, now);
            span.with("nexus.outcome", "undeliverable").failed(reason)
        });
    }

    /// Takes out what the agent answered, before the bus is told.
    pub(crate) fn answered(&mut self, ids: &[EventId]) -> Vec<(EventId, Vec<(Delivery, Timestamp)>)> {
        ids.iter().filter_map(|id| self.sent.remove_entry(id)).collect()
    }

    /// Notes that the bus knows of acknowledgements.
    pub(crate) fn acked(&self, answered: &[(EventId, Vec<(Delivery, Timestamp)>)], now: Timestamp) {
        for (event, (delivery, sent)) in flat(answered) {
            self.send_to_ack.record(seconds(sent, now));
            trace::record(event, Step::Ack(delivery), || {
                self.span(Did::ACK, event, delivery, sent, now).with("nexus.outcome", "acked")
            });
            tracing::debug!(
                tenant = %self.tenant, event = %event, agent = %self.agent, session = %self.session,
                trace_id = %TraceId::of(event), attempt = delivery.attempt, "acked"
            );
        }
    }

    /// Notes that the bus knows of a refusal. What the agent gave as its reason is its own text and stays out.
    pub(crate) fn nacked(&self, answered: &[(EventId, Vec<(Delivery, Timestamp)>)], now: Timestamp) {
        for (event, (delivery, sent)) in flat(answered) {
            trace::record(event, Step::Nack(delivery), || {
                let span = self.span(Did::NACK, event, delivery, sent, now);
                span.with("nexus.outcome", "nacked").failed("the agent refused the event for now")
            });
            tracing::debug!(
                tenant = %self.tenant, event = %event, agent = %self.agent, session = %self.session,
                trace_id = %TraceId::of(event), attempt = delivery.attempt, "nacked"
            );
        }
    }

    fn delivery(&self, held: &Held) -> Delivery {
        Delivery { inbox: held.inbox, attempt: held.attempt, replay: held.replay, session: self.session }
    }

    fn span(&self, did: Did, event: EventId, delivery: Delivery, start: Timestamp, end: Timestamp) -> Span {
        Span::new(format!("{} {}", did.operation, self.name), did.kind, start, end)
            .with("messaging.system", "nexus")
            .with("messaging.operation.name", did.operation)
            .with("messaging.operation.type", did.operation_type)
            .with("messaging.message.id", event.to_string())
            .with("messaging.destination.name", self.name.clone())
            .with("nexus.tenant", self.tenant.to_string())
            .with("nexus.agent", self.name.clone())
            .with("nexus.session", self.session.to_string())
            .with("nexus.attempt", i64::from(delivery.attempt))
            .with("nexus.replay", delivery.replay)
    }
}

fn flat(
    answered: &[(EventId, Vec<(Delivery, Timestamp)>)],
) -> impl Iterator<Item = (EventId, (Delivery, Timestamp))> {
    answered.iter().flat_map(|(event, sent)| sent.iter().map(move |sent| (*event, *sent)))
}

/// When an event was received: its id says so.
fn received(event: EventId) -> Option<Timestamp> {
    let (seconds, nanos) = event.uuid().get_timestamp()?.to_unix();
    Timestamp::new(i64::try_from(seconds).ok()?, i32::try_from(nanos).ok()?).ok()
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64().max(0.0)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use nexus_core::id::InboxId;
    use nexus_core::trace::{Remote, SpanId};
    use uuid::Uuid;

    use super::*;

    fn held(id: EventId, inbox: u128) -> Held {
        let inbox = InboxId::from(Uuid::from_u128(inbox));
        Held { id, inbox, attempt: 2, replay: false, event: Bytes::new() }
    }

    #[test]
    fn what_is_answered_is_forgotten_whichever_inboxes_it_came_by() {
        let tenant: TenantKey = "acme/acme".parse().unwrap();
        let session = SessionId::from(Uuid::from_u128(7));
        let mut deliveries = Deliveries::new(&tenant, AgentId::of(&tenant, "coder"), "coder", session);
        let (one, two) = (EventId::from(Uuid::now_v7()), EventId::from(Uuid::now_v7()));
        let now = received(one).unwrap();
        for held in [held(one, 1), held(one, 2), held(two, 1)] {
            let context = Remote::parse(&deliveries.traceparent(&held)).unwrap();
            let step = Step::Deliver(deliveries.delivery(&held));
            assert_eq!((context.trace, context.span), (TraceId::of(held.id), SpanId::of(held.id, step)));
            deliveries.sent(&held, now, now);
        }
        let answered = deliveries.answered(&[one, EventId::from(Uuid::now_v7())]);
        assert_eq!(flat(&answered).count(), 2);
        deliveries.acked(&answered, now);
        assert_eq!(deliveries.sent.len(), 1);
        let answered = deliveries.answered(&[two]);
        deliveries.nacked(&answered, now);
        assert!(deliveries.sent.is_empty());
    }
}
