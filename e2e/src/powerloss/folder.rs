//! Whole folders: read, written, compared.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

const PAGE: usize = 4096;

/// What is under a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A folder.
    Folder,
    /// A file and its bytes.
    File(Vec<u8>),
}

/// A folder's content by path relative to it.
pub type Content = BTreeMap<PathBuf, Entry>;

/// Reads all that is in a folder.
pub fn read(root: &Path) -> anyhow::Result<Content> {
    let mut content = Content::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let path = root.join(&folder);
        for entry in fs::read_dir(&path).with_context(|| format!("cannot list {}", path.display()))? {
            let entry = entry?;
            let name = folder.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                folders.push(name.clone());
                content.insert(name, Entry::Folder);
            } else {
                content.insert(name, Entry::File(fs::read(entry.path())?));
            }
        }
    }
    Ok(content)
}

/// Makes a folder anew of this content. Pages of zeros become holes. All is readable by its owner only, as
/// secrets have to be.
pub fn write(root: &Path, content: &Content) -> anyhow::Result<()> {
    remove(root)?;
    make(root)?;
    for (name, entry) in content {
        let path = root.join(name);
        let written = match entry {
            Entry::Folder => make(&path),
            Entry::File(bytes) => write_sparse(&path, bytes),
        };
        written.with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn make(path: &Path) -> io::Result<()> {
    fs::create_dir(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))
}

/// Removes a folder, if there is one.
pub fn remove(root: &Path) -> io::Result<()> {
    match fs::remove_dir_all(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn write_sparse(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    for (number, page) in bytes.chunks(PAGE).enumerate() {
        if page != &[0; PAGE][..page.len()] {
            file.seek(SeekFrom::Start((number * PAGE) as u64))?;
            file.write_all(page)?;
        }
    }
    file.set_len(bytes.len() as u64)
}

/// Where two folders differ; at most the first few places.
pub fn differences(one: &Content, other: &Content) -> Vec<String> {
    let names: std::collections::BTreeSet<_> = one.keys().chain(other.keys()).collect();
    let differs = |name: &&PathBuf| match (one.get(*name), other.get(*name)) {
        (Some(Entry::File(a)), Some(Entry::File(b))) => {
            let at = a.iter().zip(b).position(|(a, b)| a != b);
            let what = match at {
                Some(at) => format!("differs at byte {at}"),
                None if a.len() != b.len() => format!("has {} bytes, or {}", a.len(), b.len()),
                None => return None,
            };
            Some(format!("{}: {what}", name.display()))
        }
        (Some(_), None) => Some(format!("{}: only in the first", name.display())),
        (None, Some(_)) => Some(format!("{}: only in the second", name.display())),
        (one, other) => (one != other).then(|| format!("{}: a file or a folder", name.display())),
    };
    names.iter().filter_map(differs).take(5).collect()
}
