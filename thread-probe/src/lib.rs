//! thread-probe: what every thread on a Linux host costs.
//!
//! Data flows one way: the [`probe`] hands out raw records ([`sample`]), the [`ledger`] adds them up by process and
//! group ([`names`]), the [`model`] turns one sample of it into what people read, with the [`limits`] in reach;
//! [`alerts`] judge it, and the views draw it: [`export`], [`top`], [`commands`]. What can be chosen is in [`config`].
//! ARCHITECTURE.md is the map, with the order of these modules: each uses only those before it.

pub mod advice;
pub mod alerts;
pub mod bench;
pub mod commands;
pub mod config;
pub mod export;
#[cfg(test)]
mod golden;
mod http_client;
pub mod inspect;
pub mod ledger;
pub mod limits;
pub mod model;
pub mod names;
pub mod os;
pub mod plan;
pub mod privileges;
pub mod probe;
pub mod record;
pub mod sample;
pub mod sampler;
#[cfg(test)]
mod testing;
pub mod text;
pub mod top;

pub use commands::{options::Cli, run, usage_error};
