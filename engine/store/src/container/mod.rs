//! The encryption container and the object store layer that reads and writes it.
//!
//! Normative bytes: `schemas/repository-format.md`, heading "Container". A container is a header of 80 bytes and chunks of
//! 65,536 bytes under AES-256-GCM; the stored length alone gives the plain length, so that `head` and `list` cost
//! nothing and Parquet stays readable by ranges.
//!
//! # Errors and exit codes
//! What the layer finds wrong is a [`ContainerError`] inside `object_store::Error::Generic`; [`container_error`] takes it
//! out again, at any depth. [`ContainerError::exit_code`] maps it: any object of an encrypted repository that is no valid
//! container is 13 (tampered or rolled back); a container of a newer format version is 14. A wrong key never shows here:
//! 12 comes from the keyring alone, before any object is opened.

mod cipher;
mod error;
mod format;
mod headers;
mod path_kind;
mod read;
mod store;
mod stream;
mod upload;
mod whole;

pub use cipher::ObjectCipher;
pub use error::{ContainerError, container_error};
pub use format::{CHUNK, HEADER, MAGIC, SEALED_CHUNK, TAG, VERSION, plain_len, stored_len};
pub use headers::KnownHeader;
pub use path_kind::is_clear;
pub use store::{ClearRule, EncryptedStore};
pub use whole::{open_bytes, seal_bytes};

#[cfg(test)]
mod tests;
