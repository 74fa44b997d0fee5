//! The program under test.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

/// The given program, or the one that lies beside this one, which is built first where cargo runs this.
pub fn locate(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(given) = given {
        ensure!(given.is_file(), "there is no program {}", given.display());
        return Ok(given.canonicalize()?);
    }
    let release = !cfg!(debug_assertions);
    let words: &[&str] =
        if release { &["build", "--release", "-p", "nexus"] } else { &["build", "-p", "nexus"] };
    if let Some(cargo) = std::env::var_os("CARGO") {
        let status = Command::new(cargo).arg("--quiet").args(words).status();
        let status = status.context("cannot run cargo")?;
        ensure!(status.success(), "`cargo {}` fails", words.join(" "));
    }
    let own = std::env::current_exe()?;
    let nexus = own.with_file_name("nexus");
    ensure!(
        nexus.is_file(),
        "there is no {}: build it by `cargo {}`, or name the program by --nexus",
        nexus.display(),
        words.join(" ")
    );
    Ok(nexus)
}
