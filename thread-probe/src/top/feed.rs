//! stub
use crate::model::{Model, OneProcess};
use std::time::Duration;
/// stub
#[derive(Clone, Debug)]
pub struct Sample {
    /// stub
    pub model: Model,
    /// stub
    pub one: Option<OneProcess>,
}
/// stub
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request {
    /// stub
    pub pid: Option<u32>,
    /// stub
    pub interval: Duration,
}
