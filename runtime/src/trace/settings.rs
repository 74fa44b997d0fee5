//! What the environment says of traces: OpenTelemetry's own variables, and nothing else.
//!
//! Values may hold keys, so no error and no log line shows one.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri};
use nexus_core::trace::Sampler;

const DISABLED: &str = "OTEL_SDK_DISABLED";
const EXPORTER: &str = "OTEL_TRACES_EXPORTER";
const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
const SAMPLER_ARG: &str = "OTEL_TRACES_SAMPLER_ARG";
const SERVICE: &str = "OTEL_SERVICE_NAME";
const DELAY: &str = "OTEL_BSP_SCHEDULE_DELAY";
const QUEUE: &str = "OTEL_BSP_MAX_QUEUE_SIZE";
const BATCH: &str = "OTEL_BSP_MAX_EXPORT_BATCH_SIZE";

/// The general variable of the exporter, and the one of traces, which goes before.
const ENDPOINT: [&str; 2] = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];
const HEADERS: [&str; 2] = ["OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"];
const PROTOCOL: [&str; 2] = ["OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"];
const COMPRESSION: [&str; 2] = ["OTEL_EXPORTER_OTLP_COMPRESSION", "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION"];
const TIMEOUT: [&str; 2] = ["OTEL_EXPORTER_OTLP_TIMEOUT", "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT"];

/// Why traces cannot be exported as the environment says.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The endpoint is none.
    #[error("{variable} holds no address of a collector; an example is http://127.0.0.1:4318")]
    Endpoint {
        /// The variable.
        variable: &'static str,
    },
    /// The endpoint holds a password.
    #[error("{variable} holds a user name or password: give it in {} instead, as Authorization=Basic …", HEADERS[0])]
    UserInfo {
        /// The variable.
        variable: &'static str,
    },
    /// Headers are none.
    #[error(
        "{variable}, item {item}: not a header; write name=value, the value URL-encoded, separated by commas"
    )]
    Header {
        /// The variable.
        variable: &'static str,
        /// From 1.
        item: usize,
    },
    /// A choice that is not offered.
    #[error("{variable} may be {expected}")]
    Choice {
        /// The variable.
        variable: &'static str,
        /// What it may be.
        expected: &'static str,
    },
    /// The certificates that servers are checked against cannot be read.
    #[error(
        "an https collector cannot be checked: this machine has no usable CA certificates; SSL_CERT_FILE may name some"
    )]
    Certificates(#[source] std::io::Error),
    /// The exporter cannot be made.
    #[error("cannot make the exporter of traces")]
    Exporter,
    /// It was made already.
    #[error("traces are set up already")]
    Twice,
}

/// What the environment says.
#[derive(Debug, PartialEq)]
pub(super) struct Settings {
    pub(super) sampler: Sampler,
    /// None when nothing is to be exported.
    pub(super) export: Option<Export>,
}

/// How spans are exported. Not to be printed: the endpoint may hold a key.
#[derive(PartialEq)]
pub(super) struct Export {
    pub(super) endpoint: Uri,
    pub(super) timeout: Duration,
    pub(super) service: Option<String>,
    pub(super) delay: Duration,
    pub(super) queue: usize,
    pub(super) batch: usize,
}

impl std::fmt::Debug for Export {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Export")
    }
}

impl Settings {
    /// Reads variables.
    pub(super) fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, TraceError> {
        // An empty variable counts as one that is not set.
        let get = |name: &'static str| {
            variable(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
        };
        let either = |[general, own]: [&'static str; 2]| {
            get(own).map(|value| (own, value)).or_else(|| Some((general, get(general)?)))
        };
        let disabled = get(DISABLED).is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let sampler = sampler(get(SAMPLER).as_deref(), get(SAMPLER_ARG).as_deref())?;
        let exporter = get(EXPORTER).unwrap_or_else(|| "otlp".to_owned());
        if !["otlp", "none"].contains(&exporter.as_str()) {
            return Err(TraceError::Choice { variable: EXPORTER, expected: "otlp or none" });
        }
        let endpoint = either(ENDPOINT).filter(|_| !disabled && exporter == "otlp");
        let Some((from, endpoint)) = endpoint else {
            return Ok(Self { sampler, export: None });
        };
        offered(either(PROTOCOL), "http/protobuf")?;
        offered(either(COMPRESSION), "none")?;
        if let Some((name, value)) = either(HEADERS) {
            check_headers(name, &value)?;
        }
        let queue = number(QUEUE, get(QUEUE), 2048, 1..=65_536, "a number from 1 to 65536")?;
        let batch = number(BATCH, get(BATCH), 512, 1..=8_192, "a number from 1 to 8192")?;
        let delay = number(DELAY, get(DELAY), 5_000, 1..=60_000, "milliseconds from 1 to 60000")?;
        let (timeout_from, timeout) = either(TIMEOUT).map_or((TIMEOUT[0], None), |(n, v)| (n, Some(v)));
        let timeout = number(timeout_from, timeout, 10_000, 1..=60_000, "milliseconds from 1 to 60000")?;
        let export = Export {
            endpoint: address(from, endpoint)?,
            timeout: Duration::from_millis(timeout as u64),
            service: get(SERVICE),
            delay: Duration::from_millis(delay as u64),
            queue,
            batch: batch.min(queue),
        };
        Ok(Self { sampler, export: Some(export) })
    }
}

/// Every span of an event agrees and the event's trace has no parent, so `parentbased_` changes nothing here.
fn sampler(name: Option<&str>, share: Option<&str>) -> Result<Sampler, TraceError> {
    match name.unwrap_or("parentbased_always_on") {
        "always_on" | "parentbased_always_on" => Ok(Sampler::ALWAYS),
        "always_off" | "parentbased_always_off" => Ok(Sampler::NEVER),
        "traceidratio" | "parentbased_traceidratio" => {
            let share = share.unwrap_or("1").parse().ok().and_then(Sampler::ratio);
            share.ok_or(TraceError::Choice {
                variable: SAMPLER_ARG,
                expected: "a number from 0 to 1, such as 0.1",
            })
        }
        _ => Err(TraceError::Choice {
            variable: SAMPLER,
            expected: "always_on, always_off, traceidratio, or one of these after parentbased_",
        }),
    }
}

fn address(variable: &'static str, mut text: String) -> Result<Uri, TraceError> {
    if variable == ENDPOINT[0] {
        text = format!("{}/v1/traces", text.trim_end_matches('/'));
    }
    let uri: Uri = text.parse().map_err(|_| TraceError::Endpoint { variable })?;
    let authority = uri.authority().filter(|authority| !authority.host().is_empty());
    let (Some("http" | "https"), Some(authority)) = (uri.scheme_str(), authority) else {
        return Err(TraceError::Endpoint { variable });
    };
    if authority.as_str().contains('@') {
        return Err(TraceError::UserInfo { variable });
    }
    Ok(uri)
}

/// The exporter leaves out what it cannot read; a key that is missing shall not be found out by its absence.
fn check_headers(variable: &'static str, headers: &str) -> Result<(), TraceError> {
    for (index, header) in headers.split(',').enumerate().filter(|(_, header)| !header.trim().is_empty()) {
        let wrong = || TraceError::Header { variable, item: index + 1 };
        let (name, value) = header.split_once('=').ok_or_else(wrong)?;
        HeaderName::try_from(name.trim()).map_err(|_| wrong())?;
        HeaderValue::try_from(value.trim()).map_err(|_| wrong())?;
    }
    Ok(())
}

fn offered(given: Option<(&'static str, String)>, only: &'static str) -> Result<(), TraceError> {
    match given {
        Some((variable, value)) if value != only => Err(TraceError::Choice { variable, expected: only }),
        _ => Ok(()),
    }
}

fn number(
    variable: &'static str,
    given: Option<String>,
    default: usize,
    range: std::ops::RangeInclusive<usize>,
    expected: &'static str,
) -> Result<usize, TraceError> {
    let Some(text) = given else { return Ok(default) };
    text.parse().ok().filter(|number| range.contains(number)).ok_or(TraceError::Choice { variable, expected })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Settings, TraceError> {
        Settings::read(|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn without_an_endpoint_nothing_is_exported() {
        let off = Settings { sampler: Sampler::ALWAYS, export: None };
        assert_eq!(read(&[]).unwrap(), off);
        assert_eq!(read(&[(ENDPOINT[0], " ")]).unwrap(), off);
        assert_eq!(read(&[(ENDPOINT[0], "http://c:4318"), (DISABLED, "TRUE")]).unwrap(), off);
        assert_eq!(read(&[(ENDPOINT[0], "http://c:4318"), (EXPORTER, "none")]).unwrap(), off);
    }

    #[test]
    fn the_endpoint_of_traces_is_taken_as_it_is_and_goes_before() {
        let uri = |variables: &[_]| read(variables).unwrap().export.unwrap().endpoint.to_string();
        assert_eq!(uri(&[(ENDPOINT[0], "http://c:4318/")]), "http://c:4318/v1/traces");
        assert_eq!(
            uri(&[(ENDPOINT[0], "https://lf.example/api/public/otel")]),
            "https://lf.example/api/public/otel/v1/traces"
        );
        assert_eq!(uri(&[(ENDPOINT[0], "http://c:4318"), (ENDPOINT[1], "http://d/x")]), "http://d/x");
    }

    #[test]
    fn what_is_wrong_is_told_by_variable_and_no_value_is_shown() {
        let endpoint = (ENDPOINT[0], "http://c:4318");
        let wrong: [&[(&'static str, &str)]; 12] = [
            &[(ENDPOINT[0], "hunter2:4318")],
            &[(ENDPOINT[0], "ftp://hunter2")],
            &[(ENDPOINT[1], "http://a b/hunter2")],
            &[(ENDPOINT[1], "http://me:hunter2@c:4318")],
            &[(HEADERS[0], "hunter2"), endpoint],
            &[(HEADERS[1], "a=b,Author ization=hunter2"), endpoint],
            &[(PROTOCOL[0], "grpc"), endpoint],
            &[(COMPRESSION[1], "gzip"), endpoint],
            &[(TIMEOUT[0], "10s"), endpoint],
            &[(QUEUE, "0"), endpoint],
            &[(SAMPLER, "sometimes")],
            &[(SAMPLER_ARG, "2"), (SAMPLER, "traceidratio")],
        ];
        for variables in wrong {
            let error = read(variables).unwrap_err().to_string();
            assert!(error.contains(variables[0].0), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn the_sampler_is_read_also_while_nothing_is_exported() {
        let sampler = |name, share| read(&[(SAMPLER, name), (SAMPLER_ARG, share)]).unwrap().sampler;
        assert_eq!(sampler("parentbased_traceidratio", "0.25"), Sampler::ratio(0.25).unwrap());
        assert_eq!(sampler("parentbased_always_off", ""), Sampler::NEVER);
        assert_eq!(sampler("", ""), Sampler::ALWAYS);
    }

    #[test]
    fn debug_output_shows_no_endpoint() {
        let settings = read(&[(ENDPOINT[0], "http://c:4318/?key=hunter2")]).unwrap();
        assert!(!format!("{settings:?}").contains("hunter2"));
    }
}
