//! The contract of the bus, against every backend: each test runs for each of [`contract::rig::Backend::ALL`].
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed expectation is how a test reports"
)]

mod contract {
    mod append;
    mod crash;
    mod dead;
    mod deliver;
    mod figures;
    mod model;
    mod rig;
    mod route;
    mod sweep;
    mod watch;
}
