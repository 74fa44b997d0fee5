//! Nothing happens: who has nothing to do writes nothing.

use std::path::Path;
use std::time::Duration;

use anyhow::ensure;
use tokio::time::sleep;

use super::stage::Stage;
use super::{Plan, Seen};

/// All is told when nothing has been written for so long.
const CALM: Duration = Duration::from_secs(3);

pub(super) async fn play(plan: &Plan, folder: &Path) -> anyhow::Result<Seen> {
    let (mut stage, door) = Stage::behind_a_door(&plan.nexus, folder).await?;
    let made = door.calls();
    ensure!(made > 0, "the operator wrote nothing from the start: the door counts nothing");
    stage.calm(&door, CALM).await?;
    let revision =
        |stage: &Stage| anyhow::Ok(stage.object("tenant/acme")?["metadata"]["resourceVersion"].take());
    let before = revision(&stage)?;
    door.arm(None);
    let quiet = Duration::from_secs(plan.settings.quiet);
    sleep(quiet).await;
    stage.check()?;
    ensure!(door.calls() == 0, "{} writes in {quiet:?} in which nothing happened", door.calls());
    ensure!(revision(&stage)? == before, "somebody else wrote");
    Ok(Seen { times: 1, figures: vec![format!("{made} writes until ready, then 0 in {quiet:?}")] })
}
