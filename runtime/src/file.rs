//! Files that are replaced whole and survive a crash at any point.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

/// Replaces a file's content so that after a crash either the old or the new content stands: a temporary file
/// beside it, fsync, rename, fsync of the folder. The file is readable by its owner only.
///
/// # Errors
/// When any step fails; the old content then stands.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().ok_or_else(|| io::Error::other("a path without a file name"))?;
    make_folder(folder)?;
    let mut temporary = name.to_owned();
    temporary.push(".tmp");
    let temporary = folder.join(temporary);
    let written = write_synced(&temporary, content).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // The name is ours alone; a leftover would only confuse.
        let _ = fs::remove_file(&temporary);
    }
    written?;
    File::open(folder)?.sync_all()
}

/// Gives a file another name in its folder, for good. That takes no room on a disk.
///
/// # Errors
/// When there is no such file, or the names cannot be changed.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

/// Makes a folder and those that it is in, each readable by its owner only, and syncs the folder that each new name
/// is in: else a loss of power may take the new folder with all that is in it. The name of the first one that is there
/// already is synced too, since whoever made it may have been killed before that.
///
/// # Errors
/// When a folder cannot be made, or a name of it not be made durable.
pub fn make_folder(folder: &Path) -> io::Result<()> {
    make_and_sync(folder, &mut |folder| File::open(folder)?.sync_all())
}

fn make_and_sync(folder: &Path, sync: &mut dyn FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
    let parent =
        folder.parent().map(|parent| if parent.as_os_str().is_empty() { Path::new(".") } else { parent });
    if folder.is_dir() {
        return match parent.map(sync) {
            // In a folder that we may not read nothing is of our making.
            Some(Err(error)) if error.kind() != io::ErrorKind::PermissionDenied => Err(error),
            _ => Ok(()),
        };
    }
    let parent = parent.unwrap_or(Path::new("."));
    make_and_sync(parent, sync)?;
    match DirBuilder::new().mode(0o700).create(folder) {
        // Another may have been faster.
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists || !folder.is_dir() => return Err(error),
        _ => {}
    }
    sync(parent)
}

fn write_synced(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_content_is_replaced_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b.json");
        replace(&path, b"one").unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn the_name_of_each_new_folder_is_synced_and_of_one_that_may_be_new() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        let make = |path: &Path| {
            let mut synced = Vec::new();
            make_and_sync(path, &mut |folder| {
                synced.push(folder.to_owned());
                Ok(())
            })
            .unwrap();
            synced
        };
        let parent = folder.path().parent().unwrap().to_owned();
        assert_eq!(make(&at("a/b/c")), [parent, at(""), at("a"), at("a/b")]);
        // Whoever made it may have been killed before it was synced.
        assert_eq!(make(&at("a/b/c")), [at("a/b")]);
        assert_eq!(make(&at("a/b/d")), [at("a"), at("a/b")]);
        for made in ["a", "a/b/c"] {
            assert_eq!(fs::metadata(at(made)).unwrap().permissions().mode() & 0o777, 0o700);
        }
        fs::write(at("file"), b"").unwrap();
        assert!(make_folder(&at("file")).is_err());
        assert!(make_folder(&at("file/below")).is_err());
    }

    #[test]
    fn a_failed_write_leaves_the_old_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("b.json");
        replace(&path, b"one").unwrap();
        fs::create_dir(folder.path().join("b.json.tmp")).unwrap();
        assert!(replace(&path, b"two").is_err());
        assert_eq!(fs::read(&path).unwrap(), b"one");
    }
}
