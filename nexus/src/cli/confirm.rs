//! A question before what cannot be taken back.

use std::io::{IsTerminal as _, Write as _};

/// Asks on a terminal. Where there is none, nothing is done that was not confirmed beforehand.
pub fn ask(what: &str, yes: bool) -> anyhow::Result<()> {
    if yes {
        return Ok(());
    }
    anyhow::ensure!(
        std::io::stdin().is_terminal(),
        "{what}? There is no terminal to ask on: confirm with --yes"
    );
    write!(std::io::stderr(), "{what}? [y/N] ")?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    let agreed = matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes");
    anyhow::ensure!(agreed, "nothing was done");
    Ok(())
}
