//! A fleet that operators configure: a control plane of its own, operators, and roles as processes that stand for pods.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tokio::process::Child;
use tokio::time::{Instant, sleep};

use crate::cluster::{Cluster, repository};
use crate::fleet::{Fleet, GATEWAYS, metric};
use crate::link::Link;
use crate::program::mortal;
use crate::site::{LOOK, PATIENCE, free_ports};
use crate::webhook::TENANTS;

/// Where the system lives.
pub const NAMESPACE: &str = "nexus-system";

/// What a gateway may do at the API server.
const READER: &str = "nexus-gateway";

/// All of it.
#[derive(Debug)]
pub struct Operated {
    /// The control plane.
    pub cluster: Cluster,
    /// Ingest and gateways.
    pub fleet: Fleet,
    program: PathBuf,
    work: PathBuf,
    ports: [u16; 2],
    admins: [u16; 2],
    /// Between pods and the operator that they find: the first, until it is led to another.
    pub operators: Link,
    /// Between gateways and the API server.
    pub link: Link,
    /// The kubeconfig that operators are given.
    pub kubeconfig: PathBuf,
}

impl Operated {
    /// Everything but operators and pods.
    ///
    /// # Errors
    /// When a part of it cannot be started.
    pub async fn new(program: &Path, work: &Path) -> anyhow::Result<Self> {
        let cluster = Cluster::own()?;
        cluster.install_definitions()?;
        let admission = repository().join("config/admission");
        cluster.kubectl(&["apply", "--server-side", "-k", path(&admission)?])?;
        let fleet = Fleet::new(program, work, "no").await?;
        let [first, second, admins @ ..]: [u16; 4] = free_ports()?;
        let ports = [first, second];
        let operators = Link::new(ports[0]).await?;
        let kubeconfig = cluster.kubeconfig().to_owned();
        let link = Link::to(cluster.address()?).await?;
        let (program, work) = (program.to_owned(), work.to_owned());
        let operated = Self { cluster, fleet, program, work, ports, admins, operators, link, kubeconfig };
        operated.make_objects()?;
        Ok(operated)
    }

    /// Namespaces, accounts, what a kubelet would say of the pods, and the folder's objects.
    fn make_objects(&self) -> anyhow::Result<()> {
        let mut objects = vec![];
        for name in [NAMESPACE].into_iter().chain(TENANTS) {
            objects.push(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}));
        }
        for name in ["nexus-ingest", "nexus-gateway"] {
            let metadata = json!({"name": name, "namespace": NAMESPACE});
            objects.push(json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}));
        }
        objects.push(slice("nexus-ingest", &["ingest-0".to_owned()]));
        let gateways: Vec<_> = (0..GATEWAYS).map(|number| format!("gateway-{number}")).collect();
        objects.push(slice("nexus-gateway", &gateways));
        self.cluster.apply(&json!({"apiVersion": "v1", "kind": "List", "items": objects}))?;
        // That one is there already, and stays as it is.
        std::fs::remove_file(self.fleet.folder.join("policy.yaml"))?;
        self.cluster.kubectl(&["apply", "--server-side", "-f", path(&self.fleet.folder)?])?;
        let verbs = "--verb=get,list,watch";
        self.cluster.kubectl(&[
            "create",
            "clusterrole",
            READER,
            verbs,
            "--resource=nexuspolicies.nexus.dev",
        ])?;
        let account = format!("--serviceaccount={NAMESPACE}:nexus-gateway");
        let role = format!("--clusterrole={READER}");
        self.cluster.kubectl(&["create", "clusterrolebinding", READER, &role, &account])?;
        Ok(())
    }

    /// Patches the stop switch.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub fn patch_stop(&self, spec: &Value) -> anyhow::Result<()> {
        let patch = json!({ "spec": spec }).to_string();
        self.cluster.kubectl(&["patch", "nexuspolicy", "stop-all", "--type", "merge", "-p", &patch])?;
        Ok(())
    }

    /// Starts one of two operators.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_operator(&self, number: usize) -> anyhow::Result<Child> {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.operator_log(number))?;
        let environment = [("KUBECONFIG", self.kubeconfig.clone())];
        let mut command = mortal(&self.program, &[], &environment);
        command
            .args(["operator", "--namespace", NAMESPACE, "--pod", &format!("operator-{number}")])
            .args([
                "--listen",
                &format!("127.0.0.1:{}", self.ports[number]),
                "--admin",
                &format!("127.0.0.1:{}", self.admins[number]),
            ])
            .stdout(Stdio::from(log.try_clone()?))
            .stderr(log);
        command.spawn().context("cannot start an operator")
    }

    /// What an operator shows of what pods hold.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn operator_config(&self, number: usize) -> anyhow::Result<Value> {
        let url = format!("http://127.0.0.1:{}/config", self.admins[number]);
        Ok(self.fleet.doors.http.get(url).send().await?.error_for_status()?.json().await?)
    }

    /// The sum of a metric of an operator over its labels; none if it does not tell it.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn operator_metric(&self, number: usize, name: &str) -> anyhow::Result<Option<f64>> {
        metric(&self.fleet.doors.http, self.admins[number], name, "").await
    }

    /// Where ingest keeps signing secrets.
    #[must_use]
    pub fn secrets(&self) -> PathBuf {
        self.work.join("secrets/signing-secrets.json")
    }

    /// Leads pods to an operator.
    pub fn lead_to(&self, number: usize) {
        self.operators.lead(self.ports[number]);
    }

    /// Where an operator's log is.
    #[must_use]
    pub fn operator_log(&self, number: usize) -> PathBuf {
        self.work.join(format!("operator-{number}.log"))
    }

    /// Starts ingest and the gateways, with what a kubelet would mount, and waits until they are ready.
    ///
    /// # Errors
    /// When one of them does not become ready.
    pub async fn start_pods(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let authority = loop {
            let authority = self.cluster.get(NAMESPACE, "configmap/nexus-operator-ca")?;
            match authority["data"]["ca.crt"].as_str() {
                Some(authority) => break authority.to_owned(),
                None => ensure!(Instant::now() < deadline, "no operator makes a certificate"),
            }
            sleep(LOOK * 10).await;
        };
        let ca = self.work.join("ca.crt");
        std::fs::write(&ca, authority)?;
        let reader = self.work.join("kubeconfig-gateway");
        let token = self.cluster.kubectl(&["create", "token", "nexus-gateway", "-n", NAMESPACE])?;
        self.cluster.lead(self.link.port, token.trim(), &reader)?;
        self.fleet.ingest.configured_by = Some(self.configured_by("ingest", 0, &ca)?);
        let secrets = self.work.join("secrets");
        std::fs::create_dir_all(&secrets)?;
        self.fleet.ingest.arguments.extend(["--secrets".to_owned(), secrets.display().to_string()]);
        for number in 0..GATEWAYS {
            let words = self.configured_by("gateway", number, &ca)?;
            self.fleet.gateways[number].configured_by = Some(words);
            self.fleet.gateways[number].environment.push(("KUBECONFIG", reader.clone()));
        }
        self.fleet.start().await
    }

    /// The words by which a pod finds its operator.
    fn configured_by(&self, role: &str, number: usize, ca: &Path) -> anyhow::Result<Vec<String>> {
        let account = format!("nexus-{role}");
        let words = ["create", "token", &account, "-n", NAMESPACE, "--audience", "nexus-config"];
        let token = self.work.join(format!("token-{role}-{number}"));
        std::fs::write(&token, self.cluster.kubectl(&words)?)?;
        let words = [
            ("--operator", format!("https://localhost:{}", self.operators.port)),
            ("--operator-ca", ca.display().to_string()),
            ("--operator-token", token.display().to_string()),
            ("--pod", format!("{role}-{number}")),
        ];
        Ok(words.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]).collect())
    }
}

/// What an EndpointSlice says of pods.
fn slice(service: &str, pods: &[String]) -> Value {
    let endpoint = |(at, name): (usize, &String)| {
        json!({
            "addresses": [format!("10.0.0.{}", at + 1)], "conditions": {"ready": true},
            "targetRef": {"kind": "Pod", "name": name, "namespace": NAMESPACE},
        })
    };
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4", "ports": [],
        "metadata": {"name": service, "namespace": NAMESPACE, "labels": {"kubernetes.io/service-name": service}},
        "endpoints": pods.iter().enumerate().map(endpoint).collect::<Vec<_>>(),
    })
}

fn path(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("a path that is no UTF-8")
}

/// The status of a condition of an object.
#[must_use]
pub fn condition<'a>(object: &'a Value, kind: &str) -> &'a str {
    let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    let mut found = conditions.filter(|condition| condition["type"] == kind);
    found.next().and_then(|condition| condition["status"].as_str()).unwrap_or_default()
}
