//! Where Redis is and how to speak to it, read from a URL.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use percent_encoding::percent_decode_str;

const REDIS_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// How long a command may take.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a new connection may take, its handshakes included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A user's name and password; neither is ever shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Credentials {
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let given = |text: &Option<String>| if text.is_some() { "given" } else { "none" };
        write!(f, "user {}, password {}", given(&self.user), given(&self.password))
    }
}

/// A host and its port.
pub(super) type Address = (String, u16);

/// What to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    Server(Address),
    Socket(PathBuf),
    Sentinel { sentinels: Vec<Address>, service: String, credentials: Credentials },
}

/// Where Redis is and how to speak to it.
///
/// - `redis://user:password@host:port/db`, or with `rediss` over TLS;
/// - `redis-sentinel://user:password@host:port,host:port/service`, or with `rediss-sentinel` over TLS;
/// - `redis+unix:///path/to/socket`.
///
/// After a `?`: `db=N` (also where the path says something else), `ca=FILE` (a PEM file of the authorities to trust
/// instead of the system's; TLS only), `sentinel-user=NAME` and `sentinel-password=WORD`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisSettings {
    pub(super) target: Target,
    pub(super) credentials: Credentials,
    pub(super) database: u8,
    pub(super) tls: bool,
    pub(super) ca: Option<PathBuf>,
    /// How long a command may take until its outcome counts as unknown.
    pub command_timeout: Duration,
    /// How long a new connection may take.
    pub connect_timeout: Duration,
    /// Whether the bus listens to wake-ups. Who only appends does not: every step of the bus costs each listener a message.
    pub listens: bool,
}

/// A part of a URL as an error shows it: not at all where it may be part of a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown(Option<String>);

impl Shown {
    fn part(text: &str) -> Self {
        Self(Some(text.to_owned()))
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(text) => write!(f, "`{text}`"),
            None => write!(f, "a part that is not shown beside a password (percent-encode the password)"),
        }
    }
}

/// What is wrong with a URL. It never repeats the URL, which may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RedisUrlError {
    /// Another scheme, or none.
    #[error(
        "a Redis URL begins with redis://, rediss://, redis-sentinel://, rediss-sentinel:// or redis+unix://"
    )]
    Scheme,
    /// A host that cannot be read.
    #[error("{0} is no host with a port: write host:port, or [address]:port for IPv6")]
    Host(Shown),
    /// A database that cannot be.
    #[error("{0} is no database: write a number from 0 to 255")]
    Database(Shown),
    /// No service was named.
    #[error(
        "a redis-sentinel URL ends with the name of the service, such as redis-sentinel://host:26379/mymaster"
    )]
    Service,
    /// No socket was named.
    #[error("a redis+unix URL names the socket's absolute path, such as redis+unix:///run/redis.sock")]
    Socket,
    /// An unknown parameter.
    #[error("{0} is no parameter of a Redis URL: there are db, ca, sentinel-user and sentinel-password")]
    Parameter(Shown),
    /// An authority without TLS.
    #[error("`ca` needs TLS: begin the URL with rediss:// or rediss-sentinel://")]
    CaWithoutTls,
    /// A text that is no UTF-8 when decoded.
    #[error("the {0} is not UTF-8 after percent-decoding")]
    Encoding(&'static str),
}

impl RedisUrlError {
    /// The same without any part of the URL.
    fn withheld(self) -> Self {
        match self {
            Self::Host(_) => Self::Host(Shown(None)),
            Self::Database(_) => Self::Database(Shown(None)),
            Self::Parameter(_) => Self::Parameter(Shown(None)),
            other => other,
        }
    }
}

impl FromStr for RedisSettings {
    type Err = RedisUrlError;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        let (scheme, rest) = url.trim().split_once("://").ok_or(RedisUrlError::Scheme)?;
        // Who has not percent-encoded a password splits it where a part of the URL seems to end.
        let guarded = rest.contains('@') || rest.contains("password");
        Self::parse(scheme, rest).map_err(|error| if guarded { error.withheld() } else { error })
    }
}

impl RedisSettings {
    fn parse(scheme: &str, rest: &str) -> Result<Self, RedisUrlError> {
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        let query = Query::parse(query)?;
        let mut database = query.database;
        let target = match scheme {
            "redis" | "rediss" => {
                if !path.is_empty() {
                    database = Some(parse_database(path)?);
                }
                Target::Server(parse_address(hosts, REDIS_PORT)?)
            }
            "redis-sentinel" | "rediss-sentinel" => {
                let service = decode(path, "service")?;
                if service.is_empty() || service.contains('/') {
                    return Err(RedisUrlError::Service);
                }
                let sentinels = hosts.split(',').map(|host| parse_address(host, SENTINEL_PORT));
                let credentials = query.sentinel;
                Target::Sentinel { sentinels: sentinels.collect::<Result<_, _>>()?, service, credentials }
            }
            "redis+unix" if path.is_empty() => return Err(RedisUrlError::Socket),
            "redis+unix" => Target::Socket(PathBuf::from(format!("/{}", decode(path, "path")?))),
            _ => return Err(RedisUrlError::Scheme),
        };
        let tls = scheme.starts_with("rediss");
        if query.ca.is_some() && !tls {
            return Err(RedisUrlError::CaWithoutTls);
        }
        Ok(Self {
            target,
            credentials: parse_credentials(user)?,
            database: database.unwrap_or_default(),
            tls,
            ca: query.ca,
            command_timeout: COMMAND_TIMEOUT,
            listens: true,
            connect_timeout: CONNECT_TIMEOUT,
        })
    }
}

/// What stands after the `?`.
#[derive(Default)]
struct Query {
    database: Option<u8>,
    ca: Option<PathBuf>,
    sentinel: Credentials,
}

impl Query {
    fn parse(text: &str) -> Result<Self, RedisUrlError> {
        let mut query = Self::default();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "db" => query.database = Some(parse_database(value)?),
                "ca" => query.ca = Some(PathBuf::from(decode(value, "ca")?)),
                "sentinel-user" => query.sentinel.user = Some(decode(value, "sentinel-user")?),
                "sentinel-password" => query.sentinel.password = Some(decode(value, "sentinel-password")?),
                _ => return Err(RedisUrlError::Parameter(Shown::part(name))),
            }
        }
        Ok(query)
    }
}

fn decode(text: &str, what: &'static str) -> Result<String, RedisUrlError> {
    let text = percent_decode_str(text).decode_utf8().map_err(|_| RedisUrlError::Encoding(what))?;
    Ok(text.into_owned())
}

fn parse_database(text: &str) -> Result<u8, RedisUrlError> {
    text.parse().map_err(|_| RedisUrlError::Database(Shown::part(text)))
}

fn parse_credentials(text: &str) -> Result<Credentials, RedisUrlError> {
    let (user, password) = match text.split_once(':') {
        Some((user, password)) => (user, Some(decode(password, "password")?)),
        None => (text, None),
    };
    let user = decode(user, "user")?;
    Ok(Credentials { user: (!user.is_empty()).then_some(user), password })
}

fn parse_address(text: &str, port: u16) -> Result<Address, RedisUrlError> {
    let wrong = || RedisUrlError::Host(Shown::part(text));
    let (host, rest) = match text.strip_prefix('[') {
        Some(text) => text.split_once(']').ok_or_else(wrong)?,
        None => text.find(':').map_or((text, ""), |colon| text.split_at(colon)),
    };
    let port = match rest.strip_prefix(':') {
        Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?,
        None if rest.is_empty() => port,
        None => return Err(wrong()),
    };
    if host.is_empty() { Err(wrong()) } else { Ok((host.to_owned(), port)) }
}

/// For logs: what is connected to, and no credentials.
impl fmt::Display for RedisSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tls = if self.tls { " over TLS" } else { "" };
        match &self.target {
            Target::Server((host, port)) => write!(f, "{host}:{port}")?,
            Target::Socket(path) => write!(f, "{}", path.display())?,
            Target::Sentinel { service, sentinels, .. } => {
                write!(f, "{service} of {} sentinels", sentinels.len())?;
            }
        }
        write!(f, "{tls}, database {}", self.database)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> RedisSettings {
        url.parse().unwrap()
    }

    #[test]
    fn a_server_is_named_by_a_url() {
        let plain = parse("redis://cache");
        assert_eq!(plain.target, Target::Server(("cache".into(), 6379)));
        assert_eq!((plain.database, plain.tls, &plain.credentials), (0, false, &Credentials::default()));
        assert_eq!(plain.command_timeout, Duration::from_secs(2));
        let full = parse("rediss://bus:p%40ss%2Fw@[::1]:7000/3?ca=/etc/ca%20s.pem");
        assert_eq!(full.target, Target::Server(("::1".into(), 7000)));
        assert_eq!(full.credentials.user.as_deref(), Some("bus"));
        assert_eq!(full.credentials.password.as_deref(), Some("p@ss/w"));
        assert_eq!((full.database, full.tls, full.ca), (3, true, Some("/etc/ca s.pem".into())));
        assert_eq!(parse("redis://:word@h").credentials.user, None);
    }

    #[test]
    fn sentinels_and_sockets_are_named_by_a_url() {
        let trio = parse("redis-sentinel://u:w@a:1,b,[::1]:3/main?db=4&sentinel-user=s&sentinel-password=x");
        let Target::Sentinel { sentinels, service, credentials } = &trio.target else {
            panic!("{:?}", trio.target);
        };
        assert_eq!(*sentinels, [("a".to_owned(), 1), ("b".to_owned(), 26379), ("::1".to_owned(), 3)]);
        assert_eq!((service.as_str(), trio.database), ("main", 4));
        assert_eq!(credentials.password.as_deref(), Some("x"));
        let socket = parse("redis+unix:///run/redis.sock?db=2");
        assert_eq!(socket.target, Target::Socket("/run/redis.sock".into()));
        assert_eq!(socket.database, 2);
    }

    #[test]
    fn what_is_wrong_is_said_without_the_url() {
        let cases = [
            ("http://secret@host", RedisUrlError::Scheme),
            ("host:6379", RedisUrlError::Scheme),
            ("redis://:6379", RedisUrlError::Host(Shown::part(":6379"))),
            ("redis://host:port", RedisUrlError::Host(Shown::part("host:port"))),
            ("redis://[::1", RedisUrlError::Host(Shown::part("[::1"))),
            ("redis://host/first", RedisUrlError::Database(Shown::part("first"))),
            ("redis://host/256", RedisUrlError::Database(Shown::part("256"))),
            ("redis://u:secret@host:port", RedisUrlError::Host(Shown(None))),
            ("redis://u:sec/ret@host", RedisUrlError::Database(Shown(None))),
            ("redis://u:sec?ret@host", RedisUrlError::Parameter(Shown(None))),
            ("redis://host?sentinel-password=sec&ret", RedisUrlError::Parameter(Shown(None))),
            ("redis-sentinel://u:secret@host", RedisUrlError::Service),
            ("redis+unix://", RedisUrlError::Socket),
            ("redis://host?timeout=3", RedisUrlError::Parameter(Shown::part("timeout"))),
            ("redis://u:secret@host?ca=x", RedisUrlError::CaWithoutTls),
            ("redis://u:%ff@host", RedisUrlError::Encoding("password")),
        ];
        for (url, expected) in cases {
            let error = RedisSettings::from_str(url).unwrap_err();
            assert!(!error.to_string().contains("secret"));
            assert_eq!(error, expected, "{url}");
        }
        let told = RedisSettings::from_str("redis://u:sec/ret@host").unwrap_err().to_string();
        assert!(told.contains("no database") && told.contains("percent-encode the password"), "{told}");
    }

    proptest::proptest! {
        /// Whatever stands in a password that nobody has encoded. Its letters are none of the messages' own.
        #[test]
        fn no_error_shows_two_letters_of_a_password(
            word in "([QXZJ]{2}|[/?#@:&=%,\\[\\]0-9]){1,8}",
            url in proptest::sample::select(vec![
                "redis://:WORD@host:1/2",
                "rediss://user:WORD@[::1]?ca=/ca.pem",
                "redis-sentinel://user:WORD@a,b/main?sentinel-user=u",
                "redis-sentinel://a,b/main?sentinel-password=WORD",
                "redis+unix://:WORD@/run/redis.sock?db=1",
            ]),
        ) {
            if let Err(error) = RedisSettings::from_str(&url.replace("WORD", &word)) {
                let told = format!("{error} {error:?}");
                let letters: Vec<_> = word.chars().collect();
                for pair in letters.windows(2).filter(|pair| pair.iter().any(|c| "QXZJ".contains(*c))) {
                    let pair: String = pair.iter().collect();
                    proptest::prop_assert!(!told.contains(&pair), "{pair} is in {told}");
                }
            }
        }
    }

    #[test]
    fn no_credential_is_shown() {
        for url in ["redis://name:word@host", "redis-sentinel://name:word@host/m?sentinel-password=word"] {
            let settings = parse(url);
            let shown = format!("{settings:?} {settings:#?} {settings}");
            assert!(!shown.contains("word\"") && !shown.contains("name\""), "{shown}");
            assert!(shown.contains("password given"));
        }
    }
}
