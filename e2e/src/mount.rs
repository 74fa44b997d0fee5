//! A small file system, to be filled.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

/// A small file system. Dropping it unmounts it.
#[derive(Debug)]
pub struct Mount(PathBuf);

impl Mount {
    /// Mounts so many bytes.
    pub fn new(path: PathBuf, bytes: u64) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        let mount = Self(path);
        mount.run("mount", &["-t", "tmpfs", "-o", &format!("size={bytes},mode=0700"), "tmpfs"])?;
        Ok(mount)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Gives it so many bytes.
    pub fn resize(&self, bytes: u64) -> anyhow::Result<()> {
        self.run("mount", &["-o", &format!("remount,size={bytes}")])
    }

    fn run(&self, program: &str, args: &[&str]) -> anyhow::Result<()> {
        let output = Command::new(program).args(args).arg(&self.0).output();
        let output = output.with_context(|| format!("cannot run `{program}`"))?;
        ensure!(
            output.status.success(),
            "cannot {program} {}: {}; run this as root, or where `unshare -rm true` works, or leave out the full disk",
            self.0.display(),
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // A mount that stays is seen by whoever removes the folder.
        let _ = self.run("umount", &["-l"]);
    }
}
