//! `thread-probe top`: the ad-hoc view.

pub mod columns;
pub mod feed;
pub mod filter;
pub mod settings;
