//! Questions to a terminal.

use std::io::{self, IsTerminal, Write};
use std::process::{Command, Stdio};

use zeroize::Zeroizing;

use crate::error::CliError;

/// Whether somebody can be asked.
pub fn has_terminal() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks yes or no; anything but yes is no.
pub fn confirm(question: &str) -> Result<bool, CliError> {
    let answer = line(&format!("{question} [y/N] "))?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// Goes on where `yes` is given or somebody says so; `what` is what would be done, as in `remove slot 3`.
pub fn agree(what: &str, yes: bool) -> Result<(), CliError> {
    if yes {
        return Ok(());
    }
    if !has_terminal() {
        let message = format!("to {what} needs a confirmation, and there is no terminal; nothing was changed");
        return Err(CliError::Refused { message, hint: "add --yes".into() });
    }
    match confirm(&format!("{what}?"))? {
        true => Ok(()),
        false => Err(CliError::Refused { message: "not confirmed; nothing was changed".into(), hint: String::new() }),
    }
}

/// Asks for a secret, which is not shown while it is typed. Spaces belong to a passphrase; only the line end does not.
pub fn secret(question: &str) -> Result<Zeroizing<String>, CliError> {
    let hidden = echo(false);
    let answer = line(question);
    if hidden {
        echo(true);
        let _ = writeln!(io::stderr());
    }
    Ok(Zeroizing::new(answer?.trim_end_matches(['\n', '\r']).to_owned()))
}

fn line(question: &str) -> Result<Zeroizing<String>, CliError> {
    let mut stderr = io::stderr().lock();
    write!(stderr, "{question}").and_then(|()| stderr.flush()).map_err(CliError::Terminal)?;
    let mut answer = Zeroizing::new(String::new());
    io::stdin().read_line(&mut answer).map_err(CliError::Terminal)?;
    Ok(answer)
}

/// Switches the terminal's echo by `stty`, as there is no safe call for it; `false` where that did not work.
fn echo(on: bool) -> bool {
    let mode = if on { "echo" } else { "-echo" };
    let stty =
        Command::new("stty").arg(mode).stdin(Stdio::inherit()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    stty.is_ok_and(|status| status.success())
}
