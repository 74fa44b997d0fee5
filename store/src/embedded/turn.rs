//! One turn of the writer: commands that become one batch.
//!
//! Each command reads and decides first and changes memory and batch only then, in steps that cannot fail. So a
//! command that fails has changed nothing, and the others of its batch go on. Answers and wake-ups wait until
//! the batch is written.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::Timestamp;
use nexus_core::id::{InboxId, TenantKey};
use tokio::sync::mpsc;

use super::command::{Command, Reply};
use super::expiring::Expiring;
use super::keys::{self, TenantNo};
use super::recent::Appended;
use super::records::Counters;
use super::shared::{Shared, TenantFile};
use super::state::{Inbox, State, Tenant};
use super::store::{Space, Store, Txn};
use super::tally::Tally;
use super::watches::Topic;
use crate::bus::{BusError, Depth, Seq};

/// Gives an answer, now that the batch is written or has failed.
type Answer = Box<dyn FnOnce(Result<(), BusError>)>;

/// The commands of one batch.
pub(super) struct Turn<'a> {
    pub(super) state: &'a mut State,
    pub(super) shared: &'a Arc<Shared>,
    pub(super) writer: &'a mpsc::WeakSender<Command>,
    pub(super) txn: Txn,
    pub(super) now: Timestamp,
    pub(super) tally: Tally,
    pub(super) expiring: Expiring,
    durable: bool,
    answers: Vec<Answer>,
    wakes: HashSet<(TenantNo, Topic)>,
    appended: Vec<(Arc<TenantFile>, Seq, Appended)>,
    routed: Vec<(Arc<TenantFile>, u16, Seq)>,
}

impl<'a> Turn<'a> {
    pub(super) fn new(
        state: &'a mut State,
        shared: &'a Arc<Shared>,
        writer: &'a mpsc::WeakSender<Command>,
        store: &Arc<Store>,
        now: Timestamp,
    ) -> Self {
        Self {
            state,
            shared,
            writer,
            txn: Txn::new(store),
            now,
            tally: Tally::default(),
            expiring: Expiring::default(),
            durable: false,
            answers: Vec::new(),
            wakes: HashSet::new(),
            appended: Vec::new(),
            routed: Vec::new(),
        }
    }

    /// Microseconds since 1970.
    pub(super) fn micros(&self) -> i64 {
        self.now.as_microsecond()
    }

    /// The batch must reach the disk before anything of it is answered.
    pub(super) fn must_last(&mut self) {
        self.durable = true;
    }

    /// Whether the batch is synced before anything of it is answered.
    pub(super) fn is_durable(&self) -> bool {
        self.durable
    }

    /// Once written, whoever routes or one who waits for the inbox is told.
    pub(super) fn wake(&mut self, tenant: TenantNo, topic: Topic) {
        self.wakes.insert((tenant, topic));
    }

    /// Once written, readers may know that the event is there.
    pub(super) fn will_have(&mut self, file: Arc<TenantFile>, seq: Seq, event: Appended) {
        self.appended.push((file, seq, event));
    }

    /// Once written, the event waits no more to be routed.
    pub(super) fn will_have_routed(&mut self, file: Arc<TenantFile>, partition: u16, seq: Seq) {
        self.routed.push((file, partition, seq));
    }

    pub(super) fn apply(&mut self, command: Command) {
        match command {
            Command::Append(tenant, prepared, reply) => {
                let outcome = self.append(&tenant, *prepared);
                self.answer(reply, outcome);
            }
            Command::Acquire(tenant, partition, reply) => {
                let epoch = self.acquire(&tenant, partition);
                self.answer(reply, Ok(epoch));
            }
            Command::Route(tenant, routes, by, reply) => {
                let outcome = self.route(&tenant, by, routes);
                self.answer(reply, outcome);
            }
            Command::Pull(tenant, pull, reply) => self.answer_pull(&tenant, pull, reply),
            Command::Ack(tenant, session, ids, reply) => {
                let outcome = self.ack(&tenant, session, &ids);
                self.answer(reply, outcome);
            }
            Command::Nack(tenant, nack, reply) => {
                let outcome = self.nack(&tenant, *nack);
                self.answer(reply, outcome);
            }
            Command::EndSession(tenant, session, unsent, reply) => {
                let outcome = self.end_session(&tenant, session, &unsent);
                self.answer(reply, outcome);
            }
            Command::Replay(tenant, ids, inboxes, reply) => {
                let outcome = self.replay(&tenant, &ids, &inboxes);
                self.answer(reply, outcome);
            }
            Command::Requeue(tenant, inbox, ids, reply) => {
                let outcome = self.requeue(&tenant, inbox, &ids);
                self.answer(reply, outcome);
            }
            Command::DropDead(tenant, inbox, ids, reply) => {
                let outcome = self.drop_dead(&tenant, inbox, &ids);
                self.answer(reply, outcome);
            }
            Command::Depth(tenant, reply) => {
                let depth = self.depth(&tenant);
                self.answer(reply, Ok(depth));
            }
            Command::InboxDepth(tenant, inbox, reply) => {
                let outcome = self.inbox_depth(&tenant, inbox);
                self.answer(reply, outcome);
            }
            Command::Holds(tenant, seq, inboxes, reply) => {
                let holds = self.holds(&tenant, seq, inboxes);
                self.answer(reply, Ok(holds));
            }
            Command::Sweep(tenant, batch, reply) => {
                let outcome = self.sweep(&tenant, batch);
                self.answer(reply, outcome);
            }
            // What came back is looked at each turn, and the writer itself answers the last command.
            Command::Nudge | Command::Close(_) => {}
            #[cfg(test)]
            Command::Fault(_) => {}
        }
    }

    /// A refusal is answered at once, the rest when it is written.
    fn answer<T: Send + 'static>(&mut self, reply: Reply<T>, outcome: Result<T, BusError>) {
        match outcome {
            Ok(value) => self.defer(move |written| drop(reply.send(written.map(|()| value)))),
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    pub(super) fn defer(&mut self, answer: impl FnOnce(Result<(), BusError>) + 'static) {
        self.answers.push(Box::new(answer));
    }

    /// Writes the batch, answers and wakes.
    pub(super) fn finish(mut self) -> Result<(), BusError> {
        self.expiring.write(&mut self.txn);
        for (tenant, inbox) in self.state.take_freed() {
            self.wake(tenant, Topic::Inbox(inbox));
        }
        let written = self.txn.commit(self.durable);
        if written.is_ok() {
            self.state.keep_changes();
            self.tally.tell();
            for (file, seq, event) in self.appended {
                let (partition, id) = (event.head.thread.partition(), event.head.id);
                self.shared.recent.keep(file.number, seq, event);
                file.appended(partition, seq, id);
            }
            for (file, partition, seq) in self.routed {
                if let Some(mut notes) = file.unrouted(partition) {
                    notes.routed(seq);
                }
            }
        }
        for answer in self.answers {
            answer(written.clone());
        }
        if written.is_ok() {
            for (number, topic) in self.wakes {
                if let Some(tenant) = self.state.tenants.get(&number) {
                    self.shared.watches.bump(&tenant.key, topic);
                }
            }
        }
        written
    }

    /// The tenant's number; a new one if it has none.
    pub(super) fn number(&mut self, key: &TenantKey) -> TenantNo {
        if let Some(number) = self.state.numbers.get(key) {
            return *number;
        }
        let number = self.state.tenants.last_key_value().map_or(1, |(last, _)| last.saturating_add(1));
        let tenant = Tenant {
            key: key.clone(),
            file: self.shared.tenant_or(key, number),
            counters: Counters::default(),
            pending: 0,
            unrouted: 0,
            dead: 0,
            dead_bytes: 0,
            epochs: Default::default(),
        };
        self.txn.put(Space::Meta, keys::tenant_name(&key.to_string()), number.to_be_bytes());
        self.state.numbers.insert(key.clone(), number);
        self.state.tenants.insert(number, tenant);
        number
    }

    /// The tenant's number, if it has one.
    pub(super) fn known(&self, key: &TenantKey) -> Option<TenantNo> {
        self.state.numbers.get(key).copied()
    }

    pub(super) fn inbox(&mut self, tenant: TenantNo, inbox: InboxId) -> &mut Inbox {
        self.state.inboxes.entry((tenant, inbox)).or_default()
    }

    fn depth(&self, key: &TenantKey) -> Depth {
        let tenant = self.known(key).and_then(|number| self.state.tenants.get(&number));
        tenant.map_or_else(Depth::default, |tenant| Depth {
            appended: tenant.counters.last,
            unrouted: tenant.unrouted,
            pending_bytes: tenant.pending,
            stored_bytes: tenant.counters.stored,
            dead: tenant.dead,
            dead_bytes: tenant.dead_bytes,
        })
    }
}
