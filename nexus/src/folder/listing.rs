//! The files of a folder, as bytes. Those that did not change since they were read last are not read again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::problem::{Notice, Problem, ProblemKind};
use super::stamp::Stamps;

/// The largest file that is read.
pub const MAX_FILE_BYTES: u64 = 1 << 20;

/// The most files that are read.
const MAX_FILES: usize = 10_000;

/// The deepest folder that is entered.
const MAX_DEPTH: usize = 32;

/// A file's path, seen from the folder, and its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileContent {
    /// The path.
    pub path: PathBuf,
    /// The content.
    pub content: Content,
}

/// A file's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// It was not read, as it is what it was in the listing before.
    Same,
    /// It was read.
    Bytes(Vec<u8>),
}

/// What a folder holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// The files that could be read, sorted by path.
    pub files: Vec<FileContent>,
    /// Files and folders that could not: what they gave last time stays.
    pub unread: Vec<PathBuf>,
    /// Why they could not.
    pub problems: Vec<Problem>,
    /// What was left out on purpose.
    pub notices: Vec<Notice>,
}

struct Walk<'a> {
    root: &'a Path,
    real_root: PathBuf,
    except: Option<&'a Path>,
    now: Timestamp,
    stamps: &'a mut Stamps,
    listing: Listing,
}

/// Lists a folder and what lies below it. Hidden files and folders are left out, and so is `except`. Files
/// that `stamps` knows are not read; those that are read `now` are noted there.
pub(super) fn list(root: &Path, except: Option<&Path>, now: Timestamp, stamps: &mut Stamps) -> Listing {
    let mut listing = Listing::default();
    match root.canonicalize() {
        Ok(real_root) => {
            let mut walk = Walk { root, real_root, except, now, stamps, listing };
            walk.folder(Path::new(""), 0);
            listing = walk.listing;
        }
        Err(error) => listing.unreadable(Path::new(""), &error),
    }
    listing.files.sort_by(|a, b| a.path.cmp(&b.path));
    listing
}

impl Listing {
    fn unreadable(&mut self, path: &Path, error: &io::Error) {
        let shown = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        self.unread.push(path.to_owned());
        self.problems.push(Problem {
            kind: ProblemKind::Unreadable,
            file: shown.to_owned(),
            at: None,
            path: String::new(),
            what: format!("it cannot be read: {error}"),
            remedy: "check that it is there and its permissions; what it defined stays".to_owned(),
        });
    }

    fn too_large(&mut self, path: &Path, what: String, remedy: &str) {
        self.unread.push(path.to_owned());
        self.problems.push(Problem {
            kind: ProblemKind::TooLarge,
            file: path.to_owned(),
            at: None,
            path: String::new(),
            what,
            remedy: format!("{remedy}; what it defined stays"),
        });
    }

    fn notice(&mut self, path: &Path, what: &str) {
        self.notices.push(Notice { file: path.to_owned(), line: None, what: what.to_owned() });
    }
}

impl Walk<'_> {
    fn folder(&mut self, path: &Path, depth: usize) {
        if depth > MAX_DEPTH {
            let what = format!("folders are entered {MAX_DEPTH} deep and no deeper");
            return self.listing.too_large(path, what, "move it up");
        }
        let entries = fs::read_dir(self.root.join(path))
            .and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>());
        let mut names = match entries {
            Ok(names) => names,
            // One that went away meanwhile is gone like any other; only the folder itself must be there.
            Err(error) if error.kind() == io::ErrorKind::NotFound && depth > 0 => return,
            Err(error) => return self.listing.unreadable(path, &error),
        };
        names.sort();
        for name in names {
            if !name.as_encoded_bytes().starts_with(b".") {
                self.entry(&path.join(name), depth);
            }
        }
    }

    fn entry(&mut self, path: &Path, depth: usize) {
        let full = self.root.join(path);
        let file_type = match fs::symlink_metadata(&full) {
            Ok(meta) => meta.file_type(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => return self.listing.unreadable(path, &error),
        };
        if file_type.is_dir() {
            let except =
                self.except.is_some_and(|except| full.canonicalize().is_ok_and(|full| full == except));
            if !except {
                self.folder(path, depth + 1);
            }
        } else if is_ours(path)
            && (file_type.is_file() || (file_type.is_symlink() && self.is_inside(path, &full)))
        {
            self.file(path, &full);
        }
    }

    /// Whether a link leads to a file of the folder that is not read under its own name. Mounted ConfigMaps
    /// are made of such links, into a hidden folder.
    fn is_inside(&mut self, path: &Path, full: &Path) -> bool {
        let target = match full.canonicalize() {
            Ok(target) => target,
            Err(error) => {
                self.listing.unreadable(path, &error);
                return false;
            }
        };
        let Ok(inside) = target.strip_prefix(&self.real_root) else {
            self.listing.notice(path, "a link out of the folder; not followed");
            return false;
        };
        let hidden = inside.iter().any(|part| part.as_encoded_bytes().starts_with(b"."));
        target.is_file() && (hidden || !is_ours(inside))
    }

    fn file(&mut self, path: &Path, full: &Path) {
        if self.listing.files.len() >= MAX_FILES {
            let what = format!("the folder holds more than {MAX_FILES} files");
            return self.listing.too_large(path, what, "take some out");
        }
        match self.content(path, full) {
            Ok(Some(content)) => self.listing.files.push(FileContent { path: path.to_owned(), content }),
            Ok(None) => {
                let what = format!("the file is larger than {} KiB", MAX_FILE_BYTES / 1024);
                self.listing.too_large(path, what, "split it");
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => self.listing.unreadable(path, &error),
        }
    }

    /// The content of a file, unless it is too large; never more than that is read.
    fn content(&mut self, path: &Path, full: &Path) -> io::Result<Option<Content>> {
        use io::Read as _;
        if self.stamps.knows(path, &fs::metadata(full)?) {
            return Ok(Some(Content::Same));
        }
        let file = fs::File::open(full)?;
        // Before it is read: what is written meanwhile must differ from what is noted.
        let meta = file.metadata()?;
        let mut bytes = Vec::new();
        file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
        self.stamps.note(path, &meta, self.now);
        let fits = u64::try_from(bytes.len()).is_ok_and(|len| len <= MAX_FILE_BYTES);
        Ok(fits.then_some(Content::Bytes(bytes)))
    }
}

/// Whether a file's name says that it holds objects.
fn is_ours(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    let stem = path.file_stem().and_then(|stem| stem.to_str());
    matches!(extension, Some("yaml" | "yml" | "json")) && stem != Some("kustomization")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn names(listing: &Listing) -> Vec<&str> {
        listing.files.iter().map(|file| file.path.to_str().unwrap()).collect()
    }

    #[test]
    fn files_are_found_sorted_and_others_are_left_alone() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        };
        let ours = ["a.yaml", "b/c.yml", "b.json"];
        let others = ["kustomization.yaml", "x.txt", ".hidden.yaml", ".git/x.yaml", "data/state.json"];
        ours.iter().chain(&others).for_each(|path| write(path));
        let data = root.path().join("data").canonicalize().unwrap();
        let listing = list(root.path(), Some(&data), Timestamp::UNIX_EPOCH, &mut Stamps::default());
        assert_eq!(names(&listing), ["a.yaml", "b/c.yml", "b.json"]);
        assert!(listing.problems.is_empty() && listing.notices.is_empty());
    }

    #[test]
    fn links_are_followed_inside_the_folder_only() {
        let root = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("x.yaml"), "x").unwrap();
        fs::create_dir(root.path().join("..data")).unwrap();
        fs::write(root.path().join("..data/mounted.yaml"), "x").unwrap();
        fs::write(root.path().join("own.yaml"), "x").unwrap();
        symlink("..data/mounted.yaml", root.path().join("mounted.yaml")).unwrap();
        symlink("own.yaml", root.path().join("again.yaml")).unwrap();
        symlink(outside.path().join("x.yaml"), root.path().join("out.yaml")).unwrap();
        symlink(outside.path(), root.path().join("folder")).unwrap();
        symlink(".", root.path().join("loop")).unwrap();
        let listing = list(root.path(), None, Timestamp::UNIX_EPOCH, &mut Stamps::default());
        assert_eq!(names(&listing), ["mounted.yaml", "own.yaml"]);
        assert_eq!(listing.notices.len(), 1);
        assert_eq!(listing.notices[0].to_string(), "out.yaml: a link out of the folder; not followed");
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("large.yaml"), vec![b'#'; (1 << 20) + 1]).unwrap();
        fs::write(root.path().join("fits.yaml"), vec![b'#'; 1 << 20]).unwrap();
        symlink("nowhere.yaml", root.path().join("broken.yaml")).unwrap();
        let listing = list(root.path(), None, Timestamp::UNIX_EPOCH, &mut Stamps::default());
        assert_eq!(names(&listing), ["fits.yaml"]);
        assert_eq!(listing.unread, [Path::new("broken.yaml"), Path::new("large.yaml")]);
        assert_eq!(listing.problems[1].kind, ProblemKind::TooLarge);
        let listing = list(&root.path().join("nowhere"), None, Timestamp::UNIX_EPOCH, &mut Stamps::default());
        assert_eq!(listing.unread, [Path::new("")]);
    }
}
