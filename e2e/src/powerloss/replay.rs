//! From the state before and the log to a state that the disk may be in after the power went.
//!
//! A file is a list of versions of its sectors and of its length. What was written before its last sync began
//! counts; of what came later, each sector keeps any of its versions, so that one write may reach the disk in
//! parts, and the length keeps any of its own: bytes that are missing within it are zeros. A cut takes the sectors
//! that are written after it with it: they are new blocks. A name is a list of what it stood for; [`Model`] says
//! when a change of one is durable, and which of the others may be kept without the ones before.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::Model;
use super::folder::{Content, Entry};
use super::log::{Log, Op};

/// What was lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Losses {
    /// Changes that the process made.
    pub ops: u64,
    /// Those that no sync had made durable.
    pub not_durable: u64,
    /// Those of them that were lost altogether.
    pub dropped: u64,
    /// Those that were kept in part.
    pub torn: u64,
}

impl Losses {
    /// Both.
    pub fn sum(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        let (Some(a), Some(b)) = (one, other) else {
            return one.or(other);
        };
        Some(Self {
            ops: a.ops + b.ops,
            not_durable: a.not_durable + b.not_durable,
            dropped: a.dropped + b.dropped,
            torn: a.torn + b.torn,
        })
    }
}

/// A number of a file or folder.
type Id = usize;

const ROOT: Id = 0;

enum Node {
    File { before: Vec<u8>, changes: Vec<(u64, Change)>, synced: u64 },
    Folder { before: BTreeMap<String, Id>, now: BTreeMap<String, Id>, synced: u64 },
}

enum Change {
    Write { at: usize, data: std::ops::Range<usize> },
    SetLen(usize),
}

/// Names that change at once.
struct Naming {
    number: u64,
    changes: Vec<(Id, String, Option<Id>)>,
}

/// All that a process did to a folder.
pub struct History<'l> {
    log: &'l Log,
    nodes: Vec<Node>,
    namings: Vec<Naming>,
    files: HashMap<u64, Id>,
    /// ext4: all names are durable that were changed before.
    committed: u64,
}

/// What is kept of that which no sync made durable.
struct Fate {
    random: StdRng,
    /// The chance that a change is kept whole, and else that it is torn rather than dropped.
    keep: f64,
    tear: f64,
    sector: usize,
}

impl<'l> History<'l> {
    /// Follows the log from the state before.
    pub fn new(before: &Content, log: &'l Log) -> anyhow::Result<Self> {
        let nodes = vec![folder()];
        let mut history = Self { log, nodes, namings: Vec::new(), files: HashMap::new(), committed: 0 };
        for (path, entry) in before {
            let node = match entry {
                Entry::Folder => folder(),
                Entry::File(bytes) => Node::File { before: bytes.clone(), changes: Vec::new(), synced: 0 },
            };
            let id = history.add(node);
            let (parent, name) = history.place(path)?;
            if let Node::Folder { before, now, .. } = &mut history.nodes[parent] {
                before.insert(name.clone(), id);
                now.insert(name, id);
            }
        }
        for (number, op) in &log.ops {
            history.follow(*number, op).with_context(|| format!("cannot follow {op:?}"))?;
        }
        Ok(history)
    }

    fn add(&mut self, node: Node) -> Id {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    fn follow(&mut self, number: u64, op: &Op) -> anyhow::Result<()> {
        match op {
            Op::Open { path, ino, new, cut } => {
                let id = if *new {
                    let id = self.add(Node::File { before: Vec::new(), changes: Vec::new(), synced: 0 });
                    self.rename(number, vec![(path, Some(id))])?;
                    id
                } else {
                    self.find(path)?
                };
                self.files.insert(*ino, id);
                if *cut {
                    self.change(number, *ino, Change::SetLen(0))?;
                }
            }
            Op::Write { ino, at, data } => {
                let change = Change::Write { at: usize::try_from(*at)?, data: data.clone() };
                self.change(number, *ino, change)?;
            }
            Op::SetLen { ino, len } => self.change(number, *ino, Change::SetLen(usize::try_from(*len)?))?,
            Op::Sync { path, ino, folder, begun } => self.sync(path, *ino, *folder, *begun)?,
            Op::Rename { from, to } => {
                let id = self.find(from)?;
                self.rename(number, vec![(from, None), (to, Some(id))])?;
            }
            Op::Remove { path } => self.rename(number, vec![(path, None)])?,
            Op::MakeFolder { path } => {
                let id = self.add(folder());
                self.rename(number, vec![(path, Some(id))])?;
            }
            Op::Link { from, to } => {
                let id = self.find(from)?;
                self.rename(number, vec![(to, Some(id))])?;
            }
        }
        Ok(())
    }

    fn change(&mut self, number: u64, ino: u64, change: Change) -> anyhow::Result<()> {
        let id = *self.files.get(&ino).context("a file that was never opened")?;
        match &mut self.nodes[id] {
            Node::File { changes, .. } => changes.push((number, change)),
            Node::Folder { .. } => anyhow::bail!("a folder was written to"),
        }
        Ok(())
    }

    fn sync(&mut self, path: &Path, ino: u64, of_folder: bool, begun: u64) -> anyhow::Result<()> {
        let found = if of_folder { self.find(path).ok() } else { self.files.get(&ino).copied() };
        // A file that was only read has nothing to sync; one that is gone needs none.
        let Some(id) = found.or_else(|| self.find(path).ok()) else {
            return Ok(());
        };
        match &mut self.nodes[id] {
            Node::File { synced, .. } | Node::Folder { synced, .. } => *synced = begun.max(*synced),
        }
        let names_it = |naming: &Naming| {
            naming.number < begun
                && naming.changes.iter().any(|(parent, _, to)| *parent == id || *to == Some(id))
        };
        if self.namings.iter().any(names_it) {
            self.committed = begun.max(self.committed);
        }
        Ok(())
    }

    fn rename(&mut self, number: u64, changes: Vec<(&PathBuf, Option<Id>)>) -> anyhow::Result<()> {
        let mut placed = Vec::with_capacity(changes.len());
        for (path, to) in changes {
            let (parent, name) = self.place(path)?;
            if let Node::Folder { now, .. } = &mut self.nodes[parent] {
                match to {
                    Some(to) => now.insert(name.clone(), to),
                    None => now.remove(&name),
                };
            }
            placed.push((parent, name, to));
        }
        self.namings.push(Naming { number, changes: placed });
        Ok(())
    }

    /// The folder that a path is in, and its name there.
    fn place(&self, path: &Path) -> anyhow::Result<(Id, String)> {
        let name = path.file_name().context("a path without a name")?.to_string_lossy().into_owned();
        Ok((self.find(path.parent().unwrap_or(Path::new("")))?, name))
    }

    fn find(&self, path: &Path) -> anyhow::Result<Id> {
        path.iter()
            .try_fold(ROOT, |id, name| match &self.nodes[id] {
                Node::Folder { now, .. } => now.get(&*name.to_string_lossy()).copied(),
                Node::File { .. } => None,
            })
            .with_context(|| format!("the log knows of no {}", path.display()))
    }

    /// The state that the running process saw.
    pub fn seen(&self) -> Content {
        let names = |id: Id| match &self.nodes[id] {
            Node::Folder { now, .. } => now.clone(),
            Node::File { .. } => BTreeMap::new(),
        };
        self.tree(names, |id| self.file(id, None, &mut Losses::default()))
    }

    /// A state that a loss of power may leave.
    pub fn after_loss(&self, seed: u64, model: Model) -> (Content, Losses) {
        let mut random = StdRng::seed_from_u64(seed);
        let keep = [0.0, 0.1, 0.5, 0.5, 0.9, 1.0][random.random_range(0..6)];
        let tear = [0.1, 0.5, 0.9][random.random_range(0..3)];
        let sector = [512, 4096][random.random_range(0..2)];
        let mut fate = Fate { random, keep, tear, sector };
        let mut losses = Losses { ops: self.ops(), ..Losses::default() };
        let names = self.names_after_loss(&mut fate, model, &mut losses);
        let files: HashMap<Id, Vec<u8>> = (0..self.nodes.len())
            .filter(|id| matches!(self.nodes[*id], Node::File { .. }))
            .map(|id| (id, self.file(id, Some(&mut fate), &mut losses)))
            .collect();
        let names = |id: Id| names.get(&id).cloned().unwrap_or_default();
        (self.tree(names, |id| files.get(&id).cloned().unwrap_or_default()), losses)
    }

    fn ops(&self) -> u64 {
        self.log.ops.iter().filter(|(_, op)| !matches!(op, Op::Sync { .. })).count() as u64
    }

    fn tree(
        &self,
        names: impl Fn(Id) -> BTreeMap<String, Id>,
        mut bytes: impl FnMut(Id) -> Vec<u8>,
    ) -> Content {
        let mut content = Content::new();
        let mut folders = vec![(PathBuf::new(), ROOT)];
        while let Some((path, id)) = folders.pop() {
            for (name, id) in names(id) {
                let path = path.join(name);
                let entry = match &self.nodes[id] {
                    Node::File { .. } => Entry::File(bytes(id)),
                    Node::Folder { .. } => {
                        folders.push((path.clone(), id));
                        Entry::Folder
                    }
                };
                content.insert(path, entry);
            }
        }
        content
    }

    fn names_after_loss(
        &self,
        fate: &mut Fate,
        model: Model,
        losses: &mut Losses,
    ) -> HashMap<Id, BTreeMap<String, Id>> {
        let mut names: HashMap<Id, BTreeMap<String, Id>> = HashMap::new();
        for (id, node) in self.nodes.iter().enumerate() {
            if let Node::Folder { before, .. } = node {
                names.insert(id, before.clone());
            }
        }
        let pending = self.namings.iter().filter(|naming| naming.number > self.committed).count();
        let mut first = fate.random.random_range(0..=pending);
        let mut lost: HashSet<(Id, &str)> = HashSet::new();
        for naming in &self.namings {
            let durable = self.is_durable(naming, model);
            let kept = durable
                || match model {
                    Model::Ext4 => first > 0,
                    Model::Strict => {
                        let after_lost =
                            naming.changes.iter().any(|(id, name, _)| lost.contains(&(*id, &**name)));
                        !after_lost && fate.random.random_bool(fate.keep)
                    }
                };
            if !durable {
                losses.not_durable += 1;
                losses.dropped += u64::from(!kept);
                first = first.saturating_sub(1);
            }
            for (id, name, to) in &naming.changes {
                if !kept {
                    lost.insert((*id, name));
                } else if let (Some(folder), Some(to)) = (names.get_mut(id), to) {
                    folder.insert(name.clone(), *to);
                } else if let Some(folder) = names.get_mut(id) {
                    folder.remove(name);
                }
            }
        }
        names
    }

    fn is_durable(&self, naming: &Naming, model: Model) -> bool {
        let synced = |id: Id| match &self.nodes[id] {
            Node::File { synced, .. } | Node::Folder { synced, .. } => naming.number < *synced,
        };
        match model {
            Model::Strict => naming.changes.iter().all(|(id, ..)| synced(*id)),
            Model::Ext4 => naming.number < self.committed,
        }
    }

    /// A file's bytes; without a fate all of them.
    fn file(&self, id: Id, fate: Option<&mut Fate>, losses: &mut Losses) -> Vec<u8> {
        let Node::File { before, changes, synced } = &self.nodes[id] else {
            return Vec::new();
        };
        let mut bytes = before.clone();
        let durable = match fate {
            Some(_) => changes.iter().take_while(|(number, _)| number < synced).count(),
            None => changes.len(),
        };
        let (durable, pending) = changes.split_at(durable);
        for (_, change) in durable {
            self.apply(&mut bytes, change);
        }
        if let Some(fate) = fate.filter(|_| !pending.is_empty()) {
            losses.not_durable += pending.len() as u64;
            self.lose(&mut bytes, pending, fate, losses);
        }
        bytes
    }

    fn apply(&self, bytes: &mut Vec<u8>, change: &Change) {
        match change {
            Change::SetLen(len) => bytes.resize(*len, 0),
            Change::Write { at, data } => put(bytes, *at, self.log.bytes(data)),
        }
    }

    fn lose(&self, bytes: &mut Vec<u8>, pending: &[(u64, Change)], fate: &mut Fate, losses: &mut Losses) {
        let mut lens = vec![bytes.len()];
        let mut lost: HashSet<usize> = HashSet::new();
        for (place, (_, change)) in pending.iter().enumerate() {
            let len = lens.last().copied().unwrap_or_default();
            match change {
                Change::SetLen(shorter) if *shorter < len => {
                    if !fate.random.random_bool(fate.keep) {
                        losses.dropped += (pending.len() - place) as u64;
                        break;
                    }
                    bytes.truncate(*shorter);
                    lens = vec![*shorter];
                }
                Change::SetLen(longer) => lens.push(*longer),
                Change::Write { at, data } => {
                    let kept = fate.write(bytes, *at, self.log.bytes(data), &mut lost);
                    losses.dropped += u64::from(kept == Some(false));
                    losses.torn += u64::from(kept.is_none());
                    lens.push(len.max(at + data.len()));
                }
            }
        }
        let len = if fate.random.random_bool(0.5) {
            lens.len() - 1
        } else {
            fate.random.random_range(0..lens.len())
        };
        bytes.resize(lens[len], 0);
    }
}

impl Fate {
    /// Writes the sectors that are kept. Whether that is all or none of them; neither if it is torn.
    fn write(
        &mut self,
        bytes: &mut Vec<u8>,
        at: usize,
        data: &[u8],
        lost: &mut HashSet<usize>,
    ) -> Option<bool> {
        let whole = self.random.random_bool(self.keep);
        let torn = !whole && self.random.random_bool(self.tear);
        let (mut kept, mut sectors) = (0, 0);
        let mut from = 0;
        while from < data.len() {
            let sector = (at + from) / self.sector;
            let end = ((sector + 1) * self.sector - at).min(data.len());
            let keep = (whole || torn && self.random.random_bool(0.5)) && !lost.contains(&sector);
            if keep {
                put(bytes, at + from, &data[from..end]);
                kept += 1;
            } else {
                lost.insert(sector);
            }
            sectors += 1;
            from = end;
        }
        (kept == 0 || kept == sectors).then_some(kept == sectors)
    }
}

fn folder() -> Node {
    Node::Folder { before: BTreeMap::new(), now: BTreeMap::new(), synced: 0 }
}

fn put(bytes: &mut Vec<u8>, at: usize, data: &[u8]) {
    let end = at + data.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[at..end].copy_from_slice(data);
}

/// Compares what the log makes of the state before with the folder as the process left it.
pub fn check(history: &History<'_>, log: &Log, left: &Content) -> anyhow::Result<()> {
    let mut seen = history.seen();
    let mut left = left.clone();
    // The one change that was under way when the kill came may have happened, and may not have.
    for path in unfinished(history, log) {
        seen.remove(&path);
        left.remove(&path);
    }
    let differences = super::folder::differences(&seen, &left);
    ensure!(
        differences.is_empty(),
        "the recorder missed a change: what it recorded and the folder differ: {}",
        differences.join("; ")
    );
    Ok(())
}

fn unfinished(history: &History<'_>, log: &Log) -> Vec<PathBuf> {
    let of_file = |ino: &u64| {
        let id = history.files.get(ino);
        let mut paths = Vec::new();
        let mut folders = vec![(PathBuf::new(), ROOT)];
        while let Some((path, folder)) = folders.pop() {
            if let Node::Folder { now, .. } = &history.nodes[folder] {
                folders.extend(now.iter().map(|(name, id)| (path.join(name), *id)));
            } else if Some(&folder) == id {
                paths.push(path);
            }
        }
        paths
    };
    match &log.unfinished {
        None | Some(Op::Sync { .. }) => Vec::new(),
        Some(Op::Open { path, .. } | Op::Remove { path } | Op::MakeFolder { path }) => vec![path.clone()],
        Some(Op::Rename { from, to } | Op::Link { from, to }) => vec![from.clone(), to.clone()],
        Some(Op::Write { ino, .. } | Op::SetLen { ino, .. }) => of_file(ino),
    }
}
