//! How deep a body nests. No provider goes beyond some twenty levels; what goes far beyond is made to exhaust a
//! reader, here or at an agent that fetches the raw body.

/// The deepest nesting that is taken, as `serde_json` has it.
pub(super) const MAX_DEPTH: usize = 128;

/// Whether a body opens more brackets than [`MAX_DEPTH`] at once. One pass that allocates nothing; a body that is no
/// JSON gets some answer.
pub(super) fn is_too_deep(json: &str) -> bool {
    let mut rest = json.as_bytes();
    let mut depth = 0_usize;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'"' => rest = after_string(rest),
            b'{' | b'[' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return true;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

/// What follows a string that has begun. Bodies are mostly strings, so these are not looked at byte by byte.
fn after_string(mut rest: &[u8]) -> &[u8] {
    while let Some(at) = memchr::memchr2(b'"', b'\\', rest) {
        let skipped = if rest[at] == b'"' { 1 } else { 2 };
        rest = rest.get(at + skipped..).unwrap_or_default();
        if skipped == 1 {
            return rest;
        }
    }
    &[]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn nested(levels: usize) -> String {
        "[".repeat(levels) + &"]".repeat(levels)
    }

    #[test]
    fn the_last_level_that_is_taken() {
        assert!(!is_too_deep(&nested(MAX_DEPTH)));
        assert!(is_too_deep(&nested(MAX_DEPTH + 1)));
        let objects = |levels: usize| r#"{"a":"#.repeat(levels) + "1" + &"}".repeat(levels);
        assert!(!is_too_deep(&objects(MAX_DEPTH)));
        assert!(is_too_deep(&objects(MAX_DEPTH + 1)));
    }

    #[test]
    fn brackets_of_texts_and_of_neighbours_do_not_count() {
        let text = "[{".repeat(200);
        assert!(!is_too_deep(&format!(r#"{{"a":"\"{text}\\","b":[]}}"#)));
        assert!(!is_too_deep(&format!("[{}]", vec!["[]"; 200].join(","))));
        // Closing brackets in a text hide nothing.
        let closing = "]".repeat(100);
        assert!(is_too_deep(&format!(r#"{}"{closing}",{}"#, "[".repeat(100), "[".repeat(100))));
    }

    fn depth(value: &Value) -> usize {
        match value {
            Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or_default(),
            Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or_default(),
            _ => 0,
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_parser(text in "[\\[\\]{}\"\\\\a]{0,12}", around in 120_usize..132) {
            let inner = Value::String(text);
            let json = format!("{}{inner}{}", "[".repeat(around), "]".repeat(around));
            prop_assert_eq!(is_too_deep(&json), around > MAX_DEPTH);
            if around <= 127 {
                let value: Value = serde_json::from_str(&json).unwrap();
                prop_assert_eq!(depth(&value), around);
            }
        }
    }
}
