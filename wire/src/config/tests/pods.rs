//! Pods among several replicas: who configures, who hears reports, and who is shown.

use nexus_core::id::AgentId;

use super::*;

fn misses(held: &Held) -> Option<u32> {
    held.gateway().next().map(|(_, snapshot)| snapshot.heartbeat.misses)
}

#[tokio::test(start_paused = true)]
async fn one_replica_configures_all_hear_and_the_next_takes_over() {
    let (replicas, mut tasks) = (Replicas::of("gateway:pod"), JoinSet::new());
    let publishers: Vec<_> = (1..=3)
        .map(|port| {
            let publisher = Publisher::new();
            // Each says something of its own, to be told apart by it.
            publisher.publish(&tenant("a"), vec![gateway("a", u32::from(port))]);
            publisher.complete();
            replicas.serve(port, &publisher, &mut tasks);
            publisher
        })
        .collect();
    let pod = TestPod::new(Role::Gateway, "pod");
    pod.run(&replicas, &mut tasks);
    let (agent, since) = (AgentId::of(&tenant("a"), "x"), "2026-11-24T07:00:00Z".parse().unwrap());
    let presence = Presence { online: true, since };
    pod.standing.send_modify(|standing| {
        standing.presence.insert(agent, presence);
    });
    let mut first = None;
    for publisher in &publishers {
        let told =
            |pods: &Arc<Pods>| pods.get("pod").is_some_and(|pod| pod.presence.get(&agent) == Some(&presence));
        wait("a report", &mut publisher.pods(), told).await;
        first = first.or(misses(&pod.holds("something", |held| held.is_complete()).await));
    }
    // It stays with the one that it has, whatever the others publish.
    let first = usize::try_from(first.unwrap()).unwrap();
    for (at, publisher) in publishers.iter().enumerate() {
        publisher.publish(&tenant("a"), vec![gateway("a", 100 + u32::try_from(at).unwrap())]);
    }
    let now = u32::try_from(100 + first - 1).unwrap();
    pod.holds("what its own says", |held| misses(held) == Some(now)).await;
    // It ends; another one configures.
    publishers[first - 1].close();
    let other = pod.holds("what another says", |held| misses(held) != Some(now)).await;
    assert!(misses(&other).is_some_and(|misses| misses >= 100));
    wait("the pod to be gone", &mut publishers[first - 1].pods(), |pods| pods.is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_turns_from_a_replica_that_is_not_ready_any_more_if_another_is() {
    let (replicas, mut tasks) = (Replicas::of("gateway:pod"), JoinSet::new());
    let publishers = [1, 2].map(|port| {
        let publisher = Publisher::new();
        publisher.publish(&tenant("a"), vec![gateway("a", u32::from(port))]);
        publisher.complete();
        replicas.serve(port, &publisher, &mut tasks);
        publisher
    });
    let pod = TestPod::new(Role::Gateway, "pod");
    pod.run(&replicas, &mut tasks);
    let first = misses(&pod.holds("something", |held| held.is_complete()).await).unwrap();
    let other = 3 - first;
    // Its stream is as good as ever.
    replicas.doors.lock().unwrap().remove(&address(u16::try_from(first).unwrap()));
    pod.holds("what the other says", |held| misses(held) == Some(other)).await;
    // Where none is to be found, who is there is better than nobody.
    replicas.doors.lock().unwrap().clear();
    tokio::time::sleep(Duration::from_secs(60)).await;
    publishers[usize::try_from(other).unwrap() - 1].publish(&tenant("a"), vec![gateway("a", 7)]);
    pod.holds("what it says now", |held| misses(held) == Some(7)).await;
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_comes_later_is_found_and_one_that_is_away_is_tried_again() {
    let (replicas, mut tasks) = (Replicas::of("gateway"), JoinSet::new());
    let pod = TestPod::new(Role::Gateway, "pod");
    // Nobody takes what comes here.
    let (door, connections) = mpsc::channel(1);
    drop(connections);
    replicas.doors.lock().unwrap().insert(address(9), door);
    pod.run(&replicas, &mut tasks);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(!pod.stage.held().borrow().is_complete());
    let publisher = Publisher::new();
    publisher.complete();
    replicas.serve(9, &publisher, &mut tasks);
    pod.holds("an empty configuration", Held::is_complete).await;
    let second = Publisher::new();
    replicas.serve(10, &second, &mut tasks);
    wait("the pod", &mut second.pods(), |pods| pods.contains_key("pod")).await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_connects_again_is_sent_only_what_it_lacks() {
    let (replicas, mut tasks) = (Replicas::of("ingest"), JoinSet::new());
    let publisher = Publisher::new();
    publisher.publish(&tenant("a"), vec![ingest("a", 1), signing("a", "hunter2")]);
    publisher.complete();
    replicas.serve(1, &publisher, &mut tasks);
    let updates = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&updates);
    let stage = Stage::new(Held::new(Role::Ingest), move |_| *counted.lock().unwrap() += 1);
    let (_standing, told) = watch::channel(Standing::default());
    let mut pod = TestPod::new(Role::Ingest, "pod");
    pod.subscriber =
        Arc::new(Subscriber { role: Role::Ingest, pod: "pod".into(), stage: stage.clone(), standing: told });
    pod.stage = stage;
    let all = digests(&[ingest("a", 1), signing("a", "hunter2")]);
    for round in 1..=3 {
        let running = pod.run(&replicas, &mut tasks);
        let shown =
            wait("the pod", &mut publisher.pods(), |pods| pods.get("pod").is_some_and(|pod| pod.held == all))
                .await;
        assert_eq!(shown.len(), 1);
        wait("an Update each", &mut pod.stage.held(), |_| *updates.lock().unwrap() == 1 + round).await;
        let now = pod.holds("all", |now| held(now) == all).await;
        let (_, secrets) = now.signing().next().unwrap();
        assert!(secrets["github"][0] == Secret::new("hunter2"));
        running.abort();
        wait("the pod to be gone", &mut publisher.pods(), |pods| pods.is_empty()).await;
    }
}
