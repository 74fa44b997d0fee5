//! What the server promises of what it answered.

use std::collections::HashMap;
use std::fmt;

/// What an answered write survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DurabilityClass {
    /// A loss of power: it is synced before the answer.
    Always,
    /// The end of the process; a loss of power may take about the last second.
    EverySecond,
    /// The end of the process; a loss of power may take what the system had not written yet.
    Unsynced,
    /// Nothing: there is no append-only file.
    Memory,
    /// The server does not tell.
    Unknown,
}

/// What the bus promises of what it answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Durability {
    /// What an answered write survives on the machine that took it.
    pub class: DurabilityClass,
    /// Replicas that must be there for a write to be taken; what they have still lags.
    pub replicas: u32,
    /// How the server makes room when its memory is full, if not by refusing writes.
    pub evicts: Option<String>,
}

impl Durability {
    /// Of a store that syncs before it answers.
    pub(crate) const SYNCED: Self = Self { class: DurabilityClass::Always, replicas: 0, evicts: None };

    pub(super) const UNKNOWN: Self = Self { class: DurabilityClass::Unknown, replicas: 0, evicts: None };

    /// From what CONFIG GET says.
    pub(super) fn read(config: &HashMap<String, String>) -> Self {
        let get = |name: &str| config.get(name).map(String::as_str).unwrap_or_default();
        let class = match (get("appendonly"), get("appendfsync")) {
            ("yes", "always") => DurabilityClass::Always,
            ("yes", "everysec") => DurabilityClass::EverySecond,
            ("yes", "no") => DurabilityClass::Unsynced,
            ("no", _) => DurabilityClass::Memory,
            _ => DurabilityClass::Unknown,
        };
        let bounded = !matches!(get("maxmemory"), "" | "0");
        let policy = get("maxmemory-policy");
        let evicts = bounded && !matches!(policy, "" | "noeviction");
        Self {
            class,
            replicas: get("min-replicas-to-write").parse().unwrap_or_default(),
            evicts: evicts.then(|| policy.to_owned()),
        }
    }

    /// Whether the server may drop events that it accepted.
    pub(super) fn drops_events(&self) -> bool {
        self.evicts.as_ref().is_some_and(|policy| policy.starts_with("allkeys"))
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.class {
            DurabilityClass::Always => "always: an answered write survives a loss of power",
            DurabilityClass::EverySecond => "everysec: a loss of power may take the last second",
            DurabilityClass::Unsynced => "no: a loss of power may take what was not written yet",
            DurabilityClass::Memory => "memory: the end of the server takes everything; set appendonly yes",
            DurabilityClass::Unknown => "unknown: the server does not tell its configuration",
        })?;
        write!(f, "; replicas needed for a write: {}", self.replicas)?;
        match &self.evicts {
            Some(policy) => write!(f, "; full memory drops keys ({policy}); set maxmemory-policy noeviction"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Durability {
        let config = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Durability::read(&config.collect())
    }

    #[test]
    fn the_class_follows_the_configuration() {
        for (appendonly, fsync, class) in [
            ("yes", "always", DurabilityClass::Always),
            ("yes", "everysec", DurabilityClass::EverySecond),
            ("yes", "no", DurabilityClass::Unsynced),
            ("no", "always", DurabilityClass::Memory),
        ] {
            let read = read(&[("appendonly", appendonly), ("appendfsync", fsync)]);
            assert_eq!((read.class, read.replicas, &read.evicts), (class, 0, &None));
        }
        assert_eq!(read(&[]), Durability::UNKNOWN);
        assert_eq!(read(&[("min-replicas-to-write", "2")]).replicas, 2);
    }

    #[test]
    fn eviction_counts_where_memory_is_bounded() {
        let of = |max, policy| read(&[("maxmemory", max), ("maxmemory-policy", policy)]);
        assert!(!of("0", "allkeys-lru").drops_events());
        assert!(of("1000", "allkeys-lru").drops_events());
        assert!(!of("1000", "noeviction").drops_events());
        let volatile = of("1000", "volatile-lru");
        assert!(!volatile.drops_events());
        assert!(volatile.to_string().contains("volatile-lru"));
    }
}
