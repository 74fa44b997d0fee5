//! Whole files of three generations, which are torn one way after the other.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, bail, ensure};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};

use super::starts::{Pod, Start, Starts, unit};
use super::wounds::{Wound, wounds};
use super::{GENERATIONS, NOWHERE, change, held};
use crate::control::Seen;
use crate::control::stage::Stage;
use crate::site::{PATIENCE, until};

/// The pods whose files are torn.
const PODS: [Pod; 2] = [Pod::Gateway(1), Pod::Ingest];

/// The stop latch of a gateway.
const LATCH: &str = "stop-latch.json";

/// Of three files each is torn with this chance, where it is left to chance.
const TORN: f64 = 0.6;

/// The whole files of a pod, and what each generation puts in force.
#[derive(Default)]
struct Shelf {
    files: BTreeMap<PathBuf, Vec<u8>>,
    /// The newest first.
    configs: Vec<Value>,
}

/// Tears files and starts pods over them.
pub(super) struct Tear {
    stage: Stage,
    starts: Starts,
    /// Of [`PODS`].
    shelves: [Shelf; 2],
    random: StdRng,
    most: usize,
    /// Whether the latch says so of everybody.
    stopped: bool,
    pub(super) seen: Seen,
}

/// What has come of some starts.
#[derive(Default)]
struct Outcomes {
    newest: usize,
    older: usize,
    waiting: usize,
    ended: usize,
}

impl Outcomes {
    fn words(&self) -> String {
        let Self { newest, older, waiting, ended } = self;
        format!(
            "{} starts: {newest} ready with the newest, {older} with an older one, {waiting} wait, {ended} end",
            newest + older + waiting + ended
        )
    }
}

impl Tear {
    pub(super) fn new(stage: Stage, starts: Starts, seed: u64, most: usize) -> Self {
        Self {
            stage,
            starts,
            shelves: [Shelf::default(), Shelf::default()],
            random: StdRng::seed_from_u64(seed),
            most,
            stopped: false,
            seen: Seen::default(),
        }
    }

    /// Makes three generations that differ, ends everybody, and keeps the files.
    pub(super) async fn make_generations(&mut self) -> anyhow::Result<()> {
        for number in 51..=53 {
            let before = held(&mut self.stage).await?;
            change(&mut self.stage, number).await?;
            until("it is written", PATIENCE, async || {
                let now = held(&mut self.stage).await?;
                Ok(now.iter().zip(&before).all(|(now, before)| now.newest != before.newest))
            })
            .await?;
            let http = self.stage.operated.fleet.doors.http.clone();
            for (shelf, pod) in self.shelves.iter_mut().zip(PODS) {
                shelf.configs.insert(0, unit(&mut self.stage, pod).config(&http).await?);
            }
        }
        self.end_all().await
    }

    /// Cuts everybody off, kills them, and keeps the files of pods.
    async fn end_all(&mut self) -> anyhow::Result<()> {
        self.stage.kill_operator(0).await?;
        self.stage.operated.link.lead(NOWHERE);
        for pod in [Pod::Gateway(0), Pod::Gateway(1), Pod::Ingest] {
            unit(&mut self.stage, pod).kill().await?;
        }
        // No gateway is told of a stop by what another has left there.
        self.stage.operated.fleet.redis.say(&["FLUSHALL"]).await?;
        let secrets = self.stage.operated.secrets();
        for (shelf, pod) in self.shelves.iter_mut().zip(PODS) {
            let data = unit(&mut self.stage, pod).data.clone();
            let mut paths: Vec<_> = GENERATIONS.iter().map(|name| data.join(name)).collect();
            paths.push(if pod == Pod::Ingest { secrets.clone() } else { data.join(LATCH) });
            for path in paths {
                let file = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
                shelf.files.insert(path, file);
            }
        }
        Ok(())
    }

    /// The place of a file of a pod: the generations in their order, then the latch or the secrets.
    fn paths(&mut self, at: usize) -> Vec<PathBuf> {
        let data = unit(&mut self.stage, PODS[at]).data.clone();
        let mut paths: Vec<_> = GENERATIONS.iter().map(|name| data.join(name)).collect();
        paths.extend(self.shelves[at].files.keys().find(|path| !paths.contains(path)).cloned());
        paths
    }

    /// Nobody is stopped.
    pub(super) async fn running(&mut self) -> anyhow::Result<()> {
        for (at, pod) in PODS.into_iter().enumerate() {
            let paths = self.paths(at);
            let figure = format!("{pod:?}: last-good.json {}", self.each(at, 0, self.most).await?);
            self.seen.figures.push(figure);
            let mut outcomes = Outcomes::default();
            for _ in 0..self.most / 4 {
                let torn = self.at_random(at, paths.len());
                self.one(at, &torn, &mut outcomes).await?;
            }
            ensure!(outcomes.waiting + outcomes.ended > 0, "all files were never torn at once");
            self.seen.figures.push(format!("{pod:?}: all files at random: {}", outcomes.words()));
        }
        Ok(())
    }

    /// Everybody is stopped, as the latch says.
    pub(super) async fn stopped(&mut self) -> anyhow::Result<()> {
        self.engage().await?;
        let figure = format!("stopped, the latch {}", self.each(0, GENERATIONS.len(), 2 * self.most).await?);
        self.seen.figures.push(figure);
        let mut outcomes = Outcomes::default();
        for _ in 0..self.most / 4 {
            let torn = self.at_random(0, 4);
            self.one(0, &torn, &mut outcomes).await?;
        }
        self.seen
            .figures
            .push(format!("stopped, all files at random: {}; nobody is ever admitted", outcomes.words()));
        self.without_latch().await
    }

    /// Starts a pod over whole files, and over one of them torn in so many ways at most.
    async fn each(&mut self, at: usize, file: usize, most: usize) -> anyhow::Result<String> {
        let mut outcomes = Outcomes::default();
        self.one(at, &[], &mut outcomes).await.context("whole files")?;
        ensure!(outcomes.newest == 1, "{:?} does not start over whole files", PODS[at]);
        let (size, mut outcomes) = (self.size(at, file), Outcomes::default());
        let ways = wounds(size, most);
        for wound in &ways {
            self.one(at, &[(file, *wound)], &mut outcomes).await?;
        }
        Ok(format!("torn in {} of {} ways: {}", ways.len(), 2 * size, outcomes.words()))
    }

    /// A stop comes while all pods run, and is kept.
    async fn engage(&mut self) -> anyhow::Result<()> {
        for at in 0..PODS.len() {
            self.put(at, &[])?;
        }
        let stage = &mut self.stage;
        stage.operated.link.lead(stage.operated.cluster.address()?.port());
        stage.start_operator(0)?;
        stage.operated.fleet.start().await?;
        stage.operated.patch_stop(&json!({"stop": true}))?;
        until("both gateways hold the stop", PATIENCE, async || {
            Ok(stage.stop_status()?["acknowledged"] == "2/2")
        })
        .await?;
        self.stopped = true;
        self.end_all().await
    }

    /// The latch file is not there at all.
    async fn without_latch(&mut self) -> anyhow::Result<()> {
        self.put(0, &[])?;
        let latch = self.paths(0)[3].clone();
        std::fs::remove_file(&latch)?;
        let start = self.starts.start(&mut self.stage, PODS[0]).await?;
        let open = self.starts.is_open(&self.stage, PODS[0]).await?;
        ensure!(matches!(start, Start::Waits) && !open, "without a latch file: {start:?}, and open: {open}");
        unit(&mut self.stage, PODS[0]).kill().await?;
        self.seen.times += 1;
        self.seen.figures.push("without a latch file it waits for a look at the policies".to_owned());
        Ok(())
    }

    fn size(&mut self, at: usize, file: usize) -> usize {
        let path = &self.paths(at)[file];
        self.shelves[at].files.get(path).map_or(0, Vec::len)
    }

    /// Some files, and a wound of each.
    fn at_random(&mut self, at: usize, files: usize) -> Vec<(usize, Wound)> {
        let mut torn = Vec::new();
        for file in 0..files {
            if self.random.random_bool(TORN) {
                let size = self.size(at, file);
                let all = wounds(size, usize::MAX);
                torn.extend(all.choose(&mut self.random).map(|wound| (file, *wound)));
            }
        }
        torn
    }

    /// Writes the files of a pod, some of them torn.
    fn put(&mut self, at: usize, torn: &[(usize, Wound)]) -> anyhow::Result<()> {
        for (number, path) in self.paths(at).iter().enumerate() {
            let file = &self.shelves[at].files[path];
            let wound = torn.iter().find(|(torn, _)| *torn == number);
            std::fs::write(path, wound.map_or_else(|| file.clone(), |(_, wound)| wound.of(file)))?;
        }
        Ok(())
    }

    /// Starts a pod over files of which some are torn, and judges what comes of it.
    async fn one(
        &mut self,
        at: usize,
        torn: &[(usize, Wound)],
        outcomes: &mut Outcomes,
    ) -> anyhow::Result<()> {
        self.put(at, torn)?;
        let pod = PODS[at];
        let start = self.starts.start(&mut self.stage, pod).await?;
        let open = self.starts.is_open(&self.stage, pod).await.with_context(|| format!("{torn:?}"))?;
        unit(&mut self.stage, pod).kill().await?;
        self.seen.times += 1;
        let whole = |file: usize| torn.iter().all(|(torn, _)| *torn != file);
        let generation = (0..GENERATIONS.len()).find(|file| whole(*file));
        let last = whole(GENERATIONS.len());
        let configs = &self.shelves[at].configs;
        match (&start, generation) {
            (Start::Ready(config), Some(generation)) if last && *config == configs[generation] => {
                *(if generation == 0 { &mut outcomes.newest } else { &mut outcomes.older }) += 1;
            }
            (Start::Waits, None) => outcomes.waiting += 1,
            (Start::Waits, Some(_)) if !last && pod == Pod::Ingest => outcomes.waiting += 1,
            (Start::Ended, _) if !last && pod != Pod::Ingest => outcomes.ended += 1,
            _ => bail!("{pod:?} over {torn:?}: {start:?}"),
        }
        let may = matches!(start, Start::Ready(_)) && !(self.stopped && pod != Pod::Ingest);
        ensure!(open == may, "{pod:?} over {torn:?}: open is {open} after {start:?}");
        Ok(())
    }
}
