//! Everything that a pod can know after a history, by whatever has reached it.
//!
//! A message is a sight of a state that once was, or a word of another pod. Any of them can come at any time, again, or
//! never. So what a pod can know is followed by all messages from nothing, until nothing new is found: that is each
//! sequence of them, of any length. What any pod comes to hold is a word, too, that any other can hear.

use std::collections::HashMap;
use std::fmt;

use nexus_core::stop::{Engagement, Latch, Told};

use super::history::History;
use super::rule::Rule;
use super::spec::{Held, Spec};
use super::world::{Person, UIDS};
use super::{check, settle};

/// What reaches a pod. The numbers are those of states, and of words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Message {
    /// A full list, of the poll or as the watch has shown it.
    Look(usize),
    /// The same, of which only what stops is put in force: the rest may come late, or never.
    Glimpse(usize),
    /// A word of another pod, with the list that was seen last, if that is fresh.
    Word(usize, Option<usize>),
}

/// What one pod tells of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) uid: usize,
    pub(crate) told: Told,
    pub(crate) held: Held,
}

/// What a pod knows.
#[derive(Debug, Clone)]
pub(crate) struct Node<R> {
    pub(crate) rule: R,
    pub(crate) spec: Spec,
    /// The words that it tells.
    pub(crate) tells: Vec<usize>,
    /// By which message of which node it was found.
    from: Option<(usize, Message)>,
    /// Where each message leads, in the order of the messages.
    next: Vec<usize>,
}

/// All that pods can know.
#[derive(Debug)]
pub(crate) struct Model<'a, R> {
    pub(crate) history: &'a History,
    messages: Vec<Message>,
    pub(crate) words: Vec<Word>,
    pub(crate) nodes: Vec<Node<R>>,
    found: HashMap<Spec, Vec<usize>>,
}

/// How much was checked.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Count {
    pub(crate) histories: usize,
    /// Those of them after which everybody must run again.
    pub(crate) released: usize,
    /// All that could reach a pod.
    messages: usize,
    /// All that a pod could come to know.
    nodes: usize,
    pub(crate) steps: usize,
    pairs: usize,
    /// What these steps stand for: sequences of up to six messages.
    sequences: u128,
}

impl Count {
    pub(crate) fn add(&mut self, other: &Self) {
        self.histories += other.histories;
        self.released += other.released;
        self.messages += other.messages;
        self.nodes += other.nodes;
        self.steps += other.steps;
        self.pairs += other.pairs;
        self.sequences += other.sequences;
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { histories, released, messages, nodes, steps, pairs, sequences } = self;
        write!(
            f,
            "{histories} histories ({released} end released), {messages} messages, {nodes} states of a pod, {steps} steps and {pairs} pairs of pods; \
             that is {sequences} sequences of up to six messages"
        )
    }
}

/// Checks a history.
pub(crate) fn explore<R: Rule>(rule: &R, history: &History) -> Result<Count, String> {
    let states = 0..history.states.len();
    let messages = states.flat_map(|at| [Message::Look(at), Message::Glimpse(at)]).collect();
    let mut model = Model { history, messages, words: Vec::new(), nodes: Vec::new(), found: HashMap::new() };
    model.node(rule.clone(), Spec::default(), None);
    // New nodes bring new messages, and new messages lead on from old nodes.
    while let Some(node) = model.nodes.iter().position(|node| node.next.len() < model.messages.len()) {
        for node in node..model.nodes.len() {
            while model.nodes[node].next.len() < model.messages.len() {
                model.step(node).map_err(|wrong| model.explain(&wrong))?;
            }
        }
    }
    model.repeat().map_err(|wrong| model.explain(&wrong))?;
    let pairs = settle::settle(&model).map_err(|wrong| model.explain(&wrong))?;
    let (messages, nodes) = (model.messages.len(), model.nodes.len());
    let sequences = (0..=6).map(|length| (messages as u128).pow(length)).sum();
    let released = usize::from(history.ends_released());
    Ok(Count { histories: 1, released, messages, nodes, steps: messages * nodes, pairs, sequences })
}

/// What is wrong, and at which node.
pub(crate) struct Wrong {
    pub(crate) what: String,
    pub(crate) at: Vec<usize>,
    pub(crate) then: Option<Message>,
}

impl<R: Rule> Model<'_, R> {
    /// Where a message leads from a node.
    pub(crate) fn next(&self, node: usize, message: Message) -> usize {
        let message = self.messages.iter().position(|known| *known == message);
        self.nodes[node].next[message.expect("every message is known")]
    }

    /// Delivers to a node the next message that it has not got yet.
    fn step(&mut self, node: usize) -> Result<(), Wrong> {
        let before = &self.nodes[node];
        let message = self.messages[before.next.len()];
        let (mut rule, mut spec) = (before.rule.clone(), before.spec);
        let answer = self.deliver(message, &mut rule, &mut spec);
        let wrong = |what| Wrong { what, at: vec![node], then: Some(message) };
        let known = self.find(&rule, &spec);
        if known.is_none() {
            check::knows(&rule, &spec).map_err(wrong)?;
        }
        check::step(self.history, message, (&before.rule, &before.spec), (&rule, &spec), answer)
            .map_err(wrong)?;
        let after = known.unwrap_or_else(|| self.node(rule, spec, Some((node, message))));
        self.nodes[node].next.push(after);
        Ok(())
    }

    /// What comes twice does what it does once.
    fn repeat(&self) -> Result<(), Wrong> {
        for (node, found) in self.nodes.iter().enumerate() {
            for (message, once) in found.next.iter().enumerate() {
                if self.nodes[*once].next[message] != *once {
                    let what = "a repeated message changes something".to_owned();
                    return Err(Wrong { what, at: vec![node], then: Some(self.messages[message]) });
                }
            }
        }
        Ok(())
    }

    fn deliver(&self, message: Message, rule: &mut R, spec: &mut Spec) -> check::Answer {
        let History { states, lists, .. } = self.history;
        let directory = |relabelled| Person::directory(relabelled).map(Person::subject);
        let (merged, done) = match message {
            Message::Look(at) => {
                let merged = rule.merge(&lists[at], &directory(states[at].relabelled));
                (merged, spec.see(at, false, self.history))
            }
            Message::Glimpse(at) => {
                let merged = rule.tighten(&lists[at], &directory(states[at].relabelled));
                (merged, spec.see(at, true, self.history))
            }
            Message::Word(word, look) => {
                let Word { uid, told, held } = &self.words[word];
                let relabelled = look.is_some_and(|at| states[at].relabelled);
                let list = look.map(|at| &*lists[at]);
                let heard = rule.hear(std::slice::from_ref(told), list, &directory(relabelled));
                (heard.merged, spec.hear(*uid, held, look, self.history))
            }
        };
        check::Answer { merged, done }
    }

    /// The node of what a pod knows. Alarms are of the last list, and do not tell nodes apart.
    fn find(&self, rule: &R, spec: &Spec) -> Option<usize> {
        let same = |node: &usize| same(self.nodes[*node].rule.latch(), rule.latch());
        self.found.get(spec)?.iter().copied().find(same)
    }

    fn node(&mut self, rule: R, spec: Spec, from: Option<(usize, Message)>) -> usize {
        let mut tells = Vec::new();
        for (uid, held) in spec.held() {
            let engagement = rule.latch().engagements().find(|engagement| engagement.uid == UIDS[uid]);
            tells.extend(engagement.map(|engagement| self.word(uid, held, engagement)));
        }
        self.nodes.push(Node { rule, spec, tells, from, next: Vec::new() });
        self.found.entry(spec).or_default().push(self.nodes.len() - 1);
        self.nodes.len() - 1
    }

    /// The number of a word, which others hear as it is written.
    fn word(&mut self, uid: usize, held: &Held, engagement: &Engagement) -> usize {
        let (told, held) = (Told::of(engagement), held.told());
        let same = |word: &Word| word.uid == uid && word.told == told && word.held == held;
        if let Some(known) = self.words.iter().position(same) {
            return known;
        }
        let told = Told::parse(UIDS[uid], &told.to_json()).expect("what is told can be read");
        self.words.push(Word { uid, told, held });
        let word = self.words.len() - 1;
        let looks = (0..self.history.states.len()).map(Some).chain([None]);
        self.messages.extend(looks.map(|look| Message::Word(word, look)));
        word
    }

    /// The messages that led to a node.
    fn way(&self, mut node: usize) -> Vec<Message> {
        let mut way = Vec::new();
        while let Some((before, message)) = self.nodes[node].from {
            way.push(message);
            node = before;
        }
        way.reverse();
        way
    }

    fn explain(&self, wrong: &Wrong) -> String {
        let mut text = format!("{}\n  people: {:?}", wrong.what, self.history.edits);
        let states = &self.history.states;
        let shown = |message: &Message| match message {
            Message::Look(at) => format!("list {:?}", states[*at]),
            Message::Glimpse(at) => format!("stops of {:?}", states[*at]),
            Message::Word(word, look) => {
                format!("word {} beside {:?}", self.words[*word].told.to_json(), look.map(|at| states[at]))
            }
        };
        for node in &wrong.at {
            text.push_str("\n  a pod is reached by:");
            for message in self.way(*node).iter().chain(&wrong.then) {
                text.push_str("\n    ");
                text.push_str(&shown(message));
            }
        }
        text
    }
}

/// Whether two latches are the same but for their alarms.
fn same(one: &Latch, other: &Latch) -> bool {
    one.is_known() == other.is_known()
        && one.engagements().eq(other.engagements())
        && UIDS.iter().all(|uid| one.released_upto(uid) == other.released_upto(uid))
}
