//! One stream: what is sent, when, and to whom not.

use super::*;

struct Operator {
    publisher: Publisher,
    replicas: Replicas,
    tasks: JoinSet<()>,
}

fn operator(token: &'static str) -> Operator {
    let (publisher, replicas, mut tasks) = (Publisher::new(), Replicas::of(token), JoinSet::new());
    replicas.serve(1, &publisher, &mut tasks);
    Operator { publisher, replicas, tasks }
}

fn names(update: &v1::Update) -> Vec<String> {
    update.resources.iter().map(|each| each.name.clone().unwrap().tenant).collect()
}

#[tokio::test(start_paused = true)]
async fn each_role_is_sent_its_own_cut_and_nothing_before_all_was_read() {
    let Operator { publisher, replicas, tasks: _tasks } = operator("");
    let mut early = Raw::open(&replicas, "ingest", hello(Role::Ingest, &[])).await.unwrap();
    let all = vec![ingest("a", 1), gateway("a", 1), signing("a", "hunter2")];
    publisher.publish(&tenant("a"), all.clone());
    assert!(early.silent().await, "half a list looks like a deletion");
    publisher.complete();
    let update = early.update().await;
    let sent: Vec<_> = update.resources.iter().map(|each| each.content.clone()).collect();
    assert_eq!(sent, [all[0].content().clone(), all[2].content().clone()]);
    assert!(update.complete && update.removed.is_empty());
    let mut other = Raw::open(&replicas, "gateway", hello(Role::Gateway, &[])).await.unwrap();
    let update = other.update().await;
    assert_eq!(update.resources.len(), 1);
    assert_eq!(update.resources[0].content, all[1].content());
    assert!(publisher.digest(all[1].name()) == Some(all[1].digest()));
}

#[tokio::test(start_paused = true)]
async fn what_a_pod_holds_is_not_sent_again_and_what_is_gone_comes_last() {
    let Operator { publisher, replicas, tasks: _tasks } = operator("");
    publisher.publish(&tenant("a"), vec![gateway("a", 1)]);
    publisher.publish(&tenant("b"), vec![gateway("b", 2)]);
    publisher.complete();
    let same = hello(Role::Gateway, &[gateway("a", 1), gateway("b", 2)]);
    let mut raw = Raw::open(&replicas, "gateway", same).await.unwrap();
    let update = raw.update().await;
    assert!(update.complete && update.resources.is_empty() && update.removed.is_empty());
    raw.answer(update.nonce).await;
    // An equal value is no change.
    publisher.publish(&tenant("a"), vec![gateway("a", 1)]);
    assert!(raw.silent().await);
    drop(raw);

    let former = hello(Role::Gateway, &[gateway("a", 7), gateway("b", 2), gateway("gone", 1)]);
    let mut raw = Raw::open(&replicas, "gateway", former).await.unwrap();
    let update = raw.update().await;
    assert_eq!(names(&update), ["acme/a"]);
    assert_eq!(update.removed.len(), 1);
    assert_eq!(update.removed[0].tenant, "acme/gone");
    assert!(update.complete);
    raw.answer(update.nonce).await;
    publisher.publish(&tenant("b"), vec![]);
    let update = raw.update().await;
    assert_eq!(update.removed[0].tenant, "acme/b");
}

#[tokio::test(start_paused = true)]
async fn what_changes_while_a_pod_is_slow_is_sent_once() {
    let Operator { publisher, replicas, tasks: _tasks } = operator("");
    publisher.complete();
    let mut raw = Raw::open(&replicas, "gateway", hello(Role::Gateway, &[])).await.unwrap();
    let first = raw.update().await;
    for misses in 1..100 {
        publisher.publish(&tenant("a"), vec![gateway("a", misses)]);
        publisher.publish(&tenant("b"), vec![gateway("b", misses)]);
    }
    publisher.publish(&tenant("b"), vec![]);
    assert!(raw.silent().await, "one Update is in flight at a time");
    raw.answer(first.nonce).await;
    let second = raw.update().await;
    assert_eq!(names(&second), ["acme/a"]);
    assert_eq!(second.resources[0].content, gateway("a", 99).content());
    // An Answer to something else ends the stream.
    raw.answer(first.nonce).await;
    let status = raw.down.message().await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
}

#[tokio::test(start_paused = true)]
async fn whoever_is_not_who_it_says_is_refused() {
    let Operator { publisher, replicas, tasks: _tasks } = operator("");
    publisher.complete();
    let code = async |token: &str, role, configure| {
        let hello = v1::Hello { configure, ..hello(role, &[]) };
        Raw::open(&replicas, token, hello).await.map(drop).map_err(|status| status.code())
    };
    use tonic::Code::{PermissionDenied, Unauthenticated, Unavailable};
    for configure in [true, false] {
        assert_eq!(code("ingest", Role::Gateway, configure).await, Err(PermissionDenied));
        assert_eq!(code("gateway", Role::Ingest, configure).await, Err(PermissionDenied));
        assert_eq!(code("ingest:other", Role::Ingest, configure).await, Err(PermissionDenied));
        assert_eq!(code("", Role::Ingest, configure).await, Err(Unauthenticated));
        assert_eq!(code("stranger", Role::Ingest, configure).await, Err(Unauthenticated));
        assert_eq!(code("away", Role::Ingest, configure).await, Err(Unavailable));
        assert_eq!(code("ingest:pod", Role::Ingest, configure).await, Ok(()));
    }
    let nameless = v1::Hello { pod: String::new(), ..hello(Role::Ingest, &[]) };
    assert!(Raw::open(&replicas, "ingest", nameless).await.is_err());
    let nobody = v1::Hello { role: 0, ..hello(Role::Ingest, &[]) };
    assert!(Raw::open(&replicas, "ingest", nobody).await.is_err());
    assert!(publisher.pods().borrow().len() <= 1, "who is refused is no pod");
}

#[tokio::test(start_paused = true)]
async fn too_many_new_streams_at_once_are_refused() {
    let Operator { publisher, replicas, tasks: _tasks } = operator("");
    publisher.complete();
    let mut open = Vec::new();
    for _ in 0..STREAM_BURST {
        open.push(Raw::open(&replicas, "ingest", hello(Role::Ingest, &[])).await.unwrap());
    }
    let next = Raw::open(&replicas, "ingest", hello(Role::Ingest, &[])).await;
    assert_eq!(next.err().unwrap().code(), tonic::Code::ResourceExhausted);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(Raw::open(&replicas, "ingest", hello(Role::Ingest, &[])).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_refused_resource_keeps_its_former_value_and_hurts_no_other() {
    let Operator { publisher, replicas, mut tasks } = operator("gateway");
    let pod = TestPod::new(Role::Gateway, "pod");
    pod.run(&replicas, &mut tasks);
    publisher.publish(&tenant("a"), vec![gateway("a", 1)]);
    publisher.complete();
    pod.holds("the first", |now| held(now) == digests(&[gateway("a", 1)])).await;
    let bad = strange(ResourceType::Gateway, "a");
    publisher.publish(&tenant("a"), vec![bad.clone()]);
    publisher.publish(&tenant("b"), vec![gateway("b", 2)]);
    let both = digests(&[gateway("a", 1), gateway("b", 2)]);
    let now = pod.holds("the other", |now| held(now) == both).await;
    assert_eq!(now.refused().count(), 1);
    let mut pods = publisher.pods();
    let shown = wait("the refusal to be told", &mut pods, |pods| {
        pods.get("pod").is_some_and(|pod| pod.held == both && pod.refused.len() == 1)
    })
    .await;
    let refused = &shown["pod"].refused[bad.name()];
    assert_eq!(refused.digest, bad.digest());
    assert!(refused.reason.contains("JSON object"), "{}", refused.reason);
    // It is over when something that can be read comes.
    publisher.publish(&tenant("a"), vec![gateway("a", 1)]);
    wait("the refusal to be over", &mut pods, |pods| pods["pod"].refused.is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn a_large_configuration_comes_whole() {
    let Operator { publisher, replicas, mut tasks } = operator("gateway");
    let pod = TestPod::new(Role::Gateway, "pod");
    let large = |name: &str| {
        let mut snapshot: GatewaySnapshot = serde_json::from_slice(gateway(name, 1).content()).unwrap();
        let members = vec!["x".repeat(1 << 10); 3 << 10];
        snapshot.aliases.push(nexus_core::snapshot::Alias {
            name: "all".into(),
            handles: BTreeMap::new(),
            members,
            delivery: nexus_core::snapshot::Delivery::All,
        });
        Resource::of(named(ResourceType::Gateway, name), &snapshot).unwrap()
    };
    let all = [large("a"), gateway("b", 1), large("c")];
    for resource in &all {
        publisher.publish(&resource.name().tenant, vec![resource.clone()]);
    }
    publisher.complete();
    pod.run(&replicas, &mut tasks);
    let now = pod.holds("all", Held::is_complete).await;
    assert_eq!(held(&now), digests(&all));
}

#[test]
fn what_is_too_large_or_of_another_is_refused_by_a_pod_as_well() {
    let mut pod = Held::new(Role::Ingest);
    let good = ingest("a", 1);
    let content = vec![b' '; MAX_RESOURCE_BYTES + 1];
    let sha256 = Digest::of(&content).as_bytes().to_vec();
    let name = |kind| Some(named(kind, "a").proto());
    let oversize = v1::Resource { name: name(ResourceType::Ingest), sha256, content: content.into() };
    let torn = v1::Resource { sha256: vec![0; 32], ..good.proto() };
    let foreign = v1::Resource { name: Some(named(ResourceType::Ingest, "b").proto()), ..good.proto() };
    let unknown =
        v1::Resource { name: Some(v1::ResourceName { r#type: 77, ..good.name().proto() }), ..good.proto() };
    let secret = br#"{"github":"hunter2"}"#.to_vec();
    let sha256 = Digest::of(&secret).as_bytes().to_vec();
    let secret = v1::Resource { name: name(ResourceType::SigningSecrets), sha256, content: secret.into() };
    for (resource, why) in [
        (oversize, "bytes"),
        (torn, "version"),
        (foreign, "another tenant"),
        (gateway("a", 1).proto(), "no use"),
        (unknown, "does not know"),
        (secret, "Base64"),
    ] {
        let update = v1::Update { nonce: 7, resources: vec![resource], removed: vec![], complete: false };
        let answer = pod.take(update);
        assert_eq!((answer.nonce, answer.refused.len()), (7, 1));
        let reason = &answer.refused[0].reason;
        assert!(reason.contains(why) && !reason.contains("hunter2"), "{reason}");
    }
    assert_eq!(pod.taken().count(), 0);
    assert!(!pod.is_complete());
}
