//! How a pod reaches the operator: its name, its certificate authority, and the token that says who the pod is.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use nexus_core::secret::Secret;
use nexus_wire::config::{KEEPALIVE_ANSWER, KEEPALIVE_EVERY, Operators};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Uri};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);

/// The most bytes of a token or of certificates.
const MAX_FILE: u64 = 1 << 20;

/// Where the operator is: `https://NAME:PORT`, or `http://` on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorUrl {
    /// Without TLS: on a loopback address only.
    plain: bool,
    host: String,
    port: u16,
}

impl OperatorUrl {
    /// Whether it has no certificate.
    pub fn is_plain(&self) -> bool {
        self.plain
    }
}

impl fmt::Display for OperatorUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { plain, host, port } = self;
        let scheme = if *plain { "http" } else { "https" };
        write!(f, "{scheme}://{host}:{port}")
    }
}

impl FromStr for OperatorUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || "give https://NAME:PORT, such as https://nexus-operator.nexus-system.svc:8443".to_owned();
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        let (host, port) = uri.host().zip(uri.port_u16()).ok_or_else(wrong)?;
        let bare = uri.path() == "/" && uri.query().is_none();
        let named = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
        let plain = match uri.scheme_str() {
            Some("https") if bare && named => false,
            Some("http") if bare && named => true,
            _ => return Err(wrong()),
        };
        let address: Result<IpAddr, _> = host.trim_matches(['[', ']']).parse();
        if plain && !(host == "localhost" || address.is_ok_and(|address| address.is_loopback())) {
            // The token and what comes for it would be for all to read.
            return Err(format!("http:// is for a loopback address only; {}", wrong()));
        }
        Ok(Self { plain, host: host.to_owned(), port })
    }
}

/// How a pod reaches the operator, and as whom.
#[derive(Debug, Clone)]
pub struct OperatorSettings {
    /// Where it is.
    pub url: OperatorUrl,
    /// The file with the certificates that its own may be signed by; without TLS none.
    pub ca: Option<PathBuf>,
    /// The file with the bearer token, read anew for each connection.
    pub token: PathBuf,
    /// The pod's name.
    pub pod: String,
}

impl Operators for OperatorSettings {
    async fn addresses(&self) -> Result<Vec<SocketAddr>, Box<dyn std::error::Error + Send + Sync>> {
        let OperatorUrl { host, port, .. } = &self.url;
        let found = tokio::net::lookup_host((host.trim_matches(['[', ']']), *port)).await;
        let found = found.map_err(|error| format!("cannot look {} up: {error}", self.url))?;
        Ok(found.collect())
    }

    async fn connect(
        &self,
        address: SocketAddr,
    ) -> Result<Channel, Box<dyn std::error::Error + Send + Sync>> {
        let scheme = if self.url.plain { "http" } else { "https" };
        let mut endpoint = Endpoint::from_shared(format!("{scheme}://{address}"))?
            .origin(self.url.to_string().parse()?)
            .connect_timeout(CONNECT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEPALIVE_EVERY)
            .keep_alive_timeout(KEEPALIVE_ANSWER)
            .keep_alive_while_idle(true);
        if let (Some(ca), false) = (&self.ca, self.url.plain) {
            // Read anew as well: authorities are exchanged.
            let ca = Certificate::from_pem(read(ca).await?.expose());
            let name = self.url.host.trim_matches(['[', ']']);
            endpoint = endpoint.tls_config(ClientTlsConfig::new().ca_certificate(ca).domain_name(name))?;
        }
        Ok(endpoint.connect().await?)
    }

    async fn token(&self) -> Result<Secret, Box<dyn std::error::Error + Send + Sync>> {
        read(&self.token).await
    }
}

/// A small file.
async fn read(path: &PathBuf) -> Result<Secret, Box<dyn std::error::Error + Send + Sync>> {
    let told = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
    let length = tokio::fs::metadata(path).await.map_err(told)?.len();
    if length > MAX_FILE {
        return Err(format!("{} has more than {MAX_FILE} bytes", path.display()).into());
    }
    Ok(Secret::new(tokio::fs::read(path).await.map_err(told)?))
}

#[cfg(test)]
mod tests {
    use nexus_runtime::Drain;
    use nexus_runtime::tasks::Tasks;
    use nexus_wire::config::{Identify, Identity, Publisher, Role, Unidentified, v1};
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    use tonic::transport::server::TcpIncoming;
    use tonic::transport::{Identity as Certified, Server, ServerTlsConfig};

    use super::*;

    #[test]
    fn an_operator_is_named_with_tls_or_is_on_this_machine() {
        for good in [
            "https://operator.nexus-system.svc:8443",
            "https://10.0.0.7:8443",
            "https://[fd00::1]:8443",
            "http://localhost:1",
            "http://127.0.0.1:1",
            "http://[::1]:1",
        ] {
            assert_eq!(good.parse::<OperatorUrl>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "operator:8443",
            "https://operator",
            "https://operator:8443/path",
            "https://operator:8443?a",
            "https://me:word@operator:8443",
            "ftp://operator:8443",
        ] {
            let error = bad.parse::<OperatorUrl>().unwrap_err();
            assert!(error.contains("https://NAME:PORT") && !error.contains("word"), "{bad}: {error}");
        }
        for plain in ["http://operator:1", "http://10.0.0.7:1", "http://localhost.example:1"] {
            let error = plain.parse::<OperatorUrl>().unwrap_err();
            assert!(error.contains("loopback"), "{plain}: {error}");
        }
        assert_eq!(
            "https://operator:8443/".parse::<OperatorUrl>().unwrap().to_string(),
            "https://operator:8443"
        );
    }

    /// Says who everybody is by what the token says, to the letter.
    #[derive(Clone)]
    struct Letters;

    impl Identify for Letters {
        async fn identify(&self, token: &str) -> Result<Identity, Unidentified> {
            match token {
                "t0ken" => Ok(Identity { role: Role::Gateway, pod: None }),
                _ => Err(Unidentified::Refused("nobody's".to_owned())),
            }
        }
    }

    fn authority() -> (String, Issuer<'static, KeyPair>) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap().pem();
        (certificate, Issuer::new(params, key))
    }

    /// What the operator answers to Hello, or why there is no connection.
    async fn hello(settings: &OperatorSettings) -> Result<(), String> {
        // The only one on which the test listens.
        let mut addresses = settings.addresses().await.unwrap().into_iter();
        let address = addresses.find(SocketAddr::is_ipv4).unwrap();
        let channel = settings.connect(address).await;
        let channel = channel.map_err(|error| format!("{:#}", anyhow::anyhow!(error)))?;
        let token = settings.token().await.unwrap();
        let token = std::str::from_utf8(token.expose()).unwrap().trim().to_owned();
        let role = v1::Role::Gateway.into();
        let hello = v1::Hello { role, pod: "pod".to_owned(), ..v1::Hello::default() };
        let message = v1::PodMessage { message: Some(v1::pod_message::Message::Hello(hello)) };
        let said = futures_util::StreamExt::chain(
            futures_util::stream::iter([message]),
            futures_util::stream::pending(),
        );
        let mut request = tonic::Request::new(said);
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        let mut client = v1::configuration_client::ConfigurationClient::new(channel);
        client.stream(request).await.map(drop).map_err(|status| status.to_string())
    }

    #[tokio::test]
    async fn an_operator_shows_a_certificate_of_the_given_authority_and_its_own_name() {
        let (ours, issuer) = authority();
        let key = KeyPair::generate().unwrap();
        let names = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = names.signed_by(&key, &issuer).unwrap().pem();
        let tls = ServerTlsConfig::new().identity(Certified::from_pem(certificate, key.serialize_pem()));
        let incoming = TcpIncoming::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let port = incoming.local_addr().unwrap().port();
        let publisher = Publisher::new();
        publisher.complete();
        let server = Server::builder().tls_config(tls).unwrap().add_service(publisher.service(Letters));
        let mut tasks = Tasks::new("test", Drain::new());
        tasks.start("operator", server.serve_with_incoming(incoming));

        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            path
        };
        let settings = OperatorSettings {
            url: format!("https://localhost:{port}").parse().unwrap(),
            ca: Some(file("ca", &ours)),
            token: file("token", "t0ken\n"),
            pod: "pod".to_owned(),
        };
        let test = async {
            assert_eq!(hello(&settings).await, Ok(()));
            let (theirs, _) = authority();
            let stranger = OperatorSettings { ca: Some(file("stranger", &theirs)), ..settings.clone() };
            let error = hello(&stranger).await.unwrap_err();
            assert!(error.contains("certificate"), "{error}");
            let named = format!("https://127.0.0.1:{port}").parse().unwrap();
            let error = hello(&OperatorSettings { url: named, ..settings.clone() }).await.unwrap_err();
            assert!(error.contains("certificate"), "{error}");
            let token = file("other", "an0ther");
            let error = hello(&OperatorSettings { token, ..settings.clone() }).await.unwrap_err();
            assert!(error.contains("nobody's") && !error.contains("an0ther"), "{error}");
            let none = OperatorSettings { ca: Some(folder.path().join("none")), ..settings.clone() };
            assert!(hello(&none).await.unwrap_err().contains("cannot read"));
        };
        tokio::select! {
            () = test => {}
            ended = tasks.run(Duration::ZERO) => panic!("{ended:?}"),
        }
    }
}
