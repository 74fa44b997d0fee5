//! What a pod's streams share: what it holds, and the one place that puts it in force.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::held::Held;
use super::v1;

/// Takes Updates in, one after the other, and puts what they change in force before they are answered.
#[derive(Clone)]
pub struct Stage(Arc<Shared>);

struct Shared {
    held: watch::Sender<Held>,
    put: Box<dyn Fn(&Held) + Send + Sync>,
    /// Held over each Update: two must not be put in force in the wrong order.
    turn: Mutex<Turn>,
}

/// Which stream configures, counted. What comes of a former one, whose Update was underway when the next said Hello, is
/// not taken any more: the next one's operator would not know of it, and never take it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Turn(u64);

impl Stage {
    /// A stage that holds this, and puts it in force at once. `put` may block for a while: it is called where that is allowed,
    /// but for this first time.
    pub fn new(held: Held, put: impl Fn(&Held) + Send + Sync + 'static) -> Self {
        put(&held);
        let held = watch::Sender::new(held);
        Self(Arc::new(Shared { held, put: Box::new(put), turn: Mutex::default() }))
    }

    /// What is in force, woken on each change.
    #[must_use]
    pub fn held(&self) -> watch::Receiver<Held> {
        self.0.held.subscribe()
    }

    /// A stream that configures begins, before it says what is held. Blocks.
    pub(super) fn begin(&self) -> Turn {
        let mut turn = self.0.turn.lock().unwrap_or_else(PoisonError::into_inner);
        turn.0 += 1;
        self.0.held.send_modify(Held::begin);
        *turn
    }

    /// Takes an Update in. None when it is of a former stream. Blocks.
    pub(super) fn take(&self, of: Turn, update: v1::Update) -> Option<v1::Answer> {
        let Shared { held, put, turn } = &*self.0;
        let turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        if *turn != of {
            return None;
        }
        // Those who look at what is held do not wait for it to be in force.
        let mut next = held.borrow().clone();
        let answer = next.take(update);
        put(&next);
        held.send_replace(next);
        Some(answer)
    }
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Stage").field(&*self.0.held.borrow()).finish()
    }
}
