use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::super::store::{Store, Txn};
use super::*;

fn write(store: &Arc<Store>, name: &str, synced: bool) {
    let mut txn = Txn::new(store);
    txn.put(Space::Routes, name, vec![b'x'; 20_000]);
    txn.put(Space::Meta, name, b"small");
    txn.commit(synced).unwrap();
}

/// A log of these batches, with a missing page in the value of one.
fn damaged(batches: &[(&str, bool)], torn: usize) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(dir.path()).unwrap());
    for (name, synced) in batches {
        write(&store, name, *synced);
    }
    drop(store);
    let journal = active_journal(dir.path()).unwrap().unwrap();
    let outlines = outline(&mut BufReader::new(File::open(&journal).unwrap())).unwrap();
    // The first one is the format's.
    let outlines = &outlines[1..];
    assert_eq!(outlines.len(), batches.len());
    assert!(
        outlines
            .iter()
            .zip(batches)
            .all(|(found, made)| found.synced == made.1)
    );
    let page = outlines[torn].at + 8_000;
    let file = OpenOptions::new().write(true).open(&journal).unwrap();
    file.write_all_at(&[0; 4096], page).unwrap();
    dir
}

fn kept(dir: &Path, name: &str) -> bool {
    let store = Store::open(dir).unwrap();
    store.get(Space::Meta, name.as_bytes()).unwrap().is_some()
}

#[test]
fn a_batch_that_was_being_synced_is_cut_off() {
    let dir = damaged(&[("a", true), ("b", false), ("c", true)], 2);
    assert!(kept(dir.path(), "b") && !kept(dir.path(), "c"));
    assert!(kept(dir.path(), "a"));
    // And it can be written to again.
    write(&Arc::new(Store::open(dir.path()).unwrap()), "d", true);
    assert!(kept(dir.path(), "d"));
}

#[test]
fn what_followed_the_last_synced_batch_was_not_synced() {
    let dir = damaged(&[("a", true), ("b", false), ("c", false)], 1);
    assert!(kept(dir.path(), "a") && !kept(dir.path(), "b"));
    assert!(!kept(dir.path(), "c"));
}

#[test]
fn damage_before_a_synced_batch_is_an_error_and_nothing_is_cut() {
    for torn in [0, 1] {
        let dir = damaged(&[("a", true), ("b", false), ("c", true), ("d", false)], torn);
        let journal = active_journal(dir.path()).unwrap().unwrap();
        let before = std::fs::metadata(&journal).unwrap().len();
        let error = Store::open(dir.path()).unwrap_err();
        assert_eq!(error.to_string(), "the store cannot open the log");
        assert_eq!(std::fs::metadata(&journal).unwrap().len(), before);
    }
}
