//! Tests over whole files.

mod decode;
mod examples;
mod infer;
pub(crate) mod json;
mod lossless;
pub(crate) mod support;
