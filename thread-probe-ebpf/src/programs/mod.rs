//! What the programs do, of which `main.rs` has the entry points. What needs no kernel is in `logic`.

mod cfs_rq;
pub(crate) mod clone;
pub(crate) mod end;
mod fill;
mod folding;
pub(crate) mod kernel;
mod maps;
mod member;
mod refusal;
pub(crate) mod scan;
mod sleep;
pub(crate) mod switch;
mod taken;
pub(crate) mod tasks;
