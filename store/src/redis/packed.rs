//! Text that is kept packed where that makes it smaller: an event's JSON waits in Redis for as long as the retention, and
//! is copied by every hop on its way.

use bytes::Bytes;

/// Nothing that is kept unpacks to more, so that no damaged length takes the memory: ingest ends at bodies of 25 MiB.
const LONGEST: usize = 64 << 20;

/// Text as it is kept: packed by LZ4 where that makes it smaller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Packed {
    kept: Bytes,
    /// Of the text itself.
    len: usize,
}

impl Packed {
    pub(crate) fn of(text: Bytes) -> Self {
        let len = text.len();
        let packed = if len <= LONGEST { lz4_flex::block::compress(&text) } else { Vec::new() };
        let smaller = !packed.is_empty() && packed.len() < len;
        Self { kept: if smaller { packed.into() } else { text }, len }
    }

    /// What was kept of a text of this length.
    pub(crate) const fn kept_as(kept: Bytes, len: usize) -> Self {
        Self { kept, len }
    }

    /// The bytes that are kept; fewer than the text has, when it is packed.
    pub(crate) const fn kept(&self) -> &Bytes {
        &self.kept
    }

    /// The length of the text.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// The text, in memory of its own; none if this is not what was kept of it.
    pub(crate) fn unpack(&self) -> Option<Bytes> {
        if self.kept.len() == self.len {
            return Some(Bytes::copy_from_slice(&self.kept));
        }
        let longest = self.len.max(self.kept.len()) <= LONGEST;
        let text = longest.then(|| lz4_flex::block::decompress(&self.kept, self.len).ok()).flatten()?;
        (text.len() == self.len).then(|| text.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_gets_smaller_is_packed() {
        for (text, packed) in [("x".repeat(1000), true), ("xyz".to_owned(), false), (String::new(), false)] {
            let kept = Packed::of(text.clone().into());
            assert_eq!((kept.kept().len() < text.len(), kept.len()), (packed, text.len()), "{text}");
            assert_eq!(kept.unpack().unwrap(), text);
        }
    }

    #[test]
    fn what_was_damaged_is_nothing() {
        let packed = Packed::of("x".repeat(1000).into());
        let kept = packed.kept();
        assert!(Packed::kept_as(kept.slice(1..), 1000).unpack().is_none());
        assert!(Packed::kept_as(kept.clone(), 1001).unpack().is_none());
        assert!(Packed::kept_as(kept.clone(), usize::MAX).unpack().is_none());
        assert!(Packed::kept_as(Bytes::new(), 1000).unpack().is_none());
    }
}
