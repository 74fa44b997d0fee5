//! Mentions in a text that mixes a provider's own markup with plain `@names`, in order of appearance.

use nexus_core::mention::{MAX_MENTIONS, Mention, MentionKind, Mentions, plain_names};

use super::bounds;

/// Stands in the plain text where markup stood: no letter, so that no name grows over it.
const MARK: char = '\u{fffc}';

/// More marks than this are read over; repeated ones are common, hence more than mentions are kept.
const MAX_MARKS: usize = 10 * MAX_MENTIONS;

/// A text that is taken apart: what people typed, and the mentions that the markup spells out. As much of it
/// as an event can carry; whoever is named further on is not told of.
#[derive(Debug, Default)]
pub(super) struct Named {
    plain: String,
    marks: Vec<(usize, Mention)>,
}

impl Named {
    /// Adds what people typed. Plain names are looked for in the whole at the end, so that a code span may
    /// go on over markup.
    pub(super) fn text(&mut self, text: &str) {
        if !self.is_full() {
            let room = bounds::MAX_TEXT.saturating_sub(self.plain.len());
            self.plain.push_str(bounds::head(text, room));
        }
    }

    /// Adds one typed character.
    pub(super) fn char(&mut self, c: char) {
        self.text(c.encode_utf8(&mut [0; 4]));
    }

    /// Adds a mention that markup spells out.
    pub(super) fn mention(&mut self, kind: MentionKind, id: &str, name: Option<&str>) {
        if self.marks.len() < MAX_MARKS && !self.is_full() {
            let name = name.map(str::to_owned);
            let id = id.to_owned();
            self.marks.push((self.plain.len(), Mention { kind, id, name }));
        }
        self.gap();
    }

    /// Adds markup that mentions nobody.
    pub(super) fn gap(&mut self) {
        self.char(MARK);
    }

    /// Whether there may be no room for one more character.
    const fn is_full(&self) -> bool {
        self.plain.len() + 4 > bounds::MAX_TEXT
    }

    /// Adds everybody who is named to the list.
    pub(super) fn collect(self, mentions: &mut Mentions) {
        let Self { plain, marks } = self;
        let start = plain.as_ptr().addr();
        let mut marks = marks.into_iter().peekable();
        let mark = |(_, mark): (usize, Mention), mentions: &mut Mentions| {
            mentions.push(mark.kind, &mark.id, mark.name.as_deref());
        };
        for name in plain_names(&plain) {
            let at = name.as_ptr().addr() - start;
            while let Some(before) = marks.next_if(|(place, _)| *place < at) {
                mark(before, mentions);
            }
            let kind = if name.contains('/') { MentionKind::Group } else { MentionKind::Name };
            mentions.push(kind, name, Some(name));
        }
        for rest in marks {
            mark(rest, mentions);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_apart_has_an_end() {
        let mut named = Named::default();
        for _ in 0..100 {
            named.text(&"é ".repeat(10_000));
            named.mention(MentionKind::User, "U1", None);
        }
        assert!(named.plain.len() <= bounds::MAX_TEXT && named.plain.len() + 4 > bounds::MAX_TEXT);
        named.mention(MentionKind::User, "U2", None);
        named.text("@late");
        let mut mentions = Mentions::default();
        named.collect(&mut mentions);
        let ids: Vec<_> = mentions.into_vec().into_iter().map(|mention| mention.id).collect();
        assert_eq!(ids, ["U1"]);
    }

    #[test]
    fn names_and_marks_come_in_order_and_code_goes_on_over_marks() {
        let mut named = Named::default();
        named.text("@first ");
        named.mention(MentionKind::User, "U2", Some("second"));
        named.text(" then `x ");
        named.gap();
        named.text(" @code` and @third");
        let mut mentions = Mentions::default();
        named.collect(&mut mentions);
        let ids: Vec<_> = mentions.into_vec().into_iter().map(|mention| mention.id).collect();
        assert_eq!(ids, ["first", "U2", "third"]);
    }
}
