//! The model: what the ledger says of one sample, in the units people read. Every view is drawn from it alone.

mod activity;
pub mod alert;
mod build;
mod by_name;
mod histogram;
mod snapshot;
mod status;

pub use self::{
    activity::{Activity, CloneFailures, CloneFailuresByLimit, Rates, ThreadCounts},
    alert::{AlertView, NotificationCount},
    build::{SampleFacts, one_process},
    by_name::{ThreadsOfName, without_numbers},
    histogram::{Bucket, IntervalWaits, quantile_seconds},
    snapshot::{Group, Host, HostRaw, Limits, Memory, Model, OneProcess, Process, Scheduling, System, Thread},
    status::{ConfigStatus, LostCount, OwnCost, ProbeStatus},
};
