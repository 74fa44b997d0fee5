//! A disk that fills up under load, and then has room again.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use indicatif::ProgressBar;
use tokio::time::{Instant, sleep};

use super::report::{Part, Round};
use super::{Plan, bar};
use crate::agents::Agents;
use crate::ledger::Ledger;
use crate::load::{Load, Rate};
use crate::mount::Mount;
use crate::site::{LOOK, Nexus, PATIENCE, Site};

/// Linux's numbers of tmpfs and ramfs.
const MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];

/// Bytes enough for the log to begin with, and soon full; and bytes that are enough.
const SMALL: u64 = 64 << 20;
const LARGE: u64 = 1 << 30;

/// Long texts fill the disk within seconds.
const TEXT: usize = 120_000;

/// How long the disk stays full: several attempts of the log to open itself anew.
const FULL_FOR: Duration = Duration::from_secs(4);

/// How soon webhooks have to be answered 200 again.
const RECOVERY: Duration = Duration::from_secs(20);

/// Refuses a folder in memory: crashes over it would prove nothing of a disk.
pub(super) fn refuse_memory(path: &Path) -> anyhow::Result<()> {
    let kind = u64::try_from(rustix::fs::statfs(path)?.f_type)?;
    ensure!(
        !MEMORY.contains(&kind),
        "{} is kept in memory; name a folder on a disk by --dir",
        path.display()
    );
    Ok(())
}

/// Fills a disk, waits, and gives it room.
pub(super) async fn run(plan: &Plan) -> anyhow::Result<Part> {
    let work = plan.work.join("full");
    let mount = Mount::new(work.join("data"), SMALL)?;
    let site = Arc::new(Site::new(&plan.nexus, &work, mount.path().to_owned())?);
    let ledger = Arc::<Ledger>::default();
    let mut nexus = site.spawn(&[])?;
    let _agents = Agents::start(&site.doors, &ledger, plan.seed);
    let rate = Rate { per_second: plan.rate.per_second, bytes: TEXT };
    let load = Load::start(&site.doors, &ledger, rate, plan.seed);
    let scene = Scene { site, ledger: Arc::clone(&ledger), mount, bar: bar("disk full", 3) };
    let mut part = Part::new("disk full");
    match scene.play(&mut nexus, load).await {
        Ok(notes) => part.notes = notes,
        Err(error) => part.failures.push(format!("{error:#}")),
    }
    scene.bar.finish_and_clear();
    nexus.kill().await?;
    let balance = ledger.balance();
    let (accepted, missing, repeats) = (balance.accepted, balance.missing, balance.repeats);
    part.rounds = vec![Round { accepted, missing, repeats, losses: None }];
    part.settle(balance, &ledger.examples());
    Ok(part)
}

struct Scene {
    site: Arc<Site>,
    ledger: Arc<Ledger>,
    mount: Mount,
    bar: ProgressBar,
}

impl Scene {
    /// What was seen.
    async fn play(&self, nexus: &mut Nexus, load: Load) -> anyhow::Result<Vec<String>> {
        self.site.ready(nexus).await?;
        let refused = |ledger: &Ledger| ledger.counts().refused > 0;
        self.until("the disk is full and webhooks are answered 503", nexus, PATIENCE, refused).await?;
        self.bar.inc(1);
        let received = self.ledger.counts().received;
        let full = Instant::now();
        while full.elapsed() < FULL_FOR {
            ensure!(nexus.ended()?.is_none(), "nexus ended by itself on a full disk");
            sleep(LOOK).await;
        }
        self.site.metrics().await.context("the admin server does not answer on a full disk")?;
        let meanwhile = self.ledger.counts().received - received;
        let refused = self.ledger.counts().refused;
        self.mount.resize(LARGE)?;
        self.bar.inc(1);
        let room = Instant::now();
        let goal = self.ledger.counts().accepted + 100;
        let accepted = |ledger: &Ledger| ledger.counts().accepted >= goal;
        self.until("webhooks are accepted again", nexus, RECOVERY, accepted).await?;
        let recovered = room.elapsed().as_secs_f64();
        load.end().await;
        let all = self.ledger.accepted();
        let arrived = |ledger: &Ledger| ledger.missing(&all) == 0;
        self.until("all that was accepted arrives", nexus, PATIENCE, arrived).await?;
        self.bar.inc(1);
        Ok(vec![
            format!(
                "{refused} answers 503, each with Retry-After, in {FULL_FOR:?}; {meanwhile} deliveries meanwhile"
            ),
            format!("{recovered:.1} s after there was room 100 more were accepted, without a restart"),
        ])
    }

    async fn until(
        &self,
        what: &str,
        nexus: &mut Nexus,
        patience: Duration,
        met: impl Fn(&Ledger) -> bool,
    ) -> anyhow::Result<()> {
        let deadline = Instant::now() + patience;
        while !met(&self.ledger) {
            ensure!(nexus.ended()?.is_none(), "nexus ended by itself; its log: {}", self.site.log.display());
            ensure!(Instant::now() < deadline, "waited {patience:?} in vain: {what}");
            sleep(LOOK * 5).await;
        }
        Ok(())
    }
}
