//! Exports that are written here as the server writes them.

mod damage;
mod objects;
mod round_trip;
mod support;
mod types;
