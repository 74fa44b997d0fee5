//! A file's documents. They are told apart here, line by line, so that a broken one hides none of the others.

/// One document of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Document<'a> {
    /// How many lines stand before it.
    pub(super) lines: u64,
    /// Its text, the line with `---` included, so that columns are those of the file.
    pub(super) text: &'a str,
}

/// Splits a file at its `---` lines: at column 0 they always begin a document. Documents of nothing but blank
/// lines, comments and directives are left out.
pub(super) fn split(text: &str) -> impl Iterator<Item = Document<'_>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut starts = vec![(0, 0)];
    let mut offset = 0;
    for (line, content) in (0..).zip(lines_of(text)) {
        if line > 0 && begins_document(content) {
            starts.push((line, offset));
        }
        offset += content.len();
    }
    let mut documents = Vec::new();
    for (at, &(lines, start)) in starts.iter().enumerate() {
        let end = starts.get(at + 1).map_or(text.len(), |&(_, next)| next);
        let text = &text[start..end];
        if lines_of(text).any(has_content) {
            documents.push(Document { lines, text });
        }
    }
    documents.into_iter()
}

/// The lines of a text with their ends, as YAML counts them: a carriage return alone ends one too.
pub(super) fn lines_of(mut text: &str) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        let end = match text.find(['\n', '\r']) {
            Some(at) if text[at..].starts_with("\r\n") => at + 2,
            Some(at) => at + 1,
            None => text.len(),
        };
        let (line, rest) = text.split_at(end);
        text = rest;
        (!line.is_empty()).then_some(line)
    })
}

fn begins_document(line: &str) -> bool {
    line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\n', '\r']))
}

fn has_content(line: &str) -> bool {
    let line = if begins_document(line) { &line[3..] } else { line };
    let text = line.trim();
    !(text.is_empty() || text.starts_with('#') || line.starts_with('%') || line.starts_with("..."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn documents(text: &str) -> Vec<(u64, &str)> {
        split(text).map(|document| (document.lines, document.text)).collect()
    }

    #[test]
    fn documents_know_their_lines() {
        assert_eq!(documents("a: 1\n---\nb: 2\n"), [(0, "a: 1\n"), (1, "---\nb: 2\n")]);
        assert_eq!(documents("---\na: 1\n--- # two\nb: 2"), [(0, "---\na: 1\n"), (2, "--- # two\nb: 2")]);
        assert_eq!(documents("a: 1\r\n---\r\nb: 2"), [(0, "a: 1\r\n"), (1, "---\r\nb: 2")]);
        assert_eq!(documents("a: 1\r\r---\rb: 2"), [(0, "a: 1\r\r"), (2, "---\rb: 2")]);
        assert_eq!(documents("--- {a: 1}"), [(0, "--- {a: 1}")]);
        assert_eq!(documents("\u{feff}a: 1"), [(0, "a: 1")]);
    }

    #[test]
    fn nothing_but_comments_is_no_document() {
        assert!(documents("").is_empty());
        assert!(documents("---\n# a comment\n\n---\n").is_empty());
        assert_eq!(documents("# a comment\ra: 1"), [(0, "# a comment\ra: 1")]);
        assert_eq!(documents("%YAML 1.2\n---\na: 1"), [(1, "---\na: 1")]);
    }

    #[test]
    fn other_lines_with_dashes_are_content() {
        assert_eq!(documents("a: |\n  ---\n  x\n").len(), 1);
        assert_eq!(documents("a: 1\n----\n").len(), 1);
        assert_eq!(documents("a: 1\n---b\n").len(), 1);
    }
}
