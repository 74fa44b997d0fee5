use std::collections::HashSet;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;

fn event() -> EventId {
    "0190163d-8694-739b-aea5-966c26f8ad91".parse().unwrap()
}

fn delivery(seed: u128, attempt: u32) -> Delivery {
    let inbox = InboxId::from(Uuid::from_u128(seed));
    Delivery { inbox, attempt, replay: false, session: SessionId::from(Uuid::from_u128(!seed)) }
}

#[test]
fn a_trace_id_is_that_of_langfuse_for_the_same_seed() {
    assert_eq!(TraceId::from_seed("nexus-seed").to_string(), "1ad18d8bf6708420709b99766540f9b4");
}

#[test]
fn the_ids_of_an_event_never_change() {
    assert_eq!(TraceId::of(event()).to_string(), "65efbf381571cc64cb198ac1c8694f25");
    let (first, again) = (delivery(1, 1), event());
    let vectors = [
        (Step::Receive, "e53e660bc076243a"),
        (Step::ReceiveAgain(again), "1200d9eca6f562ea"),
        (Step::Append, "702048276eeed4fb"),
        (Step::Route, "9590e0d589799dc3"),
        (Step::Deliver(first), "d7f70bfb4c8afd71"),
        (Step::Ack(first), "4c3f3518e3022f01"),
        (Step::Nack(first), "31ff3dfb32c2b79e"),
    ];
    for (step, id) in vectors {
        assert_eq!(SpanId::of(event(), step).to_string(), id, "{step:?}");
    }
}

#[test]
fn a_context_of_others_is_read_as_the_specification_says() {
    let valid = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let remote = Remote::parse(valid).unwrap();
    assert_eq!(remote.trace.to_string(), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!((remote.span.to_string().as_str(), remote.sampled), ("b7ad6b7169203331", true));
    assert!(Remote::parse(&format!("01{}-what-comes-later", &valid[2..])).is_some());
    for wrong in [
        "",
        "00",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
    ] {
        assert_eq!(Remote::parse(wrong), None, "{wrong}");
    }
}

#[test]
fn a_share_is_between_nothing_and_everything() {
    for wrong in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
        assert_eq!(Sampler::ratio(wrong), None);
    }
    assert_eq!(Sampler::ratio(1.0), Some(Sampler::ALWAYS));
    assert_eq!(Sampler::ratio(0.0), Some(Sampler::NEVER));
    let quarter = Sampler::ratio(0.25).unwrap();
    let traces = (0..10_000).map(|n| TraceId::from_seed(&n.to_string()));
    let sampled = traces.filter(|trace| quarter.samples(*trace)).count();
    assert!((2_300..2_700).contains(&sampled), "{sampled}");
}

proptest! {
    #[test]
    fn a_traceparent_is_one_and_leads_back_to_the_event(event: u128, seed: u128, attempt: u32, share in 0.0..=1.0) {
        let (event, delivery) = (EventId::from(Uuid::from_u128(event)), delivery(seed, attempt));
        let sampler = Sampler::ratio(share).unwrap();
        let text = traceparent(event, delivery, sampler);
        prop_assert_eq!(text.len(), 55);
        let read = Remote::parse(&text).unwrap();
        prop_assert_eq!(read.trace, TraceId::of(event));
        prop_assert_eq!(read.span, SpanId::of(event, Step::Deliver(delivery)));
        prop_assert_eq!(read.sampled, sampler.samples(TraceId::of(event)));
    }

    #[test]
    fn each_step_of_each_delivery_has_a_span_of_its_own(event: u128, seed: u128, attempt in 0..u32::MAX) {
        let event = EventId::from(Uuid::from_u128(event));
        let one = delivery(seed, attempt);
        let others = [
            one,
            Delivery { attempt: attempt + 1, ..one },
            Delivery { replay: true, ..one },
            Delivery { inbox: InboxId::from(Uuid::from_u128(seed ^ 1)), ..one },
            Delivery { session: SessionId::from(Uuid::from_u128(seed ^ 1)), ..one },
        ];
        let mut steps = vec![Step::Receive, Step::ReceiveAgain(event), Step::Append, Step::Route];
        steps.extend(others.iter().flat_map(|d| [Step::Deliver(*d), Step::Ack(*d), Step::Nack(*d)]));
        let ids: HashSet<_> = steps.iter().map(|step| SpanId::of(event, *step)).collect();
        prop_assert_eq!(ids.len(), steps.len());
        for step in steps {
            let root = std::iter::successors(Some(step), |step| step.parent()).last();
            prop_assert_eq!(root, Some(Step::Receive));
        }
    }

    #[test]
    fn a_greater_share_records_what_a_smaller_one_does(seed in ".*", a in 0.0..=1.0, b in 0.0..=1.0) {
        let (less, more) = if a < b { (a, b) } else { (b, a) };
        let trace = TraceId::from_seed(&seed);
        let samples = |share| Sampler::ratio(share).unwrap().samples(trace);
        prop_assert!(!samples(less) || samples(more));
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in ".{0,80}") {
        let _ = Remote::parse(&text);
    }
}
