//! The model: what the ledger says of one sample, in the units people read. Every view is drawn from it alone.

mod activity;
pub mod alert;
mod build;
mod by_name;
mod counts;
mod cpus;
mod histogram;
pub mod losses;
mod snapshot;
mod status;
mod taken;
pub mod time;

pub(crate) use self::histogram::{counts as histogram_counts, histogram};
pub use self::{
    activity::{Activity, CpuWork, Rates, ThreadCounts},
    alert::{AlertView, NotificationCount},
    build::{SampleFacts, one_process},
    by_name::{ThreadsOfName, without_numbers},
    counts::{CloneFailures, CloneFailuresByLimit, Counted, Counts, Times},
    cpus::UsableCpus,
    histogram::{Bucket, IntervalWaits, quantile_seconds},
    losses::Loss,
    snapshot::{
        BlockedThread, Group, Host, HostRaw, Limits, Memory, Model, OneProcess, Process, Scheduling, System, Thread,
    },
    status::{ConfigStatus, LostCount, OwnCost, ProbeStatus, RecordingCounts},
    taken::{CpuTaken, TakenBy, TakerProcess},
};
