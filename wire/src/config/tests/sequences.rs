//! Whatever is published, refused and broken off: in the end a pod has what is published.

use proptest::prelude::*;

use super::*;

const TENANTS: [&str; 3] = ["a", "b", "c"];

#[derive(Debug, Clone)]
enum Step {
    /// A tenant gets this version; every fifth is one that no pod takes.
    Publish(usize, u32),
    Remove(usize),
    /// The pod's process ends and begins again with what it held.
    Reconnect,
    /// All that is underway comes to rest.
    Settle,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0..TENANTS.len(), 0_u32..10).prop_map(|(at, version)| Step::Publish(at, version)),
        2 => (0..TENANTS.len()).prop_map(Step::Remove),
        1 => Just(Step::Reconnect),
        1 => Just(Step::Settle),
    ]
}

fn resource(at: usize, version: u32) -> Resource {
    match version % 5 {
        0 => strange(ResourceType::Gateway, TENANTS[at]),
        _ => gateway(TENANTS[at], version),
    }
}

/// Whether the pod has what is published, and of what it cannot take nothing newer than it could.
fn agrees(now: &Held, published: &BTreeMap<usize, u32>) -> bool {
    let refused: BTreeMap<_, _> =
        now.refused().map(|(name, refused)| (name.clone(), refused.digest)).collect();
    let (mine, count) = (held(now), published.len());
    let known = mine.keys().chain(refused.keys()).collect::<std::collections::BTreeSet<_>>().len();
    known == count
        && published.iter().all(|(at, version)| {
            let resource = resource(*at, *version);
            match version % 5 {
                0 => refused.get(resource.name()) == Some(&resource.digest()),
                _ => {
                    mine.get(resource.name()) == Some(&resource.digest())
                        && !refused.contains_key(resource.name())
                }
            }
        })
}

async fn play(steps: Vec<Step>) {
    let (replicas, mut tasks) = (Replicas::of("gateway"), JoinSet::new());
    let publisher = Publisher::new();
    replicas.serve(1, &publisher, &mut tasks);
    publisher.complete();
    let pod = TestPod::new(Role::Gateway, "pod");
    let mut running = pod.run(&replicas, &mut tasks);
    let mut published = BTreeMap::new();
    for step in steps {
        match step {
            Step::Publish(at, version) => {
                published.insert(at, version);
                publisher.publish(&tenant(TENANTS[at]), vec![resource(at, version)]);
            }
            Step::Remove(at) => {
                published.remove(&at);
                publisher.publish(&tenant(TENANTS[at]), vec![]);
            }
            Step::Reconnect => {
                running.abort();
                running = pod.run(&replicas, &mut tasks);
            }
            Step::Settle => {
                pod.holds("what is published", |now| agrees(now, &published)).await;
            }
        }
        tokio::task::yield_now().await;
    }
    let now = pod.holds("what is published", |now| now.is_complete() && agrees(now, &published)).await;
    let mut pods = publisher.pods();
    let told = |pods: &Arc<Pods>| {
        let refused = now.refused().map(|(name, refused)| (name.clone(), refused.clone())).collect();
        pods.get("pod").is_some_and(|pod| pod.held == held(&now) && pod.refused == refused)
    };
    wait("the operator to know", &mut pods, told).await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_sequence_ends_with_what_is_published(steps in proptest::collection::vec(step(), 1..24)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        runtime.unwrap().block_on(play(steps));
    }
}
