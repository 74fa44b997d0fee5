//! The contract of the bus, against every backend: each test runs for each of [`contract::rig::Backend::ALL`].
//!
//! Who ends the sessions of a process that died: whoever owns the session calls `Bus::end_session`, in good order
//! the process itself, else who finds it dead (the holder of its lease, when several gateways share a backend).
//! Until then the session holds what it holds: the end of a process, or of one handle, releases nothing by itself,
//! since the sessions of other processes live on. So a test that restarts calls [`contract::rig::Rig::end_dead`]
//! before it expects anything back, and expects nothing of how many copies that returned. The embedded log has one
//! process and keeps its leases in memory, so there they die with it: `tests/leases.rs`.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed expectation is how a test reports")]

mod contract {
    mod append;
    mod crash;
    mod dead;
    mod dead_inboxes;
    mod deliver;
    mod figures;
    mod fleet;
    mod model;
    mod offer_faults;
    mod offers;
    mod redis;
    mod rig;
    mod route;
    mod spool;
    mod stops;
    mod sweep;
    mod thread;
    mod watch;
}
