//! `thread-probe top`: the ad-hoc view.

pub mod columns;
pub mod filter;
pub mod settings;
