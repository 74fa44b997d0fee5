//! The first steps of a log, which fjall by itself does not make safe against a crash.
//!
//! fjall makes a journal first and its file `version` last, takes a folder without the latter for a new one, and
//! refuses to make a journal that is there: after a crash in between it would never open again. And it makes the
//! folders of keyspaces in `keyspaces` without a sync of it: until that happens for another reason, a loss of power
//! may take whole keyspaces, and the records of synced batches with them. Both were seen in simulated losses.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::Path;

use super::repair;

const KEYSPACES: &str = "keyspaces";
const VERSION: &str = "version";
const MAGIC: &[u8] = b"FJL";

/// Takes away what a crash left of a log that was never finished. Nothing was written to such a one: it has no
/// good `version`, no keyspace, and no batch in a journal. What has any of these is left alone.
pub(super) fn clear_unfinished(path: &Path) -> io::Result<()> {
    if has_version(path)? || !is_empty(&path.join(KEYSPACES))? {
        return Ok(());
    }
    let journals = if path.try_exists()? { repair::journals(path)? } else { Vec::new() };
    for journal in &journals {
        if !repair::read(journal)?.0.is_empty() {
            return Ok(());
        }
    }
    for file in journals.iter().chain([&path.join(VERSION)]) {
        match fs::remove_file(file) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            removed => removed?,
        }
    }
    Ok(())
}

/// Makes the names of the log and of its keyspaces durable, before anything is written to it.
pub(super) fn sync_names(path: &Path) -> io::Result<()> {
    let keyspaces = path.join(KEYSPACES);
    for folder in [Some(&*keyspaces), Some(path), path.parent()].into_iter().flatten() {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

fn has_version(path: &Path) -> io::Result<bool> {
    match fs::read(path.join(VERSION)) {
        Ok(version) => Ok(version.starts_with(MAGIC)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether a folder is empty, or not there.
fn is_empty(folder: &Path) -> io::Result<bool> {
    match fs::read_dir(folder) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::store::{Space, Store, Txn};
    use super::*;

    /// What fjall has made of a new log when it is killed: a journal of zeros, and perhaps its name for a version.
    fn unfinished(path: &Path, version: Option<&[u8]>) {
        fs::create_dir_all(path.join(KEYSPACES)).unwrap();
        File::create(path.join("0.jnl")).unwrap().set_len(1 << 20).unwrap();
        if let Some(version) = version {
            fs::write(path.join(VERSION), version).unwrap();
        }
    }

    #[test]
    fn a_log_that_was_never_finished_is_made_anew() {
        for version in [None, Some(&b""[..]), Some(&[0; 4])] {
            let dir = tempfile::tempdir().unwrap();
            unfinished(dir.path(), version);
            Store::open(dir.path()).unwrap();
        }
    }

    #[test]
    fn what_may_hold_something_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(dir.path()).unwrap());
        let mut txn = Txn::new(&store);
        txn.put(Space::Ids, "a", *b"1");
        txn.commit(true).unwrap();
        drop(store);
        fs::write(dir.path().join(VERSION), b"").unwrap();
        let error = Store::open(dir.path()).unwrap_err();
        assert!(dir.path().join("0.jnl").exists(), "{error}");
        fs::remove_dir_all(dir.path().join(KEYSPACES)).unwrap();
        Store::open(dir.path()).unwrap_err();
        assert!(dir.path().join("0.jnl").exists(), "its batches may be all that is left");
    }
}
