//! Where the last good configuration is kept: the file of now and those before it, each replaced whole.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use nexus_runtime::file;
use nexus_wire::config::{Digest, Held, ResourceType, last_good};

/// A file of what is held of some types, and the ones before it.
#[derive(Debug)]
pub struct LastGood {
    path: PathBuf,
    types: &'static [ResourceType],
    /// How many files there are at most.
    generations: usize,
    /// What stands in the newest file, if that can be read: only then are the older ones moved on.
    newest: Option<Digest>,
}

impl LastGood {
    /// Files of these types of resource; the newest is `path`.
    pub fn new(path: PathBuf, types: &'static [ResourceType], generations: usize) -> Self {
        Self { path, types, generations, newest: None }
    }

    /// Adds to `held` what the newest file gives that can be read. False when none can.
    pub fn read(&mut self, held: &mut Held) -> bool {
        for generation in 0..self.generations {
            let path = self.generation(generation);
            match self.read_one(&path, held) {
                Ok(None) => {}
                Ok(Some(digest)) => {
                    if generation == 0 {
                        self.newest = Some(digest);
                    }
                    tracing::info!(file = %path.display(), "the last good configuration is read");
                    return true;
                }
                Err(error) => {
                    tracing::error!("cannot use the last good configuration: {error:#}");
                    metrics::counter!("nexus_config_last_good_failures_total", "step" => "read").increment(1);
                }
            }
        }
        false
    }

    fn read_one(&self, path: &Path, held: &mut Held) -> anyhow::Result<Option<Digest>> {
        let file = match std::fs::read(path) {
            Ok(file) => zeroize::Zeroizing::new(file),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        last_good::restore(held, &file, self.types).with_context(|| format!("{}", path.display()))?;
        Ok(Some(Digest::of(&file)))
    }

    /// Writes what is held, unless it stands there already. Blocks on the disk.
    pub fn write(&mut self, held: &Held) -> anyhow::Result<()> {
        let file = last_good::encode(held, self.types);
        let digest = Digest::of(&file);
        if self.newest == Some(digest) {
            return Ok(());
        }
        if self.newest.take().is_some() {
            // The oldest first. A crash in between leaves one fewer, and the newest of them is read.
            for generation in (1..self.generations).rev() {
                let (from, to) = (self.generation(generation - 1), self.generation(generation));
                match std::fs::rename(&from, &to) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        return Err(error).with_context(|| format!("cannot rename {}", from.display()));
                    }
                    _ => {}
                }
            }
        }
        file::replace(&self.path, &file).with_context(|| format!("cannot write {}", self.path.display()))?;
        self.newest = Some(digest);
        Ok(())
    }

    /// `last-good.json`, `last-good.1.json` and so on.
    fn generation(&self, generation: usize) -> PathBuf {
        match generation {
            0 => self.path.clone(),
            _ => self.path.with_extension(format!("{generation}.json")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use nexus_core::snapshot::{GatewaySnapshot, Heartbeat};
    use nexus_wire::config::{Resource, ResourceName, Role, v1};

    use super::*;

    const TYPES: &[ResourceType] = &[ResourceType::Gateway];

    fn held(misses: u32) -> Held {
        let tenant: nexus_core::id::TenantKey = "acme/acme".parse().unwrap();
        let snapshot = GatewaySnapshot {
            tenant: tenant.clone(),
            agents: BTreeMap::new(),
            aliases: vec![],
            heartbeat: Heartbeat { misses, ..Heartbeat::default() },
        };
        let resource = Resource::of(ResourceName { kind: ResourceType::Gateway, tenant }, &snapshot).unwrap();
        let resource = v1::Resource {
            name: Some(v1::ResourceName {
                r#type: v1::ResourceType::Gateway.into(),
                tenant: "acme/acme".into(),
            }),
            sha256: resource.digest().as_bytes().to_vec(),
            content: resource.content().clone(),
        };
        let mut held = Held::new(Role::Gateway);
        let update = v1::Update { nonce: 1, resources: vec![resource], removed: vec![], complete: true };
        assert!(held.take(update).refused.is_empty());
        held
    }

    fn misses(files: &mut LastGood) -> Option<u32> {
        let mut held = Held::new(Role::Gateway);
        files.read(&mut held);
        held.gateway().next().map(|(_, snapshot)| snapshot.heartbeat.misses)
    }

    fn files(folder: &Path) -> LastGood {
        LastGood::new(folder.join("last-good.json"), TYPES, 3)
    }

    #[test]
    fn the_newest_that_can_be_read_is_and_a_damaged_one_pushes_no_good_one_out() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let mut writing = files(folder.path());
        assert_eq!(misses(&mut writing), None);
        for round in 1..=5 {
            writing.write(&held(round)).unwrap();
            // The same again is no generation of its own.
            writing.write(&held(round)).unwrap();
            assert_eq!(misses(&mut files(folder.path())), Some(round));
        }
        let names = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(names, 3);
        // A process that finds what it would write writes nothing.
        let mut again = files(folder.path());
        assert_eq!(misses(&mut again), Some(5));
        again.write(&held(5)).unwrap();
        assert!(
            std::fs::read(at("last-good.1.json")).unwrap() != std::fs::read(at("last-good.json")).unwrap()
        );
        std::fs::write(at("last-good.json"), b"torn").unwrap();
        let mut damaged = files(folder.path());
        assert_eq!(misses(&mut damaged), Some(4));
        damaged.write(&held(6)).unwrap();
        assert_eq!(misses(&mut files(folder.path())), Some(6));
        std::fs::write(at("last-good.json"), b"").unwrap();
        assert_eq!(misses(&mut files(folder.path())), Some(4));
        std::fs::remove_file(at("last-good.json")).unwrap();
        std::fs::remove_file(at("last-good.1.json")).unwrap();
        assert_eq!(misses(&mut files(folder.path())), Some(3));
    }

    #[test]
    fn a_file_cut_anywhere_or_with_any_wrong_bit_is_passed_over_for_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let mut writing = files(folder.path());
        writing.write(&held(1)).unwrap();
        writing.write(&held(2)).unwrap();
        let path = folder.path().join("last-good.json");
        let mut file = std::fs::read(&path).unwrap();
        for end in 0..file.len() {
            std::fs::write(&path, &file[..end]).unwrap();
            assert_eq!(misses(&mut files(folder.path())), Some(1), "cut at {end}");
        }
        for at in 0..file.len() {
            file[at] ^= 1 << (at % 8);
            std::fs::write(&path, &file).unwrap();
            assert_eq!(misses(&mut files(folder.path())), Some(1), "byte {at}");
            file[at] ^= 1 << (at % 8);
        }
    }
}
