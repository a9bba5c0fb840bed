//! What a feed is asked for, and what it hands on.

use std::time::Duration;

use crate::model::{Model, OneProcess};

/// A sample.
#[derive(Clone, Debug)]
pub struct Sample {
    /// All of the host.
    pub model: Model,
    /// More of the process that was asked for, if one was and it exists.
    pub one: Option<OneProcess>,
    /// The arguments of that process, with blanks between them. Only of an own probe: they may be secret, and a daemon
    /// answers others.
    pub command_line: Option<String>,
}

/// What a feed hands on.
pub enum Update {
    /// A new sample, or the last one with another process.
    Sample(Box<Sample>),
    /// There are no samples, and why, in one line. Of a daemon it goes on trying.
    Lost(String),
    /// That was the last sample of a recording.
    Over,
}

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request {
    /// The process of which more is wanted.
    pub pid: Option<u32>,
    /// Time between samples; a daemon's own may be longer.
    pub interval: Duration,
}
