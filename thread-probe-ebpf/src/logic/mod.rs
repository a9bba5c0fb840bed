//! What the programs decide from numbers alone: accounting at a switch, where time went, how long a
//! burst was and who took the CPU, whether a record still stands, how a short one is packed, which limit refused a clone. Inlined into them, and tested on the
//! host.

pub mod burst;
pub mod refusal;
pub mod short_record;
pub mod taken;
pub mod time;
pub mod unchanged;
pub mod wait;
