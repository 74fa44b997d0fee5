//! The layer under the losses of power catches a program that forgets a sync, and none that does not.
#![expect(clippy::unwrap_used, reason = "a test reports by panics")]

use std::path::{Path, PathBuf};
use std::process::Command;

use nexus_e2e::powerloss::folder::{self, Content, Entry};
use nexus_e2e::powerloss::log::Log;
use nexus_e2e::powerloss::replay::{History, check};
use nexus_e2e::powerloss::{Model, Recorder};

const SEEDS: u64 = 300;

/// What the victim holds to be durable when it ends.
const BLOCK: usize = 9000;
const TIMES: u8 = 20;

struct Run {
    _work: tempfile::TempDir,
    log: Log,
    left: Content,
}

impl Run {
    /// Runs the victim, which leaves out one step.
    fn new(forgets: &str) -> Self {
        let work = tempfile::tempdir().unwrap();
        let root = work.path().canonicalize().unwrap();
        let (data, ops) = (root.join("data"), root.join("ops"));
        std::fs::create_dir(&data).unwrap();
        let victim = compile(&root);
        let recorder = Recorder::compile(&root).unwrap();
        let mut command = Command::new(victim);
        command.arg(&data).arg(forgets).envs(recorder.environment(&data, &ops));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let (log, left) = (Log::read(&ops, &data).unwrap(), folder::read(&data).unwrap());
        Self { _work: work, log, left }
    }

    fn history(&self) -> History<'_> {
        History::new(&Content::new(), &self.log).unwrap()
    }

    /// In how many of the states that a loss may leave something is missing.
    fn losses(&self, model: Model) -> u64 {
        let history = self.history();
        check(&history, &self.log, &self.left).unwrap();
        (0..SEEDS).filter(|seed| !is_whole(&history.after_loss(*seed, model).0)).count() as u64
    }
}

fn compile(folder: &Path) -> PathBuf {
    let victim = folder.join("victim");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/powerloss/victim.c");
    let cc = Command::new("cc").args(["-O1", "-o"]).arg(&victim).arg(source).status();
    assert!(cc.expect("install a C compiler: apt-get install gcc libc6-dev").success());
    victim
}

fn is_whole(content: &Content) -> bool {
    let bytes = |name: &str| match content.get(Path::new(name)) {
        Some(Entry::File(bytes)) => bytes.clone(),
        _ => Vec::new(),
    };
    let blocks: Vec<u8> = (0..TIMES).flat_map(|i| [b'a' + i; BLOCK]).collect();
    bytes("blocks") == blocks && bytes("current") == [b'a' + TIMES - 1; BLOCK]
}

#[test]
fn a_program_that_syncs_everything_loses_nothing() {
    let run = Run::new("nothing");
    assert_eq!(run.losses(Model::Strict), 0);
    assert_eq!(run.losses(Model::Ext4), 0);
}

#[test]
fn a_forgotten_sync_of_a_file_is_caught() {
    for forgets in ["data", "file"] {
        let run = Run::new(forgets);
        let losses = run.losses(Model::Strict);
        assert!(losses > SEEDS / 4, "{forgets}: {losses} of {SEEDS}");
        assert!(losses < SEEDS, "{forgets}: sometimes all reaches the disk in time");
        assert!(run.losses(Model::Ext4) > 0, "{forgets}");
    }
}

#[test]
fn a_forgotten_sync_of_a_folder_is_caught_where_names_are_not_durable_with_their_file() {
    let run = Run::new("folder");
    assert!(run.losses(Model::Strict) > SEEDS / 4);
    // The name is that of the last rename, which no sync of a file follows.
    let history = run.history();
    for seed in 0..SEEDS {
        let (content, _) = history.after_loss(seed, Model::Ext4);
        assert!(content.contains_key(Path::new("blocks")) && content.contains_key(Path::new("current")));
    }
}

#[test]
fn a_change_that_was_not_recorded_is_noticed() {
    let run = Run::new("mapped");
    let error = check(&run.history(), &run.log, &run.left).unwrap_err().to_string();
    assert!(error.contains("current: differs at byte 0"), "{error}");
}

#[test]
fn the_same_seed_loses_the_same() {
    let run = Run::new("data");
    let history = run.history();
    assert_eq!(history.after_loss(7, Model::Strict), history.after_loss(7, Model::Strict));
    assert_ne!(history.after_loss(7, Model::Strict), history.after_loss(8, Model::Strict));
}
