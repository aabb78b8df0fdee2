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

/// Asks for a secret, which is not shown while it is typed.
pub fn secret(question: &str) -> Result<Zeroizing<String>, CliError> {
    let hidden = echo(false);
    let answer = line(question);
    if hidden {
        echo(true);
        let _ = writeln!(io::stderr());
    }
    Ok(Zeroizing::new(answer?.trim().to_owned()))
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
