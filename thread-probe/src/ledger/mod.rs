//! The ledger: thread by thread to process by process to group by group, keeping the dead.
//!
//! A total is the sum of the last record of each live thread and the final record of each dead one. Each record is
//! turned into what it adds to the thread's record before it, and that is added to its process, its group and the
//! host at once: so totals only grow, and what a process did before it changed its name stays where it was counted.

mod account;
mod book;
mod entries;
mod folding;
mod folds;
mod groups;
mod overdue;
mod pairs;
mod recent;
mod refused;
mod state;
mod taken;
mod taking;
mod totals;

pub(crate) use self::totals::combine;
pub use self::{
    book::{Ledger, LedgerLosses},
    entries::{Blocked, ProcessEntry, ProcessKey, ThreadEntry},
    groups::{Group, GroupBounds, GroupId},
    refused::RefusedBy,
    state::ThreadState,
    taken::{SHORT, TAKERS, Taken, Taker},
    totals::{Interval, LIFETIME_BOUNDS_NS, Totals, WaitCounts},
};

#[cfg(test)]
mod tests;
