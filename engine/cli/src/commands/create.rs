//! `restow create`.

use std::io::Write;

use serde_json::json;

use crate::app::App;
use crate::args::CreateArgs;
use crate::error::CliError;
use crate::exit;

/// Writes a starter; never over a file that exists.
pub fn create(app: &App, arguments: &CreateArgs) -> Result<u8, CliError> {
    let text = restow_spec::create(&arguments.expression, app.registry.catalogue())?;
    let Some(path) = &arguments.output else {
        app.console.result("pipeline", &json!({ "text": text }), || text.clone());
        return Ok(exit::DONE);
    };
    let failed = |source| CliError::Write { path: path.clone(), source };
    let mut file = match std::fs::File::create_new(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let message = format!("{} exists and was not changed", path.display());
            return Err(CliError::Refused { message, hint: "name another file, or remove this one".into() });
        }
        Err(error) => return Err(failed(error)),
    };
    file.write_all(text.as_bytes()).map_err(failed)?;
    app.console.note(&format!("wrote {}; check it with `restow lint {}`", path.display(), path.display()));
    Ok(exit::DONE)
}
