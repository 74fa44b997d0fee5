//! What a message says: its text, or where that is empty its blocks, attachments and files, written in
//! Slack's own markup; and whom it names.

use std::borrow::Cow;

use nexus_core::mention::{MentionKind, Mentions};

use super::body::{Attachment, Block, BlockText, Event, File};
use crate::normalize::bounds;
use crate::normalize::lenient::{Read, Text};
use crate::normalize::named::Named;

/// Blocks may hold blocks, so deep.
const MAX_DEPTH: usize = 16;

/// More text than this is not gathered from blocks.
const MAX_RENDERED: usize = 256 << 10;

/// The longest markup: a link with its label.
const MAX_MARKUP: usize = 8 << 10;

/// What a message says.
pub(super) struct Content<'m> {
    /// In Slack's markup.
    pub(super) text: Cow<'m, str>,
    /// What the blocks and attachments say, where the text came from elsewhere: they may name people whom the
    /// text, written for notifications, leaves out.
    beside: String,
}

impl Content<'_> {
    /// Adds everybody who is named to the list.
    pub(super) fn mentions(&self, mentions: &mut Mentions) {
        scan(&self.text, mentions);
        scan(&self.beside, mentions);
    }
}

/// Whether nothing in a message can be read.
pub(super) fn is_empty(event: &Event<'_>) -> bool {
    of(event).text.is_empty()
}

pub(super) fn of<'m>(event: &'m Event<'m>) -> Content<'m> {
    let mut said = String::new();
    for block in event.blocks.iter() {
        paragraph(&mut said, |out| self::block(out, block, 0));
    }
    for attachment in event.attachments.iter() {
        paragraph(&mut said, |out| self::attachment(out, attachment));
    }
    if let Some(text) = event.text.text() {
        return Content { text: Cow::Borrowed(text), beside: said };
    }
    for file in event.files.iter() {
        paragraph(&mut said, |out| self::file(out, file));
    }
    Content { text: Cow::Owned(said), beside: String::new() }
}

/// Writes a part on lines of its own.
fn paragraph(out: &mut String, write: impl FnOnce(&mut String)) {
    if out.len() > MAX_RENDERED {
        return;
    }
    let before = out.len();
    if before > 0 && !out.ends_with('\n') {
        out.push('\n');
    }
    let start = out.len();
    write(out);
    while out.len() > start && out.ends_with('\n') {
        out.pop();
    }
    if out.len() == start {
        out.truncate(before);
    }
}

fn attachment(out: &mut String, attachment: &Attachment<'_>) {
    for text in [&attachment.pretext, &attachment.title, &attachment.text] {
        paragraph(out, |out| out.push_str(text.text().unwrap_or_default()));
    }
    for field in attachment.fields.iter() {
        paragraph(out, |out| pair(out, &field.title, &field.value));
    }
    for block in attachment.blocks.iter() {
        paragraph(out, |out| self::block(out, block, 0));
    }
    if out.is_empty() {
        out.push_str(attachment.fallback.text().unwrap_or_default());
    }
}

fn pair(out: &mut String, title: &Text<'_>, value: &Text<'_>) {
    match (title.text(), value.text()) {
        (Some(title), Some(value)) => {
            out.push_str(title);
            out.push_str(": ");
            out.push_str(value);
        }
        (one, other) => out.push_str(one.or(other).unwrap_or_default()),
    }
}

fn file(out: &mut String, file: &File<'_>) {
    escape(out, file.title.text().or_else(|| file.name.text()).unwrap_or_default());
}

/// Writes a block or an element.
fn block(out: &mut String, block: &Block<'_>, depth: usize) {
    if depth > MAX_DEPTH || out.len() > MAX_RENDERED {
        return;
    }
    match block.kind.text().unwrap_or_default() {
        "user" => wrapped(out, "<@", block.user_id.word()),
        "usergroup" => wrapped(out, "<!subteam^", block.usergroup_id.word()),
        "broadcast" => wrapped(out, "<!", block.range.word()),
        "channel" => wrapped(out, "<#", block.channel_id.word()),
        "emoji" => {
            if let Some(name) = block.name.word() {
                out.extend([":", name, ":"]);
            }
        }
        "link" => link(out, block),
        "text" => element(out, block),
        "rich_text_list" => {
            for item in block.elements.iter() {
                paragraph(out, |out| {
                    out.push_str("• ");
                    self::block(out, item, depth + 1);
                });
            }
        }
        "rich_text_preformatted" => {
            out.push_str("```\n");
            children(out, block, depth);
            out.push_str("\n```");
        }
        "rich_text_quote" => {
            let mut quoted = String::new();
            children(&mut quoted, block, depth);
            for line in quoted.lines() {
                paragraph(out, |out| out.extend(["> ", line]));
            }
        }
        "rich_text_section" => children(out, block, depth),
        // Markdown is no markup of Slack's, but its text is what is said.
        "markdown" => out.push_str(word(&block.text)),
        _ => lines(out, block, depth),
    }
}

/// Writes the parts of a block that is none of the above: section, header, context, rich_text and the rest.
fn lines(out: &mut String, block: &Block<'_>, depth: usize) {
    for part in [&block.text, &block.title] {
        match part {
            Read::Object(text) => paragraph(out, |out| object(out, text)),
            Read::Word(text) => paragraph(out, |out| out.push_str(text)),
            Read::List(_) | Read::Other => {}
        }
    }
    for field in block.fields.iter() {
        paragraph(out, |out| object(out, field));
    }
    for element in block.elements.iter() {
        paragraph(out, |out| self::block(out, element, depth + 1));
    }
}

fn children(out: &mut String, block: &Block<'_>, depth: usize) {
    for element in block.elements.iter() {
        self::block(out, element, depth + 1);
    }
}

/// Writes a text object: plain text is not escaped yet.
fn object(out: &mut String, text: &BlockText<'_>) {
    let content = text.text.text().unwrap_or_default();
    if text.kind.is("plain_text") {
        escape(out, content);
    } else {
        out.push_str(content);
    }
}

fn element(out: &mut String, block: &Block<'_>) {
    let code = block.style.get().is_some_and(|style| style.code.yes());
    let tick = if code { "`" } else { "" };
    out.push_str(tick);
    escape(out, word(&block.text));
    out.push_str(tick);
}

fn link(out: &mut String, block: &Block<'_>) {
    let Some(url) = block.url.word() else { return };
    out.push('<');
    escape(out, url);
    let label = word(&block.text);
    if !label.is_empty() {
        out.push('|');
        escape(out, label);
    }
    out.push('>');
}

fn wrapped(out: &mut String, open: &str, id: Option<&str>) {
    if let Some(id) = id {
        out.extend([open, id, ">"]);
    }
}

fn word<'t>(text: &'t Read<'_, BlockText<'_>>) -> &'t str {
    match text {
        Read::Word(text) => text,
        Read::Object(text) => text.text.text().unwrap_or_default(),
        Read::List(_) | Read::Other => "",
    }
}

/// Slack escapes three characters and no more.
fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            _ => out.push(c),
        }
    }
}

/// Adds everybody whom a text in Slack's markup names.
fn scan(text: &str, mentions: &mut Mentions) {
    let mut named = Named::default();
    let mut rest = bounds::head(text, bounds::MAX_TEXT);
    while let Some(at) = rest.find(['<', '&']) {
        named.text(&rest[..at]);
        rest = &rest[at..];
        let taken = if rest.starts_with('&') { entity(&mut named, rest) } else { markup(&mut named, rest) };
        rest = &rest[taken..];
    }
    named.text(rest);
    named.collect(mentions);
}

/// Reads an entity, or an `&` that is none; gives its length.
fn entity(named: &mut Named, rest: &str) -> usize {
    for (entity, c) in [("&amp;", '&'), ("&lt;", '<'), ("&gt;", '>')] {
        if rest.starts_with(entity) {
            named.char(c);
            return entity.len();
        }
    }
    named.char('&');
    1
}

/// Reads what stands between `<` and `>`; gives its length. A `<` that is never closed is text.
fn markup(named: &mut Named, rest: &str) -> usize {
    let Some(inner) = inner(rest) else {
        named.char('<');
        return 1;
    };
    let (target, label) = match inner.split_once('|') {
        Some((target, label)) => (target, Some(label)),
        None => (inner, None),
    };
    let id =
        |id: &str| !id.is_empty() && id.len() <= 255 && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if let Some(user) = target.strip_prefix('@').filter(|user| id(user)) {
        named.mention(MentionKind::User, user, label);
    } else if let Some(group) = target.strip_prefix("!subteam^").filter(|group| id(group)) {
        named.mention(MentionKind::Group, group, label);
    } else if let Some(range @ ("here" | "channel" | "everyone")) = target.strip_prefix('!') {
        named.mention(MentionKind::Broadcast, range, Some(range));
    } else {
        named.gap();
    }
    "<>".len() + inner.len()
}

/// What stands between a `<` and its `>`. Slack escapes a `<` that is typed, so that the next one ends the
/// search: no byte is looked at twice, and the search has an end beside.
fn inner(rest: &str) -> Option<&str> {
    let rest = bounds::head(rest.strip_prefix('<')?, MAX_MARKUP);
    let end = rest.find(['<', '>', '\n'])?;
    rest[end..].starts_with('>').then_some(&rest[..end])
}

#[cfg(test)]
mod tests {
    use nexus_core::mention::Mention;
    use proptest::prelude::*;

    use super::*;

    fn found(text: &str) -> Vec<(MentionKind, String, Option<String>)> {
        let mut mentions = Mentions::default();
        scan(text, &mut mentions);
        let apart = |Mention { kind, id, name }| (kind, id, name);
        mentions.into_vec().into_iter().map(apart).collect()
    }

    #[test]
    fn every_form_of_mention_is_read_in_order() {
        use MentionKind::{Broadcast, Group, Name, User};
        let text = "@AI_Squad <@U024BE7LH> &lt;@plain&gt; <@W1|bob> <!subteam^S1|@devs> <!here|@here> <!channel> \
                    <#C1|general> <https://x.example/@no|@label> <!date^1^x|y> <mailto:a@b.c|a@b.c> a&amp;@b <@unclosed";
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            found(text),
            [
                (Name, "AI_Squad".into(), some("AI_Squad")),
                (User, "U024BE7LH".into(), None),
                (Name, "plain".into(), some("plain")),
                (User, "W1".into(), some("bob")),
                (Group, "S1".into(), some("devs")),
                (Broadcast, "here".into(), some("here")),
                (Broadcast, "channel".into(), some("channel")),
                (Name, "b".into(), some("b")),
                (Name, "unclosed".into(), some("unclosed")),
            ]
        );
    }

    #[test]
    fn code_goes_on_over_markup() {
        assert_eq!(found("```\n<https://a.example> @decorator\n```"), []);
        assert_eq!(found("`a < b @c`"), []);
    }

    #[test]
    fn markup_is_looked_for_up_to_the_next_and_in_so_many_bytes() {
        assert_eq!(inner("<@U1>"), Some("@U1"));
        for open in ["<@U1", "<@U1\n>", "<@U1 <@U2>", &format!("<{}>", "a".repeat(MAX_MARKUP))] {
            assert_eq!(inner(open), None);
        }
        assert_eq!(
            found("a <b <@U2>"),
            [(MentionKind::User, "U2".into(), None)],
            "a stray sign hides nobody"
        );
        // As many as a body may have: this ends.
        for beginning in ["<", "<@U1 ", "<é&", "&"] {
            let text = beginning.repeat((25 << 20) / beginning.len());
            assert_eq!(found(&text).len(), usize::from(text.contains("@U1")), "{beginning}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_scanned_without_panic(text in "[<>@&|!^#a-z`\\n é]{0,60}") {
            found(&text);
        }
    }
}
