//! Opens the repository of a sink, and makes it where that was asked for.

use std::sync::Arc;

use restow_core::stage::{ByteStages, SinkContext};
use restow_core::{EngineError, ExitClass, Result};
use restow_spec::pipeline::Component;
use restow_store::repository::{CreateOptions, RecoveryOutput, Repository};

use super::Target;
use crate::codec::Codec;
use crate::encrypt;
use crate::repository::config::{self, Create, RepositorySink};

pub(super) async fn open(
    component: &Component,
    bytes: &ByteStages,
    context: &SinkContext,
    codec: Codec,
) -> Result<Target> {
    let options: RepositorySink = config::options(component)?;
    let stage = encrypt::of_stage(bytes)?;
    let mut wanted =
        config::target(options.connection.as_deref(), options.url.as_deref(), None, stage.as_ref(), &context.open)?;
    if options.create == Create::IfMissing {
        wanted.create = Create::IfMissing;
    }
    let url = wanted.location.url.clone();
    if !wanted.location.writable {
        return Err(EngineError::usage(format!("{url} is read-only, and this pipeline would write to it"))
            .with_hint("a sink needs a folder, s3://, gs:// or az://"));
    }
    if Repository::exists(&wanted.location).await? {
        let repository = Repository::open(wanted.location, wanted.key.as_ref()).await?;
        return Ok(Target { url, repository: Some(repository), codec });
    }
    if wanted.create == Create::Never {
        return Err(EngineError::new(ExitClass::NotFound, format!("there is no repository at {url}")).with_hint(
            "make it with `restow repository create`, or let the first run do it with `create: if_missing`",
        ));
    }
    if !context.may_create {
        return Ok(Target { url, repository: None, codec });
    }
    create(wanted, codec, context).await
}

async fn create(wanted: config::Target, codec: Codec, context: &SinkContext) -> Result<Target> {
    let url = wanted.location.url.clone();
    let recovery = match &wanted.recovery_key_file {
        Some(file) => RecoveryOutput::File(context.open.directory.join(file)),
        None => {
            let progress = Arc::clone(&context.progress);
            RecoveryOutput::With(Arc::new(move |key| {
                let text = key.text();
                progress.say(&format!("recovery key, shown this once, to be kept offline: {}", text.as_str()));
            }))
        }
    };
    let encryption = wanted.key.clone();
    let created = Repository::create(wanted.location, CreateOptions { encryption, recovery }).await?;
    let say = |message: String| context.progress.say(&message);
    say(format!("made the repository {url}"));
    if let Some(file) = &created.key_file_created {
        say(format!(
            "made the key file {}: whoever loses it and the recovery key has lost the backups, so keep a copy elsewhere",
            file.display()
        ));
    }
    if let Some(file) = &wanted.recovery_key_file {
        say(format!("wrote the recovery key to {file}: move it to a safe place"));
    }
    Ok(Target { url, repository: Some(created.repository), codec })
}
