//! Every metric there is: the one table from which the HELP lines and `docs/metrics.md` are made.
//!
//! A label's values are few and ours, or come from the configuration. Nothing that a sender chooses is one: no
//! path, no event, no token.

use std::fmt::Write as _;

use metrics::{describe_counter, describe_gauge, describe_histogram};
use metrics_process::Collector;

/// What a metric counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// How often values fall between bounds.
    Histogram,
}

impl Type {
    /// The type's name, as the exposition spells it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A metric.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What it counts.
    pub kind: Type,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it tells.
    pub help: &'static str,
}

const fn metric(
    kind: Type,
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Metric {
    Metric { name, kind, labels, help }
}

use Type::{Counter, Gauge, Histogram};

/// The metric whose values are counts of commands, not seconds.
pub const GROUP_SIZE: &str = "nexus_bus_commit_group_size";

/// All metrics, by room.
pub const METRICS: &[Metric] = &[
    // Ingest.
    metric(
        Counter,
        "nexus_ingest_deliveries_total",
        &["provider", "outcome"],
        "Webhook deliveries by what became of them; provider `none` is a request to no source.",
    ),
    metric(
        Histogram,
        "nexus_ingest_request_seconds",
        &["provider", "result"],
        "From the head of a request to a known source until its answer is known; result is accepted, refused (the sender's fault) or unavailable (ours).",
    ),
    metric(
        Histogram,
        "nexus_ingest_append_seconds",
        &[],
        "How long ingest waited until an event was durable.",
    ),
    metric(
        Gauge,
        "nexus_ingest_bodies_in_flight_bytes",
        &[],
        "Bytes of request bodies that are being taken in.",
    ),
    // The bus.
    metric(
        Counter,
        "nexus_bus_appended_total",
        &["outcome"],
        "Appends: stored, duplicate (the delivery is known) or quota (the tenant's is full).",
    ),
    metric(Counter, "nexus_bus_routed_total", &[], "Events that were put into inboxes, or into none."),
    metric(
        Counter,
        "nexus_bus_coalesced_total",
        &[],
        "Copies left out because the inbox had been told of the same change.",
    ),
    metric(Counter, "nexus_bus_handed_total", &[], "Copies handed to sessions, repeats included."),
    metric(Counter, "nexus_bus_acked_total", &[], "Copies acknowledged."),
    metric(Counter, "nexus_bus_nacked_total", &[], "Copies refused by agents."),
    metric(Counter, "nexus_bus_dead_total", &[], "Copies parked after their last attempt."),
    metric(Counter, "nexus_bus_dropped_total", &[], "Parked copies that an admin gave up."),
    metric(
        Counter,
        "nexus_bus_unreadable_total",
        &["records"],
        "Records that this version cannot read, each time one is passed over; they are kept.",
    ),
    metric(
        Counter,
        "nexus_bus_swept_total",
        &[],
        "Handled events that were forgotten after their retention.",
    ),
    metric(
        Histogram,
        "nexus_bus_commit_seconds",
        &["synced"],
        "How long a group of commands took from its first read until it was written; if synced, to the disk.",
    ),
    metric(Histogram, GROUP_SIZE, &[], "Commands committed together."),
    metric(
        Counter,
        "nexus_bus_commit_failures_total",
        &[],
        "Commits that failed: the embedded log is opened anew then; with Redis it is open what was done.",
    ),
    // Depth, refreshed every few seconds.
    metric(Gauge, "nexus_bus_unrouted_events", &["tenant"], "Events that wait to be routed."),
    metric(
        Gauge,
        "nexus_bus_pending_bytes",
        &["tenant"],
        "Bytes of events that wait to be routed or acknowledged; the quota is over these.",
    ),
    metric(Gauge, "nexus_bus_stored_bytes", &["tenant"], "Bytes of all events that are kept."),
    metric(
        Gauge,
        "nexus_inbox_waiting_events",
        &["tenant"],
        "Copies that wait in the inboxes of agents and aliases.",
    ),
    metric(Gauge, "nexus_inbox_held_events", &["tenant"], "Copies that sessions hold unacknowledged."),
    metric(Gauge, "nexus_inbox_dead_events", &["tenant"], "Copies that are parked."),
    metric(
        Gauge,
        "nexus_inbox_oldest_age_seconds",
        &["tenant"],
        "Age of the oldest copy that waits; 0 when none does.",
    ),
    metric(
        Counter,
        "nexus_depth_errors_total",
        &["error"],
        "Looks at the depth of queues that failed; the gauges above are then old.",
    ),
    // Routing.
    metric(Counter, "nexus_routed_total", &[], "Events that the route loop decided about."),
    metric(Counter, "nexus_route_errors_total", &["error"], "Failed turns of the route loop."),
    metric(
        Counter,
        "nexus_unreadable_events_total",
        &[],
        "Events that could not be read and were routed to nobody.",
    ),
    // Agents.
    metric(Gauge, "nexus_gateways", &[], "Gateways that live on this bus, as this one finds it."),
    metric(Counter, "nexus_beat_errors_total", &[], "Beats of this gateway that the bus did not hear."),
    metric(Counter, "nexus_bus_open_failures_total", &[], "Failed attempts to open the bus at the start."),
    metric(
        Gauge,
        "nexus_spool_waiting_events",
        &[],
        "Events that ingest has accepted and that are not in the bus yet.",
    ),
    metric(Gauge, "nexus_spool_waiting_bytes", &[], "Bytes of them on the disk."),
    metric(
        Gauge,
        "nexus_spool_oldest_age_seconds",
        &[],
        "For how long the oldest of them has waited in this process.",
    ),
    metric(
        Gauge,
        "nexus_spool_disk_bytes",
        &[],
        "Bytes of the spool on the disk, with what the bus has taken lately.",
    ),
    metric(Gauge, "nexus_spool_capacity_bytes", &[], "The most bytes that it may take."),
    metric(
        Gauge,
        "nexus_spool_unwritable",
        &[],
        "1 while the spool's disk takes nothing, and webhooks are answered 503.",
    ),
    metric(
        Gauge,
        "nexus_spool_info",
        &["class"],
        "Always 1; class is pod or volume: what the spool's folder outlives.",
    ),
    metric(
        Counter,
        "nexus_spool_answers_total",
        &["by"],
        "Accepted events by what made them durable when the sender was answered: bus, or spool because the bus was slow.",
    ),
    metric(Counter, "nexus_spool_refused_total", &["error"], "Events that the spool did not take."),
    metric(Histogram, "nexus_spool_sync_seconds", &[], "How long an fsync of the spool took."),
    metric(
        Counter,
        "nexus_spool_sync_failures_total",
        &[],
        "Fsyncs of the spool that failed; look at the disk.",
    ),
    metric(
        Counter,
        "nexus_spool_losses_total",
        &[],
        "Times that the bus was found to have less than before, and what was kept was looked through again.",
    ),
    metric(
        Counter,
        "nexus_spool_drain_failures_total",
        &["error"],
        "Steps from the spool into the bus that failed.",
    ),
    metric(
        Counter,
        "nexus_spool_damaged_total",
        &[],
        "Segments and records of the spool that cannot be read.",
    ),
    metric(
        Counter,
        "nexus_spool_shortened_total",
        &[],
        "Segments that went before their time because the disk was short: a bus that loses their events now has lost them.",
    ),
    metric(Gauge, "nexus_sessions", &[], "Sessions, those included that did not say Hello yet."),
    metric(Gauge, "nexus_agents_online", &["tenant"], "Agents with an open session."),
    metric(
        Gauge,
        "nexus_session_credit",
        &["tenant"],
        "Events that open sessions would still take; 0 with copies waiting means that agents do not keep up.",
    ),
    metric(Counter, "nexus_session_ends_total", &["reason"], "Sessions that ended."),
    metric(
        Counter,
        "nexus_session_store_errors_total",
        &["error"],
        "Sessions ended because an acknowledgement could not be written.",
    ),
    metric(
        Counter,
        "nexus_connects_refused_total",
        &["error", "transport"],
        "Sessions of agents that were refused.",
    ),
    metric(
        Counter,
        "nexus_http2_requests_refused_total",
        &[],
        "Calls without a session, such as reflection, that were refused because too many were open.",
    ),
    metric(Counter, "nexus_tokens_total", &["outcome"], "Requests for access tokens."),
    metric(Counter, "nexus_token_checks_total", &["outcome"], "Access tokens that were verified at connect."),
    metric(Counter, "nexus_delivers_total", &[], "Events sent to agents, repeats included."),
    metric(Counter, "nexus_acks_total", &[], "Acknowledgements of agents that are written."),
    metric(Counter, "nexus_nacks_total", &[], "Refusals of agents that are written."),
    metric(Counter, "nexus_pull_errors_total", &["error"], "Failed attempts to take events out of an inbox."),
    metric(
        Counter,
        "nexus_settle_errors_total",
        &["error"],
        "Failed attempts of sessions to tell the bus what they have, after it lost writes.",
    ),
    metric(
        Counter,
        "nexus_return_errors_total",
        &["error"],
        "Failed attempts to return what an ended session held.",
    ),
    metric(
        Histogram,
        "nexus_receipt_to_send_seconds",
        &["tenant"],
        "From the receipt of an event to its hand-over to an agent's connection, repeats included, replays not.",
    ),
    metric(
        Histogram,
        "nexus_send_to_ack_seconds",
        &["tenant"],
        "From the hand-over of an event until its acknowledgement is written: the time that agents take.",
    ),
    // The stop switch and the configuration.
    metric(Gauge, "nexus_stop_engagements", &[], "Stops in force; above 0 somebody is stopped."),
    metric(Gauge, "nexus_stop_alarms", &[], "Oddities of the stop latch that a person must look at."),
    metric(
        Gauge,
        "nexus_stop_known",
        &[],
        "1 once the stop switch's state is known; 0 means that nobody may run.",
    ),
    metric(
        Gauge,
        "nexus_stop_read_timestamp_seconds",
        &[],
        "When the stop policies were read last, Unix time.",
    ),
    metric(
        Counter,
        "nexus_stop_look_failures_total",
        &["error"],
        "Failed looks at the NexusPolicies of the API server; what is known of them stays, and is as old as the time above.",
    ),
    metric(
        Counter,
        "nexus_stop_watch_ends_total",
        &["reason"],
        "Watches of the NexusPolicies that ended before their time: by an error, late (a look found what it had not told) or went_back (the API server's store was restored).",
    ),
    metric(
        Gauge,
        "nexus_stop_unreadable_policies",
        &[],
        "NexusPolicies of the API server that this version cannot read in full; one that says stop means everybody.",
    ),
    metric(
        Gauge,
        "nexus_stop_heard_timestamp_seconds",
        &[],
        "When this gateway last read what others tell of stops, Unix time.",
    ),
    metric(
        Counter,
        "nexus_stop_heard_total",
        &["outcome"],
        "Stops that others told of: engaged by it, broken (it cannot be read), surplus (too many are known by hearsay alone).",
    ),
    metric(
        Gauge,
        "nexus_stop_broken_entries",
        &[],
        "Entries of the stops in Redis that cannot be read; above 0 a person must look.",
    ),
    metric(
        Counter,
        "nexus_stop_hear_failures_total",
        &["error"],
        "Failed attempts to read what others tell of stops.",
    ),
    metric(
        Counter,
        "nexus_stop_tell_failures_total",
        &["error"],
        "Failed attempts to tell others of stops; full: too many policies stand there.",
    ),
    metric(Gauge, "nexus_config_read_timestamp_seconds", &[], "When the folder was read last, Unix time."),
    metric(
        Gauge,
        "nexus_config_applied_timestamp_seconds",
        &[],
        "When a configuration was put in force last, Unix time.",
    ),
    metric(
        Gauge,
        "nexus_config_hash",
        &[],
        "A number that follows from the configuration in force: equal means equal.",
    ),
    metric(
        Gauge,
        "nexus_config_problems",
        &[],
        "Complaints about objects of the folder, as `nexus status` shows them.",
    ),
    // The config stream.
    metric(Gauge, "nexus_config_streams", &[], "Streams of this pod to replicas of the operator."),
    metric(
        Counter,
        "nexus_config_stream_failures_total",
        &["error"],
        "Streams to the operator that ended or did not begin, and failed lookups of its addresses.",
    ),
    metric(
        Gauge,
        "nexus_config_refused_resources",
        &[],
        "Resources of the operator that this pod cannot take; of each the former value is in force.",
    ),
    metric(
        Counter,
        "nexus_config_last_good_failures_total",
        &["step"],
        "Files of the last good configuration that could not be used (read) or written (write).",
    ),
    metric(Counter, "nexus_config_updates_total", &[], "Updates of the operator that were put in force."),
    metric(
        Counter,
        "nexus_config_streams_refused_total",
        &["reason"],
        "Streams of pods that the operator refused: rate, full, token, review (whose a token is cannot be found out), foreign (it is another role's or pod's), hello or closed.",
    ),
    // The operator.
    metric(Gauge, "nexus_operator_leading", &[], "1 while this replica writes status and scales."),
    metric(Gauge, "nexus_operator_tenants", &[], "Tenants that are compiled and published."),
    metric(Gauge, "nexus_operator_pods", &[], "Pods that are connected."),
    metric(
        Gauge,
        "nexus_operator_unsettled",
        &[],
        "Tenants of which some status is still to be written; it stays above 0 while writes fail.",
    ),
    metric(
        Gauge,
        "nexus_operator_held_back_tenants",
        &[],
        "Tenants that are deleted and stay in force in pods, since many were deleted at once; a restart of the operators lets them go.",
    ),
    metric(
        Counter,
        "nexus_operator_writes_total",
        &["target", "outcome"],
        "Writes to the API server by what is written; an idle system writes nothing.",
    ),
    metric(
        Counter,
        "nexus_operator_watch_failures_total",
        &["kind"],
        "Failures of watches at the API server; each is tried again.",
    ),
    // The process.
    metric(
        Counter,
        "nexus_role_restarts_total",
        &["role"],
        "Roles that ended by themselves and were started again.",
    ),
    metric(
        Counter,
        "nexus_http_accept_errors_total",
        &[],
        "Connections that could not be accepted, for want of file descriptors for example.",
    ),
    metric(Counter, "nexus_otlp_spans_exported_total", &[], "Spans that the collector took."),
    metric(
        Counter,
        "nexus_otlp_spans_dropped_total",
        &["reason"],
        "Spans that were lost: queue_full, failed (the collector did not take them) or shutdown.",
    ),
    metric(Gauge, "nexus_build_info", &["version"], "Always 1."),
    metric(Gauge, "nexus_tokio_workers", &[], "Threads that run tasks."),
    metric(Gauge, "nexus_tokio_alive_tasks", &[], "Tasks that are not finished."),
    metric(
        Gauge,
        "nexus_tokio_queued_tasks",
        &[],
        "Tasks in the shared run queue; if it stays above 0, the CPU is short.",
    ),
    metric(Counter, "process_cpu_seconds_total", &[], "CPU time, user and system, in seconds."),
    metric(Gauge, "process_resident_memory_bytes", &[], "Resident memory."),
    metric(Gauge, "process_virtual_memory_bytes", &[], "Virtual memory."),
    metric(
        Gauge,
        "process_virtual_memory_max_bytes",
        &[],
        "The most virtual memory that there may be; absent without a limit.",
    ),
    metric(Gauge, "process_open_fds", &[], "Open file descriptors."),
    metric(Gauge, "process_max_fds", &[], "The most file descriptors that there may be."),
    metric(Gauge, "process_threads", &[], "Threads of the operating system."),
    metric(Gauge, "process_start_time_seconds", &[], "When the process began, Unix time."),
];

/// Registers the HELP line of each metric.
pub(crate) fn describe() {
    for metric in METRICS {
        match metric.kind {
            Counter => describe_counter!(metric.name, metric.help),
            Gauge => describe_gauge!(metric.name, metric.help),
            Histogram => describe_histogram!(metric.name, metric.help),
        }
    }
    metrics::gauge!("nexus_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
}

/// Refreshes what is told of the process itself.
pub(crate) fn of_process(collector: &Collector) {
    collector.collect();
    let tokio = tokio::runtime::Handle::current().metrics();
    let gauges = [
        ("nexus_tokio_workers", tokio.num_workers()),
        ("nexus_tokio_alive_tasks", tokio.num_alive_tasks()),
        ("nexus_tokio_queued_tasks", tokio.global_queue_depth()),
    ];
    for (name, value) in gauges {
        metrics::gauge!(name).set(value as f64);
    }
}

/// `docs/metrics.md`.
#[must_use]
pub fn document() -> String {
    let mut text = String::from(HEAD);
    for metric in METRICS {
        let labels = metric.labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
        let _ = writeln!(text, "| `{}` | {} | {labels} | {} |", metric.name, metric.kind.name(), metric.help);
    }
    text
}

const HEAD: &str = "\
# Metrics

`GET /metrics` of the admin address, in the text format of Prometheus. This page is generated from
`runtime/src/metrics.rs`; `just update` rewrites it.

Labels are bounded: `tenant` is `namespace/name` of a Tenant of the configuration, every other value is one of a few
words. A counter, a histogram or an error label appears once there is something to count. Gauges by tenant are
refreshed every few seconds; those of a tenant that is gone stay at 0.

| metric | type | labels | tells |
| --- | --- | --- | --- |
";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_follow_the_practice_of_prometheus() {
        let mut names = BTreeSet::new();
        for metric in METRICS {
            let name = metric.name;
            assert!(names.insert(name), "{name} stands twice");
            assert_eq!(name.ends_with("_total"), metric.kind == Counter, "{name}: _total is for counters");
            assert!(!["_ms", "_millis", "_kb"].iter().any(|unit| name.contains(unit)), "{name}: base units");
            if metric.kind == Histogram && name != GROUP_SIZE {
                assert!(name.ends_with("_seconds"), "{name}: its buckets are seconds");
            }
            assert!(metric.help.ends_with('.') && !metric.help.contains('|'), "{name}: a sentence");
        }
    }

    /// All Rust code of the workspace's crates, but for this file.
    fn sources(folder: &std::path::Path, into: &mut String) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, into);
            } else if path.extension().is_some_and(|end| end == "rs")
                && !path.ends_with("runtime/src/metrics.rs")
            {
                into.push_str(&std::fs::read_to_string(&path).unwrap());
            }
        }
    }

    #[test]
    fn what_is_counted_is_in_the_table_and_the_other_way_round() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut code = String::new();
        for member in std::fs::read_dir(root).unwrap() {
            let (crate_, src) = (member.as_ref().unwrap().path(), member.unwrap().path().join("src"));
            if crate_.join("Cargo.toml").exists() && src.exists() {
                sources(&src, &mut code);
            }
        }
        let named = |call: &str| -> Vec<String> {
            let calls = code.split(call).skip(1).filter_map(|rest| rest.trim_start().strip_prefix('"'));
            calls.map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
        };
        let mut seen = 0;
        for (call, kind) in [("counter!(", Counter), ("gauge!(", Gauge), ("histogram!(", Histogram)] {
            for name in named(call) {
                let metric = METRICS.iter().find(|metric| metric.name == name);
                assert_eq!(metric.map(|metric| metric.kind), Some(kind), "{name}: add it to METRICS");
                seen += 1;
            }
        }
        assert!(seen > 30, "{seen} calls found");
        for metric in METRICS.iter().filter(|metric| !metric.name.starts_with("process_")) {
            let elsewhere = code.contains(&format!("\"{}\"", metric.name));
            assert!(
                elsewhere || metric.name.starts_with("nexus_tokio_") || metric.name == "nexus_build_info",
                "{}: nobody counts it any more",
                metric.name
            );
        }
    }

    /// Each expression with the metrics that it names, and the labels that it asks for.
    fn check(expression: &str) -> usize {
        let word = |text: &str| text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').count();
        let (mut named, mut labels) = (Vec::new(), BTreeSet::new());
        let starts = expression.match_indices("nexus_").chain(expression.match_indices("process_"));
        for (at, _) in
            starts.filter(|(at, _)| !expression[..*at].ends_with(|c: char| c == '_' || c.is_alphanumeric()))
        {
            let name = &expression[at..at + word(&expression[at..])];
            let series = ["_bucket", "_count", "_sum"].iter().find_map(|end| name.strip_suffix(end));
            let find = |name: &str| METRICS.iter().find(|metric| metric.name == name);
            let of_histogram = series.and_then(find).filter(|metric| metric.kind == Histogram);
            let metric = of_histogram.or_else(|| find(name).filter(|metric| metric.kind != Histogram));
            named.push(metric.unwrap_or_else(|| panic!("{expression}: there is no {name}")));
            if let Some(asked) = expression[at + name.len()..].strip_prefix('{') {
                let asked = asked.split('}').next().unwrap();
                labels.extend(asked.split(',').map(|each| &each.trim()[..word(each.trim())]));
            }
        }
        for by in expression.split("by (").skip(1) {
            labels.extend(by.split(')').next().unwrap().split(',').map(str::trim));
        }
        for label in labels.into_iter().filter(|label| !["instance", "job", "le"].contains(label)) {
            assert!(
                named.iter().any(|metric| metric.labels.contains(&label)),
                "{expression}: no label {label}"
            );
        }
        named.len()
    }

    #[test]
    fn alerts_dashboard_and_autoscaling_ask_for_what_there_is() {
        use serde_json::Value;
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/monitoring");
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
        let alerts: Value = serde_saphyr::from_str(&read("alerts.yaml")).unwrap();
        let mut names = BTreeSet::new();
        for rule in
            alerts["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap())
        {
            let name = rule["alert"].as_str().unwrap();
            assert!(names.insert(name.to_owned()), "{name} stands twice");
            assert!(check(rule["expr"].as_str().unwrap()) > 0, "{name} asks for nothing");
            assert!(
                rule["annotations"]["summary"].is_string() && rule["labels"]["severity"].is_string(),
                "{name}"
            );
        }
        assert!(names.len() > 15);
        let dashboard: Value = serde_json::from_str(&read("dashboard.json")).unwrap();
        let panels = dashboard["panels"].as_array().unwrap();
        let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
        let asked: usize = targets.map(|target| check(target["expr"].as_str().unwrap())).sum();
        assert!(asked > 40, "{asked} metrics are drawn");
        let queries = dashboard["templating"]["list"].as_array().unwrap().iter();
        queries
            .filter_map(|list| list["query"]["query"].as_str())
            .for_each(|query| assert!(check(query) > 0));
        let autoscaling = read("autoscaling.yaml");
        for document in autoscaling.split("\n---\n") {
            let scaled: Value = serde_saphyr::from_str(document).unwrap();
            let query = scaled["spec"]["triggers"][0]["metadata"]["query"].as_str().unwrap();
            assert!(check(query) > 0, "{query}");
        }
    }

    #[test]
    fn the_document_is_the_table() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
        if std::env::var_os("UPDATE_TABLES").is_some() {
            std::fs::write(&path, document()).unwrap();
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(found, document(), "docs/metrics.md is stale; `just update` rewrites it");
    }
}
