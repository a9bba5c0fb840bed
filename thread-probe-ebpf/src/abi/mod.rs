//! What the programs and the daemon agree on: records, sums, the histogram, the table of kernel offsets,
//! names, states of time, who has a CPU.

pub mod fold;
pub mod histogram;
pub mod names;
pub mod offsets;
pub mod record;
pub mod storage;
pub mod taken;
pub mod time;
