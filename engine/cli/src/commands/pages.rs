//! `restow completions` and `restow man`: from the same definitions as the help.

use clap::CommandFactory;
use serde_json::json;

use crate::app::App;
use crate::args::{Cli, CompletionsArgs, ManArgs};
use crate::error::CliError;
use crate::exit;

/// Prints completions.
pub fn completions(app: &App, arguments: &CompletionsArgs) -> Result<u8, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "restow", &mut script);
    let text = String::from_utf8_lossy(&script).into_owned();
    app.console.result("completions", &json!({ "text": text }), || text.clone());
    Ok(exit::DONE)
}

/// Prints the manual page, or writes one page a command.
pub fn man(app: &App, arguments: &ManArgs) -> Result<u8, CliError> {
    let Some(folder) = &arguments.write else {
        let mut page = Vec::new();
        clap_mangen::Man::new(Cli::command()).render(&mut page).map_err(CliError::Output)?;
        let text = String::from_utf8_lossy(&page).into_owned();
        app.console.result("man", &json!({ "text": text }), || text.clone());
        return Ok(exit::DONE);
    };
    let failed = |source| CliError::Write { path: folder.clone(), source };
    std::fs::create_dir_all(folder).map_err(failed)?;
    clap_mangen::generate_to(Cli::command(), folder).map_err(failed)?;
    app.console.note(&format!("wrote the manual pages to {}", folder.display()));
    Ok(exit::DONE)
}
