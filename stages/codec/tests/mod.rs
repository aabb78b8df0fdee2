//! Tests over whole files.

mod decode;
mod examples;
mod infer;
mod json;
mod lossless;
mod support;
