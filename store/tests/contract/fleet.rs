//! The gateways that share a bus: who lives, who owns a partition, and what a buried one leaves.

use nexus_core::id::GatewayId;
use nexus_store::bus::HandOut;
use nexus_store::bus::fleet::Claim;

use super::rig::*;

fn gateway(n: u8) -> GatewayId {
    GatewayId::from_bytes([n; 16])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_lives_until_it_is_buried_by_who_saw_its_last_beat() {
    for rig in Rig::each() {
        let mut heard = [0; 3];
        let mut beat = async |n: u8| {
            let fleet = rig.bus.beat(gateway(n), heard[usize::from(n)]).await.unwrap()?;
            heard[usize::from(n)] = fleet.living.iter().find(|(id, _)| *id == gateway(n)).unwrap().1;
            Some(fleet)
        };
        assert_eq!(beat(1).await, None);
        for n in [1, 2] {
            rig.bus.enter(gateway(n)).await.unwrap();
        }
        let before = beat(1).await.unwrap();
        assert_eq!(before.living.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [gateway(1), gateway(2)]);
        let seen = |fleet: &nexus_store::bus::fleet::Fleet, n| {
            fleet.living.iter().find(|(id, _)| *id == gateway(n)).unwrap().1
        };
        let after = beat(1).await.unwrap();
        assert!(seen(&after, 1) > seen(&before, 1));
        assert_eq!(seen(&after, 2), seen(&before, 2));
        // To enter again is to live on.
        assert!(rig.bus.enter(gateway(1)).await.unwrap());
        assert!(seen(&beat(2).await.unwrap(), 1) >= seen(&after, 1));
        // It has beaten since: it is not dead.
        assert!(!rig.bus.bury(gateway(2), seen(&after, 2)).await.unwrap());
        let last = beat(1).await.unwrap();
        assert!(rig.bus.bury(gateway(2), seen(&last, 2)).await.unwrap());
        assert!(!rig.bus.bury(gateway(2), seen(&last, 2)).await.unwrap());
        assert_eq!(beat(2).await, None);
        let alone = beat(1).await.unwrap();
        assert_eq!((alone.living.len(), alone.buried), (1, vec![gateway(2)]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_hears_no_answer_falls_silent() {
    for rig in Rig::each() {
        rig.bus.enter(gateway(1)).await.unwrap();
        rig.bus.enter(gateway(2)).await.unwrap();
        let beats = async |n, heard| {
            let fleet = rig.bus.beat(gateway(n), heard).await.unwrap().unwrap();
            fleet.living.iter().find(|(id, _)| *id == gateway(1)).unwrap().1
        };
        assert_eq!(beats(1, 0).await, 1);
        assert_eq!(beats(1, 1).await, 2);
        // That answer did not come, and so it says the same again.
        for _ in 0..3 {
            assert_eq!(beats(1, 1).await, 2);
        }
        assert_eq!(beats(2, 0).await, 2);
        // Once it hears again it knows what to say.
        assert_eq!(beats(1, 2).await, 3);
        // A bus that lost some of its beats tells it so.
        assert_eq!(beats(1, 7).await, 3);
        assert_eq!(beats(1, 3).await, 4);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_of_one_who_lives_is_not_taken_and_one_of_the_dead_is_fenced() {
    for rig in Rig::each() {
        rig.store_all(&["a"]).await;
        let (partition, seq, _) = rig.unrouted().await[0];
        let claim = async |n, living: &[GatewayId]| {
            rig.bus.claim(&tenant(), partition, gateway(n), living).await.unwrap()
        };
        let both = [gateway(1), gateway(2)];
        let Claim::Ours(first) = claim(1, &both).await else { panic!("nobody had it") };
        assert_eq!(claim(1, &both).await, Claim::Ours(first));
        assert_eq!(claim(2, &both).await, Claim::Theirs(gateway(1)));
        let Claim::Ours(second) = claim(2, &[gateway(2)]).await else { panic!("its owner is dead") };
        assert!(second > first);
        let route = async |epoch| {
            rig.bus.route(&tenant(), partition, epoch, vec![to(seq, &[inbox(1)])], HandOut::Nothing).await
        };
        assert_eq!(label(route(first).await), "fenced");
        // The one who was fenced does not get it back from one who lives.
        assert_eq!(claim(1, &both).await, Claim::Theirs(gateway(2)));
        // To yield what is another's changes nothing.
        rig.bus.yield_partition(&tenant(), partition, gateway(1)).await.unwrap();
        route(second).await.unwrap();
        rig.bus.yield_partition(&tenant(), partition, gateway(2)).await.unwrap();
        let Claim::Ours(third) = claim(1, &both).await else { panic!("it was yielded") };
        assert!(third > second);
        // Whoever acquires it without a claim fences the claimant, who then claims again.
        let taken = rig.bus.acquire(&tenant(), partition).await.unwrap();
        assert!(taken > third);
        let Claim::Ours(fourth) = claim(1, &both).await else { panic!("no gateway has it") };
        assert!(fourth > taken);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_buried_gateway_held_returns() {
    for rig in Rig::each() {
        rig.fill(&["a", "b"], inbox(1)).await;
        assert!(!rig.bus.hold_session(gateway(1), &tenant(), session(1)).await.unwrap());
        rig.bus.enter(gateway(1)).await.unwrap();
        for n in [1, 2] {
            assert!(rig.bus.hold_session(gateway(1), &tenant(), session(n)).await.unwrap());
        }
        rig.bus.drop_session(gateway(1), session(2)).await.unwrap();
        assert_eq!(rig.pull(inbox(1), session(1), 1).await.len(), 1);
        rig.bus.leave(gateway(1)).await.unwrap();
        // The dead begin nothing, and do not live again.
        assert!(!rig.bus.enter(gateway(1)).await.unwrap());
        assert!(!rig.bus.hold_session(gateway(1), &tenant(), session(3)).await.unwrap());
        assert_eq!(rig.bus.sessions_of(gateway(1), 9).await.unwrap(), [(session(1), tenant())]);
        assert!(!rig.bus.forget_gateway(gateway(1)).await.unwrap());
        assert_eq!(rig.bus.bury_session(&tenant(), session(1)).await.unwrap(), 1);
        assert_eq!(rig.bus.bury_session(&tenant(), session(1)).await.unwrap(), 0);
        rig.bus.drop_session(gateway(1), session(1)).await.unwrap();
        assert!(rig.bus.forget_gateway(gateway(1)).await.unwrap());
        rig.bus.enter(gateway(2)).await.unwrap();
        assert!(rig.bus.beat(gateway(2), 0).await.unwrap().unwrap().buried.is_empty());
        assert_eq!(rig.pull_ids(inbox(1), session(4)).await, ids(&["a", "b"]));
    }
}
