//! Comments: their text, and whom they name by tags, by Markdown mention links and by plain `@names`.

use std::borrow::Cow;

use nexus_core::mention::{MentionKind, Mentions};

use super::body::{Comment, HistoryItem};
use crate::normalize::lenient::{Maybe, Read, Text};
use crate::normalize::named::Named;
use crate::normalize::{Draft, bounds};

/// The longest name, kind and id of a mention link.
const MAX_PART: usize = 255;

/// The longest mention link: its three parts, and the signs between them.
const MAX_LINK: usize = 3 * MAX_PART + "[@](##)".len();

/// The text of a comment, without the newline that ClickUp ends it with.
pub(super) fn text<'i>(item: &'i HistoryItem<'_>) -> Option<Cow<'i, str>> {
    let written = match &item.comment.0 {
        Read::Object(comment) => comment.text_content.text().map(Cow::Borrowed),
        Read::Word(text) => Some(Cow::Borrowed(&**text)),
        Read::List(_) | Read::Other => None,
    };
    let joined = || {
        let text: String = pieces(item).filter_map(|piece| piece.text.text()).collect();
        Cow::Owned(text)
    };
    let text = match written.unwrap_or_else(joined) {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim_end()),
        Cow::Owned(text) => Cow::Owned(text.trim_end().to_owned()),
    };
    Some(text).filter(|text| !text.is_empty())
}

/// The pieces of a comment, whichever shape it has.
fn pieces<'i>(item: &'i HistoryItem<'_>) -> impl Iterator<Item = &'i Comment<'i>> {
    let (outer, nested): (&[_], &[_]) = match &item.comment.0 {
        Read::Object(comment) => (&[], &comment.comment.0),
        Read::List(pieces) => (pieces, &[]),
        Read::Word(_) | Read::Other => (&[], &[]),
    };
    outer.iter().chain(nested.iter().filter_map(Maybe::get))
}

pub(super) fn told(draft: &mut Draft, item: &HistoryItem<'_>) {
    let text = text(item);
    let mut named = Named::default();
    let mut written = false;
    for piece in pieces(item) {
        self::piece(&mut named, piece);
        written = true;
    }
    if let (false, Some(text)) = (written, &text) {
        links(&mut named, text);
    }
    named.collect(&mut draft.mentions);
    if draft.data.text.is_none() {
        draft.data.text = text.map(Cow::into_owned);
    }
    if let Read::Object(comment) = &item.comment.0
        && let Some(id) = comment.id.owned()
    {
        draft.link("comment", id);
    }
}

fn piece(named: &mut Named, piece: &Comment<'_>) {
    let group = piece.group.get().or_else(|| piece.user_group.get());
    let code = piece.attributes.get().is_some_and(|attributes| attributes.code.yes());
    let text = piece.text.text();
    if let Some(id) = group.and_then(|group| group.id.word()) {
        named.mention(MentionKind::Group, id, text.or_else(|| group?.name()));
    } else if piece.kind.is("tag") {
        let user = piece.user.get();
        match user.and_then(|user| user.id.word()) {
            Some(id) => named.mention(MentionKind::User, id, user.and_then(|user| user.name()).or(text)),
            None => named.text(text.unwrap_or_default()),
        }
    } else if code {
        named.gap();
    } else {
        links(named, text.unwrap_or_default());
    }
}

/// Adds a Markdown text with its mention links, `[@Name](#user_mention#id)`.
pub(super) fn links(named: &mut Named, text: &str) {
    let mut rest = bounds::head(text, bounds::MAX_TEXT);
    while let Some(at) = rest.find("[@") {
        named.text(&rest[..at]);
        rest = &rest[at..];
        let Some((name, kind, id, len)) = link(rest) else {
            named.text("[");
            rest = &rest[1..];
            continue;
        };
        match kind {
            "user_mention" => named.mention(MentionKind::User, id, Some(name)),
            "user_group_mention" => named.mention(MentionKind::Group, id, Some(name)),
            // The followers of a task, and whatever comes to be mentionable.
            _ => named.gap(),
        }
        rest = &rest[len..];
    }
    named.text(rest);
}

/// Name, kind, id and length of the mention link that a text begins with. Looks at no more than [`MAX_LINK`]
/// bytes of it, so that a text of nothing but beginnings costs no more than its length times that.
fn link(text: &str) -> Option<(&str, &str, &str, usize)> {
    let (name, rest) = bounds::head(text, MAX_LINK).strip_prefix("[@")?.split_once("](#")?;
    let (target, _) = rest.split_once(')')?;
    let (kind, id) = target.split_once('#')?;
    let plain = |text: &str| !text.is_empty() && text.len() <= MAX_PART && !text.contains(['\n', '[', '(']);
    let len = "[@".len() + name.len() + "](#".len() + target.len() + ")".len();
    (plain(name) && plain(kind) && plain(id)).then_some((name, kind, id, len))
}

/// Adds everybody whom a plain or Markdown text names.
pub(super) fn scan(text: &str, mentions: &mut Mentions) {
    let mut named = Named::default();
    links(&mut named, text);
    named.collect(mentions);
}

/// The first text that is there.
pub(super) fn first<'t>(texts: &[&'t Text<'_>]) -> Option<&'t str> {
    texts.iter().find_map(|text| text.word())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn mention_links_are_read() {
        let mut mentions = Mentions::default();
        scan(
            "@coder [@Ann Lee](#user_mention#183) [@team](#user_group_mention#ab-c) \
             [@followers](#task_user_group_mention#followers_tag) [@broken](#user_mention#) [@plain] [@x](https://y)",
            &mut mentions,
        );
        let found: Vec<_> = mentions
            .into_vec()
            .into_iter()
            .map(|mention| (mention.kind, mention.id, mention.name.unwrap()))
            .collect();
        let name = |name: &str| (MentionKind::Name, name.to_owned(), name.to_owned());
        assert_eq!(
            found,
            [
                name("coder"),
                (MentionKind::User, "183".into(), "Ann Lee".into()),
                (MentionKind::Group, "ab-c".into(), "team".into()),
                name("broken"),
                name("plain"),
                name("x"),
            ]
        );
    }

    #[test]
    fn a_link_is_looked_for_in_so_many_bytes() {
        let link = |name: usize| format!("[@{}](#user_mention#1)", "n".repeat(name));
        assert!(super::link(&link(MAX_PART)).is_some());
        assert!(super::link(&link(MAX_PART + 1)).is_none());
        // Beginnings without an end, and as much as a body may have of them: this ends.
        for beginning in ["[@", "[@n](#", "[@n](#user_mention#", "[@é\n"] {
            let mut mentions = Mentions::default();
            scan(&beginning.repeat((25 << 20) / beginning.len()), &mut mentions);
            assert!(mentions.into_vec().len() <= 1, "{beginning}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_scanned_without_panic(text in "[\\[\\]()@#a-z_ é]{0,60}") {
            scan(&text, &mut Mentions::default());
        }
    }
}
