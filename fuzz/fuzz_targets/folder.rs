//! The folder of custom resources: whatever stands in its files, good objects count, faults are named at their place,
//! and the last good value stays.
//!
//! An input is a text in which lines that begin with `=== ` say what follows: `=== NAME` a file of this name,
//! `=== same NAME` and `=== unread NAME` one that did not change or cannot be read, `=== again` the next reading.

#![no_main]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use libfuzzer_sys::{Corpus, fuzz_target};
use nexus::folder::listing::{Content, FileContent, Listing};
use nexus::folder::{Folder, Objects, Reading};
use nexus_compile::{Compiled, Previous, compile};
use nexus_core::id::TenantKey;

/// Stands in Secrets only, and is no name of an object.
const CANARY: &str = "Hunter_2";

/// More readings than this show nothing new.
const MAX_READINGS: usize = 6;

#[derive(Debug, Clone, Default)]
struct Step {
    files: BTreeMap<PathBuf, Content>,
    unread: Vec<PathBuf>,
}

impl Step {
    fn listing(&self) -> Listing {
        let file = |(path, content): (&PathBuf, &Content)| FileContent {
            path: path.clone(),
            content: content.clone(),
        };
        let files = self.files.iter().map(file).collect();
        Listing { files, unread: self.unread.clone(), ..Listing::default() }
    }
}

fn steps(data: &[u8]) -> Option<Vec<Step>> {
    let mut steps = vec![Step::default()];
    let mut current: Option<PathBuf> = None;
    for line in data.split_inclusive(|byte| *byte == b'\n') {
        let many = steps.len() >= MAX_READINGS;
        let step = steps.last_mut()?;
        let Some(head) = line.strip_prefix(b"=== ") else {
            let content = current.as_ref().and_then(|path| step.files.get_mut(path));
            if let Some(Content::Bytes(bytes)) = content {
                bytes.extend_from_slice(line);
            }
            continue;
        };
        let head = std::str::from_utf8(head).ok()?.trim_end();
        current = None;
        match head.split_once(' ') {
            None if head == "again" && many => break,
            None if head == "again" => steps.push(Step::default()),
            Some(("same", name)) => drop(step.files.insert(path(name)?, Content::Same)),
            Some(("unread", name)) => step.unread.push(path(name)?),
            _ => {
                let path = path(head)?;
                step.files.insert(path.clone(), Content::Bytes(Vec::new()));
                current = Some(path);
            }
        }
    }
    Some(steps)
}

/// A name as one who lists a folder can find it.
fn path(name: &str) -> Option<PathBuf> {
    let path = Path::new(name);
    let plain = path.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    (!name.is_empty() && name.len() < 100 && plain && !name.contains('\0'))
        .then(|| path.components().collect())
}

/// What each file held when it was last read.
type Known = BTreeMap<PathBuf, Vec<u8>>;

/// Lines as YAML counts them, with their ends: a carriage return alone ends one too.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let ends = text.char_indices().filter(|(at, c)| match c {
        '\n' => true,
        '\r' => !text[*at..].starts_with("\r\n"),
        _ => false,
    });
    let mut start = 0;
    ends.map(|(at, _)| at + 1).chain([text.len()]).map(move |end| {
        let line = &text[start..end];
        start = end;
        line
    })
}

/// Every fault names a file that was listed and a place within it.
fn places(reading: &Reading, step: &Step, known: &Known) {
    for problem in &reading.problems {
        let listed = step.files.contains_key(&problem.file) || step.unread.contains(&problem.file);
        assert!(listed, "{problem}");
        assert!(!problem.what.is_empty() && !problem.remedy.is_empty(), "{problem}");
        let Some(at) = problem.at else { continue };
        let text = String::from_utf8_lossy(&known[&problem.file]);
        let line = usize::try_from(at.line).expect("a line of a short file");
        let lines = lines(&text).count();
        assert!((1..=lines).contains(&line), "line {line} of {lines}: {problem}");
        assert!(at.column >= 1, "{problem}");
    }
    for notice in &reading.notices {
        let text = String::from_utf8_lossy(&known[&notice.file]);
        let lines = u64::try_from(lines(&text).count()).expect("a short file");
        assert!(notice.line.is_none_or(|line| (1..=lines).contains(&line)), "{notice} of {lines}");
    }
}

/// Whether the canary stands in documents only that say, once, that they are Secrets.
fn keeps_secrets(file: &str) -> bool {
    split(file).iter().filter(|document| document.contains(CANARY)).all(|document| {
        document.matches("kind").count() == 1 && document.lines().any(|line| line == "kind: Secret")
    })
}

/// What stands in a Secret is never repeated.
fn silence(reading: &Reading, known: &Known) {
    let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
    if known.keys().any(|path| path.to_string_lossy().contains(CANARY))
        || !known.values().map(text).all(|file| keeps_secrets(&file))
    {
        return;
    }
    for problem in &reading.problems {
        assert!(!problem.to_string().contains(CANARY), "{problem}");
    }
    for notice in &reading.notices {
        assert!(!notice.to_string().contains(CANARY), "{notice}");
    }
    assert!(!format!("{reading:?}").contains(CANARY), "a Debug output shows a Secret");
}

/// A file's documents, each by itself.
fn split(text: &str) -> Vec<String> {
    let mut documents = vec![String::new()];
    for line in lines(text) {
        let rest = line.strip_prefix("---");
        if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\n', '\r'])) {
            documents.push(String::new());
        }
        if let Some(last) = documents.last_mut() {
            last.push_str(line);
        }
    }
    documents
}

/// The objects without the names of the files that they come from.
fn nameless(objects: &Objects) -> Objects {
    let mut objects = objects.clone();
    objects.policies.iter_mut().for_each(|policy| policy.file = PathBuf::new());
    objects
}

/// One file and one file a document are the same objects.
fn apart(step: &Step) {
    let mut files = step.files.iter();
    let (Some((path, Content::Bytes(bytes))), None) = (files.next(), files.next()) else { return };
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if path.extension().is_some_and(|extension| extension == "json") {
        return;
    }
    let whole = Folder::new("unused").take(step.listing());
    let name = |at: usize| PathBuf::from(format!("{at:05}.yaml"));
    let documents = split(text).into_iter().map(|text| Content::Bytes(text.into_bytes()));
    let parts = Step {
        files: documents.enumerate().map(|(at, text)| (name(at), text)).collect(),
        unread: Vec::new(),
    };
    let parts = Folder::new("unused").take(parts.listing());
    assert_eq!(nameless(&parts.objects), nameless(&whole.objects));
    let kinds = |reading: &Reading| reading.problems.iter().map(|problem| problem.kind).collect::<Vec<_>>();
    assert_eq!(kinds(&parts), kinds(&whole));
}

/// Compiles every tenant, over what it was before.
fn compiled(objects: &Objects, before: &mut BTreeMap<TenantKey, Compiled>) {
    let (tenants, _) = objects.by_tenant();
    let mut now = BTreeMap::new();
    for objects in &tenants {
        let Ok(fresh) = compile(objects, Previous::default()) else { continue };
        let again = compile(objects, fresh.as_previous()).expect("it has a name");
        // Only its words differ: where a default held, the same value is the last good one now.
        let values = |compiled: &Compiled| {
            (compiled.ingest.clone(), compiled.gateway.clone(), compiled.signing.clone())
        };
        assert_eq!(values(&again), values(&fresh), "compiled over itself it stays");
        assert_eq!(compile(objects, again.as_previous()).expect("it has a name"), again);
        let key = fresh.gateway.tenant.clone();
        let previous = before.get(&key).map_or(Previous::default(), Compiled::as_previous);
        let kept = compile(objects, previous).expect("it has a name");
        // Every source has its entry: one without a secret must refuse all.
        assert!(kept.ingest.sources.keys().eq(kept.signing.keys()));
        now.insert(key, kept);
    }
    *before = now;
}

fuzz_target!(|data: &[u8]| -> Corpus {
    let Some(steps) = steps(data) else { return Corpus::Reject };
    let mut folder = Folder::new("unused");
    let mut known = Known::new();
    let mut before = BTreeMap::new();
    for step in &steps {
        let reading = folder.take(step.listing());
        for (path, content) in &step.files {
            if let Content::Bytes(bytes) = content {
                known.insert(path.clone(), bytes.clone());
            }
        }
        places(&reading, step, &known);
        silence(&reading, &known);
        compiled(&reading.objects, &mut before);
        // What is missing is removed when it is missed twice; then all is settled.
        let second = folder.take(step.listing());
        let third = folder.take(step.listing());
        assert!(!third.changed);
        assert_eq!(Reading { changed: false, ..second }, third);
    }
    // A folder that remembers nothing is settled at once.
    let step = Step {
        files: steps
            .last()
            .into_iter()
            .flat_map(|step| step.files.clone())
            .filter(|(_, content)| *content != Content::Same)
            .collect(),
        unread: Vec::new(),
    };
    let mut fresh = Folder::new("unused");
    let first = fresh.take(step.listing());
    let second = fresh.take(step.listing());
    assert!(first.changed && !second.changed);
    assert_eq!(Reading { changed: true, ..second }, first);
    apart(&step);
    Corpus::Keep
});
