use std::fs::OpenOptions;
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

fn active(dir: &Path) -> PathBuf {
    journals(dir).unwrap().pop().unwrap()
}

/// Takes a page out of the value of each of these batches.
fn tear(journal: &Path, torn: &[usize]) {
    let outlines = outline(&read(journal).unwrap().0);
    let file = OpenOptions::new().write(true).open(journal).unwrap();
    for torn in torn {
        // The first one is the format's.
        let page = outlines[1 + torn].at + 8_000;
        file.write_all_at(&[0; 4096], page as u64).unwrap();
    }
}

/// A log of these batches, with a missing page in the value of some.
fn damaged(batches: &[(&str, bool)], torn: &[usize]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(dir.path()).unwrap());
    for (name, synced) in batches {
        write(&store, name, *synced);
    }
    drop(store);
    let journal = active(dir.path());
    let outlines = outline(&read(&journal).unwrap().0);
    assert_eq!(outlines.len(), 1 + batches.len());
    assert!(outlines[0].synced, "the mark of the format is synced, and says so");
    assert!(outlines[1..].iter().zip(batches).all(|(found, made)| found.synced == made.1 && found.whole));
    tear(&journal, torn);
    dir
}

/// What is set aside, in the order of the numbers.
fn aside(dir: &Path) -> Vec<Vec<u8>> {
    let mut found: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|end| end == "torn"));
    found.sort();
    found.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Must not be opened, and nothing may be changed.
fn refused(dir: &Path) {
    let journals = journals(dir).unwrap();
    let before: Vec<_> = journals.iter().map(|journal| fs::read(journal).unwrap()).collect();
    for _ in 0..2 {
        let error = Store::open(dir).unwrap_err();
        assert_eq!(error.to_string(), "the store cannot open the log");
    }
    let after: Vec<_> = journals.iter().map(|journal| fs::read(journal).unwrap()).collect();
    assert!(before == after);
    assert!(aside(dir).is_empty());
}

fn kept(dir: &Path, name: &str) -> bool {
    let store = Store::open(dir).unwrap();
    store.get(Space::Meta, name.as_bytes()).unwrap().is_some()
}

#[test]
fn a_batch_that_was_being_synced_is_cut_off() {
    let dir = damaged(&[("a", true), ("b", false), ("c", true)], &[2]);
    assert!(kept(dir.path(), "b") && !kept(dir.path(), "c"));
    assert!(kept(dir.path(), "a"));
    // And it can be written to again.
    write(&Arc::new(Store::open(dir.path()).unwrap()), "d", true);
    assert!(kept(dir.path(), "d"));
}

#[test]
fn what_followed_the_last_synced_batch_was_not_synced() {
    let dir = damaged(&[("a", true), ("b", false), ("c", false)], &[1]);
    assert!(kept(dir.path(), "a") && !kept(dir.path(), "b"));
    assert!(!kept(dir.path(), "c"));
}

#[test]
fn batches_that_were_torn_together_are_cut_off_together() {
    let dir = damaged(&[("a", true), ("b", false), ("c", true)], &[1, 2]);
    assert!(kept(dir.path(), "a") && !kept(dir.path(), "b") && !kept(dir.path(), "c"));
}

#[test]
fn damage_before_a_synced_batch_is_an_error_and_nothing_is_cut() {
    for torn in [&[0][..], &[1], &[0, 3], &[1, 3]] {
        let dir = damaged(&[("a", true), ("b", false), ("c", true), ("d", false)], torn);
        refused(dir.path());
    }
}

#[test]
fn what_was_synced_behind_a_gap_is_found() {
    let dir = damaged(&[("a", true), ("b", false), ("c", true), ("d", true)], &[1]);
    let journal = active(dir.path());
    let outlines = outline(&read(&journal).unwrap().0);
    let file = OpenOptions::new().write(true).open(&journal).unwrap();
    file.write_all_at(&[0; 100], outlines[3].at as u64).unwrap();
    assert_eq!(outline(&read(&journal).unwrap().0).len(), 3);
    refused(dir.path());
}

#[test]
fn damage_in_a_journal_that_was_followed_by_another_is_an_error() {
    let dir = damaged(&[("a", true), ("b", false), ("c", true)], &[]);
    let first = active(dir.path());
    let number: u64 = first.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    let second = first.with_extension("").with_file_name(format!("{}.jnl", number + 1));
    fs::copy(&first, &second).unwrap();
    tear(&first, &[2]);
    refused(dir.path());
    // Also if the last one has a torn end besides.
    tear(&second, &[2]);
    refused(dir.path());
}

#[test]
fn a_repair_can_be_interrupted_at_each_step() {
    for steps in 0..=3 {
        let dir = damaged(&[("a", true), ("b", false), ("c", true)], &[2]);
        let torn = fs::read(active(dir.path())).unwrap();
        let cut = Cut::plan(dir.path()).unwrap().unwrap();
        if steps > 0 {
            cut.set_aside().unwrap();
        }
        if steps > 1 {
            cut.write().unwrap();
        }
        if steps > 2 {
            cut.install().unwrap();
        } else {
            // Half of a file that was being written.
            fs::write(cut.part(), &torn[..torn.len() / 2]).unwrap();
        }
        assert!(kept(dir.path(), "a") && kept(dir.path(), "b") && !kept(dir.path(), "c"), "{steps}");
        let aside = aside(dir.path());
        assert_eq!(aside.len(), if matches!(steps, 0 | 3) { 1 } else { 2 });
        assert!(aside.iter().all(|aside| *aside == torn));
    }
}

#[test]
fn what_was_set_aside_is_never_written_over() {
    let dir = damaged(&[("a", true), ("b", true)], &[1]);
    let first = fs::read(active(dir.path())).unwrap();
    write(&Arc::new(Store::open(dir.path()).unwrap()), "c", true);
    tear(&active(dir.path()), &[1]);
    let second = fs::read(active(dir.path())).unwrap();
    assert!(kept(dir.path(), "a") && !kept(dir.path(), "c"));
    assert!(aside(dir.path()) == [first, second]);
}
