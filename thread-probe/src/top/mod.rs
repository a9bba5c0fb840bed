//! `thread-probe top`: what the host's threads do, live.

pub mod feed;
