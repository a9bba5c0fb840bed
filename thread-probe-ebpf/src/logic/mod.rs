//! What the programs decide from numbers alone: accounting at a switch, where time went and who took the CPU, whether
//! a record still stands, how a short one is packed, which limit refused a clone. Inlined into them, and tested on the
//! host.

pub mod refusal;
pub mod short_record;
pub mod taken;
pub mod time;
pub mod unchanged;
pub mod wait;
