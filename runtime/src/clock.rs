//! The system's clock: the one place that reads it.

use nexus_core::clock::Clock;

/// The system's clock.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the clock that all others are told to take")]
pub fn system() -> Clock {
    Clock::new(jiff::Timestamp::now)
}
