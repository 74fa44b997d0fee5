//! What the file system says of a file, to tell without reading it whether it changed.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

/// How long a file must have been left alone when it is read, so that any later change shows in its stamp:
/// longer than a tick of any file system's clock.
const SETTLED_SECONDS: i64 = 2;

/// A file's identity, length and times. Content is only ever changed with one of them, except within a tick of
/// the file system's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    file: (u64, u64),
    len: u64,
    modified: (i64, i64),
    /// Unlike `modified`, no program can set it back.
    changed: (i64, i64),
}

impl Stamp {
    pub(super) fn of(meta: &Metadata) -> Self {
        Self {
            file: (meta.dev(), meta.ino()),
            len: meta.len(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }

    fn is_settled(&self, now: Timestamp) -> bool {
        let (seconds, _) = self.modified.max(self.changed);
        // Whole seconds: `<` makes up for what they cut off. A time to come is not settled.
        seconds.saturating_add(SETTLED_SECONDS) < now.as_second()
    }
}

/// The stamps that files had when they were read last. A file that had just been written then has none.
#[derive(Debug, Default)]
pub(super) struct Stamps(BTreeMap<PathBuf, Stamp>);

impl Stamps {
    /// Whether a file's content is what was read last, as far as the file system says.
    pub(super) fn knows(&self, path: &Path, meta: &Metadata) -> bool {
        self.0.get(path).is_some_and(|stamp| *stamp == Stamp::of(meta))
    }

    /// Notes a file that is read at `now`; `meta` must be older than the reading.
    pub(super) fn note(&mut self, path: &Path, meta: &Metadata, now: Timestamp) {
        let stamp = Stamp::of(meta);
        if stamp.is_settled(now) {
            self.0.insert(path.to_owned(), stamp);
        } else {
            self.0.remove(path);
        }
    }

    /// Forgets files.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&Path) -> bool) {
        self.0.retain(|path, _| keep(path));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_by_its_stamp_only_if_it_was_left_alone_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.yaml");
        std::fs::write(&path, "x").unwrap();
        let meta = std::fs::metadata(&path).unwrap();
        let mut stamps = Stamps::default();
        let written = Timestamp::try_from(meta.modified().unwrap()).unwrap();
        let after = |seconds: i64| written + jiff::SignedDuration::from_secs(seconds);
        stamps.note(&path, &meta, written);
        assert!(!stamps.knows(&path, &meta));
        stamps.note(&path, &meta, after(-60));
        assert!(!stamps.knows(&path, &meta), "a clock that was set back");
        stamps.note(&path, &meta, after(4));
        assert!(stamps.knows(&path, &meta));

        let other = folder.path().join("b.yaml");
        std::fs::write(&other, "y").unwrap();
        std::fs::rename(&other, &path).unwrap();
        let renamed = std::fs::metadata(&path).unwrap();
        assert!(!stamps.knows(&path, &renamed));
        stamps.note(&path, &renamed, after(60));
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(after(-3600).into()).unwrap();
        assert!(!stamps.knows(&path, &std::fs::metadata(&path).unwrap()));
        stamps.retain(|_| false);
        assert!(!stamps.knows(&path, &renamed));
    }
}
