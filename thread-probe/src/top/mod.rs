//! `thread-probe top`: the ad-hoc view.

pub mod app;
pub mod columns;
pub mod feed;
pub mod filter;
pub mod render;
pub mod settings;
