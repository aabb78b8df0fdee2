//! Tests on backups of real servers (`../testdata/make.py` makes them), and on ones that are damaged or made up here.

mod backups;
mod damage;
mod descriptors;
mod files;
mod merging;
mod mutations;
mod objects;
mod support;
mod tars;
