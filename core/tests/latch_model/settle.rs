//! What must be true once it is quiet: when all pods have seen the policies as they stand, and have heard each other.

use std::collections::BTreeSet;

use super::explore::{Message, Model, Wrong};
use super::rule::Rule;
use super::world::{Person, text};

/// Checks every two pods. Says how many pairs there were.
pub(crate) fn settle<R: Rule>(model: &Model<'_, R>) -> Result<usize, Wrong> {
    let look = Message::Look(model.history.last);
    let seen: BTreeSet<_> = (0..model.nodes.len()).map(|node| model.next(node, look)).collect();
    for node in &seen {
        truth(model, *node)?;
    }
    let pairs = seen
        .iter()
        .flat_map(|one| seen.iter().filter(move |other| one <= other).map(move |other| (*one, *other)));
    let mut count = 0;
    for (one, other) in pairs {
        agree(model, one, other)?;
        count += 1;
    }
    Ok(count)
}

/// Whoever has seen the policies as they stand does what the admin wants, whatever else has reached them.
fn truth<R: Rule>(model: &Model<'_, R>, node: usize) -> Result<(), Wrong> {
    let history = model.history;
    let runs = |person: &Person| model.nodes[node].rule.decide(&person.subject()).may_run();
    let wrong = |what: String| Err(Wrong { what, at: vec![node], then: None });
    for object in history.states[history.last].objects().filter(|object| object.stop) {
        if let Some(person) = Person::ALL.iter().find(|person| person.is_meant(object.whom) && runs(person)) {
            return wrong(format!("{person:?} runs at the sight of a stop that means them"));
        }
    }
    if history.ends_released() && !Person::ALL.iter().all(runs) {
        return wrong("not everybody runs at the sight of the release".to_owned());
    }
    if history.orders.is_empty() && !Person::ALL.iter().all(runs) {
        return wrong("somebody is stopped, and no stop was ever ordered".to_owned());
    }
    Ok(())
}

/// Two that have seen the policies as they stand tell each other what they hold, until nothing changes. Then what one holds
/// the other holds as well, by the same name and for the same people; but what one has released no word engages again.
fn agree<R: Rule>(model: &Model<'_, R>, one: usize, other: usize) -> Result<(), Wrong> {
    let (mut pair, mut before) = ([one, other], None);
    while before != Some(pair) {
        before = Some(pair);
        pair = [hear(model, pair[0], pair[1]), hear(model, pair[1], pair[0])];
    }
    for [one, other] in [pair, [pair[1], pair[0]]] {
        let (spec, others) = (&model.nodes[one].spec, &model.nodes[other].spec);
        for (uid, held) in spec.held() {
            if others.released_upto(uid) >= held.generation {
                continue;
            }
            let agreed = others.holds(uid).is_some_and(|theirs| {
                let meant = |person: &Person| theirs.covers(*person) || !held.covers(*person);
                theirs.generation >= held.generation && Person::ALL.iter().all(meant)
            });
            if !agreed {
                let what = format!("two pods do not agree on {}", text((uid, held.generation)));
                return Err(Wrong { what, at: vec![one, other], then: None });
            }
        }
    }
    Ok(())
}

/// A pod after it has heard all that another tells, and has looked again.
fn hear<R: Rule>(model: &Model<'_, R>, node: usize, teller: usize) -> usize {
    let last = model.history.last;
    let words = model.nodes[teller].tells.iter();
    let heard = words.fold(node, |node, word| model.next(node, Message::Word(*word, Some(last))));
    model.next(heard, Message::Look(last))
}
