//! Mentions: who is named in a text.
//!
//! A provider's own mention markup carries ids and is read by its normalizer; the plain `@name` form, which
//! people type everywhere, is read here. Which agents are meant is decided by routing, not here.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// At most this many mentions are taken from one event, so that a hostile text costs no more.
pub const MAX_MENTIONS: usize = 100;

/// The longest name that a plain mention may have, in bytes; a longer one names nobody.
const MAX_NAME: usize = 100;

/// What a mention names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MentionKind {
    /// A person or a bot, by the provider's id.
    User,
    /// A group of people, by the provider's id: a Slack user group, a ClickUp group, a GitHub team.
    Group,
    /// A plain `@name`, whoever that is.
    Name,
    /// Everybody in a place: `here`, `channel`, `everyone`.
    Broadcast,
}

/// Somebody who is named in a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Mention {
    /// What the mention names.
    pub kind: MentionKind,
    /// The provider's id where its markup has one, else the name.
    pub id: String,
    /// The name as shown, without `@`, where the text has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// The mentions of one event, in order of first appearance, each once, at most [`MAX_MENTIONS`].
#[derive(Debug, Default)]
pub struct Mentions(Vec<Mention>);

impl Mentions {
    /// Adds a mention unless it is there already or the list is full.
    pub fn push(&mut self, kind: MentionKind, id: &str, name: Option<&str>) {
        let known = |mention: &Mention| mention.kind == kind && mention.id == id;
        if self.0.len() < MAX_MENTIONS && !id.is_empty() && !self.0.iter().any(known) {
            let name =
                name.map(|name| name.trim_start_matches('@').to_owned()).filter(|name| !name.is_empty());
            self.0.push(Mention { kind, id: id.to_owned(), name });
        }
    }

    /// Adds every plain `@name` and `@org/team` of a text.
    pub fn scan(&mut self, text: &str) {
        for name in plain_names(text) {
            let kind = if name.contains('/') { MentionKind::Group } else { MentionKind::Name };
            self.push(kind, name, Some(name));
        }
    }

    /// The list.
    #[must_use]
    pub fn into_vec(self) -> Vec<Mention> {
        self.0
    }
}

/// Every plain `@name` of a text, without the sign: letters, digits, `_`, `-`, inner `.`, and one inner `/`.
///
/// An `@` inside a word (`ann@example.com`) or in a code span or fence is no mention, as on GitHub.
pub fn plain_names(text: &str) -> impl Iterator<Item = &str> {
    let mut spans = code_spans(text).peekable();
    text.match_indices('@').filter_map(move |(at, _)| {
        while spans.next_if(|span| span.end <= at).is_some() {}
        let in_code = spans.peek().is_some_and(|span| span.start <= at);
        let before = text[..at].chars().next_back();
        let inside_word =
            before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '@' | '/' | '.' | '-' | '|'));
        if in_code || inside_word {
            return None;
        }
        name_at(&text[at + 1..])
    })
}

/// The name that a text begins with.
fn name_at(text: &str) -> Option<&str> {
    let mut slash = false;
    let mut end = 0;
    for (at, c) in text.char_indices() {
        let allowed = match c {
            '/' => at > 0 && !std::mem::replace(&mut slash, true),
            '.' | '-' => at > 0,
            _ => c.is_alphanumeric() || c == '_',
        };
        if !allowed {
            break;
        }
        end = at + c.len_utf8();
    }
    // A sentence may end right behind a name; a trailing sign is never part of it.
    let name = text[..end].trim_end_matches(['.', '-', '/']);
    // The beginning of a longer one may be somebody else's.
    (1..=MAX_NAME).contains(&name.len()).then_some(name)
}

/// Byte ranges of code spans and fences: a run of backticks up to the next run of the same length.
fn code_spans(text: &str) -> impl Iterator<Item = std::ops::Range<usize>> {
    let runs = backtick_runs(text);
    let mut spans = Vec::new();
    let mut next = 0;
    while next < runs.len() {
        let (start, len) = runs[next];
        // Looking only a bounded distance ahead keeps hostile texts of many odd runs linear.
        let close = runs[next + 1..].iter().take(64).position(|&(_, other)| other == len);
        match close {
            Some(offset) => {
                let (end, _) = runs[next + 1 + offset];
                spans.push(start..end + len);
                next += offset + 2;
            }
            None => next += 1,
        }
    }
    spans.into_iter()
}

/// Start and length of every run of backticks.
fn backtick_runs(text: &str) -> Vec<(usize, usize)> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for (at, _) in text.match_indices('`') {
        match runs.last_mut() {
            Some((start, len)) if *start + *len == at => *len += 1,
            _ => runs.push((at, 1)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(text: &str) -> Vec<&str> {
        plain_names(text).collect()
    }

    #[test]
    fn plain_names_are_found_where_people_type_them() {
        assert_eq!(names("@AI_Squad please"), ["AI_Squad"]);
        assert_eq!(names("ping @coder, @reviewer-2. (@qa)"), ["coder", "reviewer-2", "qa"]);
        assert_eq!(names("cc @acme/ai-squad!"), ["acme/ai-squad"]);
        assert_eq!(names("Frage an @Jürgen."), ["Jürgen"]);
        assert_eq!(names("@v1.2 and @end."), ["v1.2", "end"]);
        assert_eq!(names("**@bold** \"@quoted\" >@cited"), ["bold", "quoted", "cited"]);
    }

    #[test]
    fn a_slash_stands_inside_of_a_name() {
        assert_eq!(names("@/team @/ @acme/ @a/b/c"), ["acme", "a/b"]);
    }

    #[test]
    fn a_name_that_is_too_long_names_nobody() {
        let name = "n".repeat(MAX_NAME);
        assert_eq!(names(&format!("@{name}...")), [name.as_str()]);
        assert_eq!(names(&format!("@{name}n and @{}é", &name[1..])), Vec::<&str>::new());
    }

    #[test]
    fn addresses_code_and_markup_are_no_mentions() {
        assert_eq!(names("mail ann@example.com or a.@b"), Vec::<&str>::new());
        assert_eq!(names("run `npm i @scope/pkg` now"), Vec::<&str>::new());
        assert_eq!(names("```\n@decorator\n``` then @coder"), ["coder"]);
        assert_eq!(names("``a ` @b`` @c"), ["c"]);
        assert_eq!(names("an unclosed ` is text: @coder"), ["coder"]);
        assert_eq!(names("@@twice @ alone @"), Vec::<&str>::new());
        assert_eq!(names("https://x.example/@user"), Vec::<&str>::new());
    }

    #[test]
    fn a_list_holds_each_once_and_has_an_end() {
        let mut mentions = Mentions::default();
        let text: String = (0..1000).map(|i| format!("@a{} ", i % 500)).collect();
        mentions.scan(&text);
        assert_eq!(mentions.into_vec().len(), MAX_MENTIONS);
    }

    proptest! {
        #[test]
        fn any_text_is_scanned_without_panic(text in "\\PC*") {
            for name in plain_names(&text) {
                prop_assert!(!name.is_empty() && text.contains(name));
            }
        }
    }
}
