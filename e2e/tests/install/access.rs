//! Who may do what, asked of the API server for each ServiceAccount, verb and object, and compared with `access.txt`.
//! `UPDATE_GOLDEN=1` writes that anew; each line that it gains is a right that somebody has to want.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, stream};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};
use nexus_e2e::cluster::repository;
use serde_json::Value;

use crate::installed::{folder, installed};
use crate::rendered;

/// Who is asked for: the ServiceAccounts of `nexus-system`. `default` is what a pod is that names none.
const WHO: [&str; 4] = ["nexus-operator", "nexus-ingest", "nexus-gateway", "default"];

/// What anybody may do to an object.
const VERBS: [&str; 8] = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];

/// What is asked about: a group's resource or subresource, the namespaces (`*` is all of them at once), the names (`*` is any), and
/// verbs of its own. A tenant lives in `acme`; nobody has granted anything in `bystander`.
const WHAT: [(&str, &str, &str, &str, &str); 39] = [
    ("nexus.dev", "tenants", "* acme", "* acme", ""),
    ("nexus.dev", "tenants/status", "* acme", "* acme", ""),
    ("nexus.dev", "mappings", "* acme", "*", ""),
    ("nexus.dev", "mappings/status", "* acme", "*", ""),
    ("nexus.dev", "agentprofiles", "* acme", "* coder", ""),
    ("nexus.dev", "agentprofiles/status", "* acme", "* coder", ""),
    ("nexus.dev", "nexuspolicies", "*", "* stop-all", "release"),
    ("nexus.dev", "nexuspolicies/status", "*", "* stop-all", "release"),
    ("", "secrets", "*", "*", ""),
    ("", "secrets", "acme", "* webhooks coder-nexus-agent reviewer-nexus-agent database", ""),
    ("", "secrets", "bystander", "* webhooks coder-nexus-agent", ""),
    ("", "secrets", "nexus-system", "* nexus-operator-tls nexus-token-keys nexus-bus", ""),
    ("", "secrets", "kube-system", "* nexus-token-keys", ""),
    ("", "configmaps", "*", "*", ""),
    ("", "configmaps", "nexus-system", "* nexus-operator-ca nexus-redis", ""),
    ("", "configmaps", "acme", "* nexus-operator-ca", ""),
    ("apps", "deployments", "*", "*", ""),
    ("apps", "deployments", "acme", "* coder database", ""),
    ("apps", "deployments/scale", "acme", "* coder", ""),
    ("apps", "deployments", "nexus-system", "* nexus-gateway", ""),
    ("apps", "statefulsets", "* nexus-system", "* nexus-ingest", ""),
    ("coordination.k8s.io", "leases", "* kube-system", "* nexus-operator", ""),
    ("coordination.k8s.io", "leases", "nexus-system", "* nexus-operator other", ""),
    ("discovery.k8s.io", "endpointslices", "* nexus-system acme", "*", ""),
    ("", "endpoints", "nexus-system", "*", ""),
    ("", "events", "* acme default", "*", ""),
    ("events.k8s.io", "events", "* acme default", "*", ""),
    ("", "pods", "* nexus-system acme", "*", ""),
    ("", "pods/exec", "nexus-system acme", "*", ""),
    ("", "pods/log", "nexus-system acme", "*", ""),
    ("", "persistentvolumeclaims", "nexus-system", "*", ""),
    ("", "serviceaccounts", "* nexus-system", "* nexus-operator", "impersonate"),
    ("", "serviceaccounts/token", "nexus-system acme", "* nexus-operator default", ""),
    ("", "namespaces", "*", "* nexus-system", ""),
    ("", "nodes", "*", "*", ""),
    ("authentication.k8s.io", "tokenreviews", "*", "*", ""),
    ("authorization.k8s.io", "subjectaccessreviews", "*", "*", ""),
    ("rbac.authorization.k8s.io", "roles", "* nexus-system acme", "* nexus-operator", "bind escalate"),
    ("rbac.authorization.k8s.io", "rolebindings", "* nexus-system acme", "* nexus-operator", ""),
];

/// The same of objects that are in no namespace, and that guard the rest.
const GUARDS: [(&str, &str, &str, &str, &str); 4] = [
    ("rbac.authorization.k8s.io", "clusterroles", "*", "* nexus-operator", "bind escalate"),
    ("rbac.authorization.k8s.io", "clusterrolebindings", "*", "* nexus-operator", ""),
    ("apiextensions.k8s.io", "customresourcedefinitions", "*", "* nexuspolicies.nexus.dev", ""),
    ("admissionregistration.k8s.io", "validatingadmissionpolicies", "*", "* nexus-operator-secrets", ""),
];

/// One object, or all of a kind.
#[derive(Debug, Clone)]
struct Object {
    group: &'static str,
    resource: &'static str,
    namespace: &'static str,
    name: &'static str,
    verbs: Vec<&'static str>,
}

impl Object {
    /// All that is asked about.
    fn all() -> Vec<Self> {
        let mut objects = Vec::new();
        for (group, resource, namespaces, names, own) in WHAT.into_iter().chain(GUARDS) {
            for namespace in namespaces.split_whitespace() {
                for name in names.split_whitespace() {
                    let verbs = VERBS.into_iter().chain(own.split_whitespace()).collect();
                    objects.push(Self { group, resource, namespace, name, verbs });
                }
            }
        }
        objects
    }

    fn attributes(&self, verb: &str) -> ResourceAttributes {
        let (resource, subresource) = match self.resource.split_once('/') {
            Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
            None => (self.resource, None),
        };
        let given = |text: &str| (text != "*").then(|| text.to_owned());
        ResourceAttributes {
            group: Some(self.group.to_owned()),
            resource: Some(resource.to_owned()),
            subresource,
            namespace: given(self.namespace),
            name: given(self.name),
            verb: Some(verb.to_owned()),
            ..ResourceAttributes::default()
        }
    }

    /// The verbs of these that an account may use.
    async fn allowed(&self, client: &Client, who: &str) -> Vec<&'static str> {
        let api: Api<SubjectAccessReview> = Api::all(client.clone());
        let groups = ["serviceaccounts", "serviceaccounts:nexus-system", "authenticated"];
        let mut allowed = Vec::new();
        for &verb in &self.verbs {
            let spec = SubjectAccessReviewSpec {
                user: Some(format!("system:serviceaccount:nexus-system:{who}")),
                groups: Some(groups.map(|group| format!("system:{group}")).into()),
                resource_attributes: Some(self.attributes(verb)),
                ..SubjectAccessReviewSpec::default()
            };
            let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
            let answer = api.create(&PostParams::default(), &review).await.unwrap();
            if answer.status.unwrap().allowed {
                allowed.push(verb);
            }
        }
        allowed
    }

    /// The line of it, without the verbs.
    fn line(&self) -> String {
        let group = if self.group.is_empty() { String::new() } else { format!(".{}", self.group) };
        format!("{}{group} {} in {}", self.resource, self.name, self.namespace)
    }
}

/// What everybody may do, a line for each account and object of which it may do anything.
async fn asked(client: &Client) -> String {
    let mut text = String::new();
    for who in WHO {
        let asked = Object::all().into_iter().map(|object| async move {
            let allowed = object.allowed(client, who).await;
            (object.line(), allowed)
        });
        let answers: Vec<_> = stream::iter(asked).buffered(32).collect().await;
        writeln!(text, "{who}").unwrap();
        for (line, allowed) in answers.iter().filter(|(_, allowed)| !allowed.is_empty()) {
            writeln!(text, "    {line}: {}", allowed.join(" ")).unwrap();
        }
        let none = answers.iter().filter(|(_, allowed)| allowed.is_empty()).count();
        writeln!(text, "    nothing of {none} others").unwrap();
    }
    text
}

#[tokio::test]
async fn everybody_may_do_what_is_written_down_and_no_more() {
    let (cluster, _) = installed();
    let client = cluster.client().await.unwrap();
    let golden = repository().join("e2e/tests/install/access.txt");
    let written = fs::read_to_string(&golden).unwrap_or_default();
    // The authorizer learns of new Roles a moment after they are there.
    let until = Instant::now() + Duration::from_secs(15);
    let mut now = asked(&client).await;
    while now != written && Instant::now() < until {
        now = asked(&client).await;
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&golden, &now).unwrap();
        return;
    }
    let (was, is): (BTreeSet<_>, BTreeSet<_>) = (written.lines().collect(), now.lines().collect());
    assert!(
        now == written,
        "rights that nobody wrote down: {:#?}\nrights that are gone: {:#?}\n{} is what is written down",
        is.difference(&was).collect::<Vec<_>>(),
        was.difference(&is).collect::<Vec<_>>(),
        golden.display()
    );
}

/// What a rule of a Role grants: a group, its resource, a name (`*` is any) and a verb.
fn granted(rule: &Value) -> Vec<[String; 4]> {
    let texts = |field: &str| {
        let texts = rule.get(field).and_then(Value::as_array).into_iter().flatten();
        texts.map(|text| text.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let names = match texts("resourceNames") {
        names if names.is_empty() => vec!["*".to_owned()],
        names => names,
    };
    let mut granted = vec![Vec::new()];
    for each in [texts("apiGroups"), texts("resources"), names, texts("verbs")] {
        let with = |one: &Vec<String>| {
            each.iter().map(|text| [&one[..], std::slice::from_ref(text)].concat()).collect::<Vec<_>>()
        };
        granted = granted.iter().flat_map(with).collect();
    }
    granted.into_iter().map(|one| one.try_into().unwrap()).collect()
}

/// To ask about what is listed shows no right on what nobody listed, and none of whom nobody listed.
#[test]
fn every_right_that_is_granted_is_asked_about() {
    let (cluster, _) = installed();
    let mut objects = rendered::objects(cluster, &folder("config/rbac"));
    let tenant = fs::read_to_string(folder("examples/quickstart/rbac.yaml.golden")).unwrap();
    objects.extend(serde_saphyr::from_multiple::<Value>(&tenant).unwrap());
    let asked = Object::all();
    let mut rights = 0;
    let roles = objects.iter().filter(|one| one["kind"] == "Role" || one["kind"] == "ClusterRole");
    for rule in roles.flat_map(|role| role["rules"].as_array().unwrap()) {
        let granted = granted(rule);
        assert!(!granted.is_empty(), "{rule}");
        for [group, resource, name, verb] in granted {
            let asks = |one: &Object| {
                (one.group, one.resource, one.name) == (&*group, &*resource, &*name)
                    && one.verbs.contains(&&*verb)
            };
            assert!(asked.iter().any(asks), "nobody asks about `{verb}` of {resource}.{group} {name}");
            rights += 1;
        }
    }
    assert!(rights > 40, "{rights} rights only");
    for binding in objects.iter().filter(|one| one["kind"].as_str().unwrap().ends_with("Binding")) {
        for subject in binding.get("subjects").and_then(Value::as_array).into_iter().flatten() {
            let account = (subject["kind"].as_str().unwrap(), subject["namespace"].as_str().unwrap());
            assert_eq!(account, ("ServiceAccount", "nexus-system"), "{binding}");
            assert!(WHO.contains(&subject["name"].as_str().unwrap()), "nobody asks for {subject}");
        }
    }
}

/// A test that asks about nothing real would always pass.
#[test]
fn what_is_asked_about_is_what_the_api_server_serves() {
    let (cluster, _) = installed();
    let served = cluster.kubectl(&["api-resources", "-o", "name"]).unwrap();
    let served: BTreeSet<_> = served.lines().collect();
    for object in Object::all() {
        let resource = object.resource.split('/').next().unwrap_or_default();
        let name = if object.group.is_empty() {
            resource.to_owned()
        } else {
            format!("{resource}.{}", object.group)
        };
        assert!(served.contains(name.as_str()), "{name}");
    }
}
