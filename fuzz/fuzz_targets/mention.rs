//! Plain mentions: whom a text names.

#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::{Corpus, fuzz_target};
use nexus_core::mention::{MAX_MENTIONS, MentionKind, Mentions, plain_names};

/// As documented: the longest name, in bytes.
const MAX_NAME: usize = 100;

fuzz_target!(|data: &[u8]| -> Corpus {
    let Ok(text) = std::str::from_utf8(data) else { return Corpus::Reject };
    let start = text.as_ptr().addr();
    let names: Vec<_> = plain_names(text).collect();

    let mut end = 0;
    for name in &names {
        // Each is a part of the text, behind its sign, and they come in order.
        let at = name.as_ptr().addr() - start;
        assert!(at > end || end == 0, "{name} overlaps the one before");
        assert_eq!(&text[at - 1..at], "@");
        assert_eq!(&text[at..at + name.len()], *name);
        end = at + name.len();
        assert!((1..=MAX_NAME).contains(&name.len()), "{} bytes: {name}", name.len());
        assert!(!name.starts_with(['.', '-', '/']) && !name.ends_with(['.', '-', '/']), "{name}");
        assert!(!name.contains(['@', '`', ' ', '\n']), "{name}");
        assert!(name.matches('/').count() <= 1, "{name}");
        // A name that is typed alone is the same name.
        assert_eq!(plain_names(&format!("@{name}")).collect::<Vec<_>>(), [*name]);
    }
    assert_eq!(plain_names(text).collect::<Vec<_>>(), names);

    let mut mentions = Mentions::default();
    mentions.scan(text);
    // Scanned twice, nobody is named twice.
    mentions.scan(text);
    let list = mentions.into_vec();
    let mut seen = BTreeSet::new();
    let first: Vec<_> = names.iter().filter(|name| seen.insert(**name)).take(MAX_MENTIONS).collect();
    assert_eq!(list.len(), first.len());
    for (mention, name) in list.iter().zip(first) {
        let kind = if name.contains('/') { MentionKind::Group } else { MentionKind::Name };
        assert_eq!((mention.kind, mention.id.as_str(), mention.name.as_deref()), (kind, *name, Some(*name)));
    }
    Corpus::Keep
});
