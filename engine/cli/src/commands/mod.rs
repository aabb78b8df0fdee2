//! The commands.

mod catalog;
mod create;
mod doctor;
mod find;
mod key;
mod lint;
mod list;
mod pages;
mod plan;
mod query;
mod repository;
mod restore;
mod run;
mod schema;
mod secret;
mod shorthand;
mod target;
mod test;
mod verify;

use crate::app::App;
use crate::args::{CatalogCommand, Command, RepositoryCommand};
use crate::error::CliError;
use crate::interrupt::interruptible;

/// What an interrupted command that only reads leaves.
const ONLY_READ: &str = "nothing was changed";

/// Runs the command; gives the exit code.
pub async fn dispatch(app: &App, command: Command) -> Result<u8, CliError> {
    match command {
        Command::Run(arguments) => run::run(app, &arguments).await,
        Command::Lint(arguments) => lint::lint(app, &arguments),
        Command::Plan(arguments) => reading(plan::plan(app, &arguments)).await,
        Command::Test(arguments) => reading(test::test(app, &arguments)).await,
        Command::List(arguments) => list::list(app, &arguments),
        Command::Schema(arguments) => schema::schema(app, &arguments),
        Command::Create(arguments) => create::create(app, &arguments),
        Command::Backup(arguments) => shorthand::backup(app, &arguments).await,
        Command::Migrate(arguments) => shorthand::migrate(app, &arguments).await,
        Command::Restore(arguments) => restore::restore(app, &arguments).await,
        Command::Repository(RepositoryCommand::Create(arguments)) => repository::create(app, &arguments).await,
        Command::Repository(RepositoryCommand::Info(arguments)) => reading(repository::info(app, &arguments)).await,
        Command::Catalog(CatalogCommand::List(arguments)) => reading(catalog::list(app, &arguments)).await,
        Command::Catalog(CatalogCommand::Show(arguments)) => reading(catalog::show(app, &arguments)).await,
        Command::Catalog(CatalogCommand::Query(arguments)) => reading(query::query(app, &arguments)).await,
        Command::Catalog(CatalogCommand::Verify(arguments)) => reading(verify::verify(app, &arguments)).await,
        Command::Key(command) => key::key(app, &command).await,
        Command::Doctor(arguments) => reading(doctor::doctor(app, &arguments)).await,
        Command::Completions(arguments) => pages::completions(app, &arguments),
        Command::Man(arguments) => pages::man(app, &arguments),
    }
}

/// A command that may be interrupted at any moment.
async fn reading(work: impl Future<Output = Result<u8, CliError>>) -> Result<u8, CliError> {
    interruptible(work, ONLY_READ, "").await
}
