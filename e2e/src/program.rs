//! The program under test, and how it and others are started.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

/// Names the folder of programs that are built already: to build one by itself would, after a test of the whole
/// workspace, compile much of it once more with other features.
const BUILT: &str = "NEXUS_PROGRAMS";

/// The given program, or that of [`BUILT`], or the `nexus` that lies beside this one, which is built first where cargo
/// runs this.
pub fn locate(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    find(given, "nexus", "nexus", "--nexus")
}

/// The given program, or likewise the example agent that speaks gRPC.
pub fn locate_agent(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    find(given, "nexus-example-agent", "agent_grpc", "--agent")
}

fn find(given: Option<&Path>, package: &str, name: &str, flag: &str) -> anyhow::Result<PathBuf> {
    if let Some(given) = given {
        ensure!(given.is_file(), "there is no program {}", given.display());
        return Ok(given.canonicalize()?);
    }
    if let Some(folder) = std::env::var_os(BUILT) {
        let program = Path::new(&folder).join(name);
        ensure!(program.is_file(), "there is no {}, where {BUILT} promises it", program.display());
        return Ok(program.canonicalize()?);
    }
    let release = !cfg!(debug_assertions);
    let words: &[&str] =
        if release { &["build", "--release", "-p", package] } else { &["build", "-p", package] };
    if let Some(cargo) = std::env::var_os("CARGO") {
        let status = Command::new(cargo).arg("--quiet").args(words).status();
        let status = status.context("cannot run cargo")?;
        ensure!(status.success(), "`cargo {}` fails", words.join(" "));
    }
    let own = std::env::current_exe()?;
    // Tests lie in a folder below.
    let own = own.parent().filter(|folder| folder.ends_with("deps")).unwrap_or(&own);
    let program = own.with_file_name(name);
    ensure!(
        program.is_file(),
        "there is no {}: build it by `cargo {}`, or name the program by {flag}",
        program.display(),
        words.join(" ")
    );
    Ok(program)
}

/// A command for a program, with more environment, that dies with the thread that starts it, however that ends, and when
/// its handle is dropped. `within` are words that come before it, such as `prlimit --nofile=100`.
pub fn mortal(
    program: impl AsRef<OsStr>,
    within: &[OsString],
    environment: &[(&'static str, PathBuf)],
) -> tokio::process::Command {
    let mut command = tokio::process::Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).args(within);
    // By `env`, since what is loaded into the program by its environment would be loaded into those before it as well.
    command.arg("env").args(environment.iter().map(|(name, value)| {
        let mut word = OsString::from(format!("{name}="));
        word.push(value);
        word
    }));
    command.arg(program).kill_on_drop(true);
    command
}

/// What is said when a command of [`mortal`] cannot be started.
pub const NO_SETPRIV: &str = "cannot run `setpriv` (Debian: apt-get install util-linux)";
