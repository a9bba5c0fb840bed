//! The ad-hoc view: interactive, or printed sample by sample.

pub mod app;
pub mod batch;
pub mod choice;
pub mod columns;
pub mod feed;
pub mod filter;
mod input;
pub(crate) mod interactive;
pub mod render;
pub mod settings;
pub(crate) mod signals;
pub mod terminal;
