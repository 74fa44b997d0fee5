//! What outlives a process: for now the [`bus`], which keeps every accepted event until it was acknowledged.
//!
//! It refuses to know what an event means, whom it concerns or what a CR is. The tenant is an argument of
//! every call, so that no caller can read another tenant's events by forgetting a filter.
//!
//! The flow, in five lines:
//! 1. ingest calls [`bus::Bus::append`]: dedupe by delivery key and durable append are one step;
//! 2. the owner of a partition reads [`bus::Bus::unrouted`] and calls [`bus::Bus::route`]: fenced, one step
//!    that marks the event routed, drops coalesced copies and puts its id into inboxes;
//! 3. a session calls [`bus::Bus::pull`] against its credit, then [`bus::Bus::ack`] or [`bus::Bus::nack`];
//! 4. [`bus::Bus::end_session`] returns what a dead session held;
//! 5. [`bus::Bus::sweep`] forgets handled events and old keys; never the unacknowledged.

pub mod bus;
pub mod embedded;
pub mod redis;
pub mod spool;
mod watches;

// The tests within share the contract's rig, which knows the crate by its name.
#[cfg(test)]
extern crate self as nexus_store;

/// Locks. What is behind the locks of this crate is whole also after a panic of whoever held one.
pub(crate) fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
