//! The candidates behind one door.

mod fjall_log;
mod redb_log;
mod segment_log;

use std::path::Path;

use anyhow::{Result, bail};

use crate::load::Batch;

/// What the bus asks of its log. `commit` is atomic; a durable one is on the disk when it returns,
/// another is carried by the next durable one.
pub trait Log {
    /// Says for each append whether its delivery was new.
    fn commit(&mut self, batch: &Batch, durable: bool) -> Result<Vec<bool>>;
    /// Counts queue and inbox entries as a restart finds them: by reading.
    fn pending(&self) -> Result<usize>;
    fn holds(&self, seq: u64) -> Result<bool>;
}

/// `fjall`, `redb` or `segments`, with a dash before an option.
pub fn open(name: &str, dir: &Path) -> Result<Box<dyn Log>> {
    let (engine, option) = name.split_once('-').unwrap_or((name, ""));
    Ok(match engine {
        "fjall" => Box::new(fjall_log::FjallLog::open(dir, option)?),
        "redb" => Box::new(redb_log::RedbLog::open(dir, option == "quick")?),
        "segments" => Box::new(segment_log::SegmentLog::open(dir)?),
        _ => bail!("no engine is called {engine}"),
    })
}
