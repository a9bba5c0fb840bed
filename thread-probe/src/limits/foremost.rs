//! Who uses a limit: of the processes it holds for, the one whose threads grow fastest, else the one with the most.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{LimitUse, Unit};
use crate::{
    ledger::{Ledger, ProcessKey},
    text::until_nul,
};

/// The process to look at first where a limit on threads is near.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Foremost {
    /// Its process id (the kernel's tgid).
    pub pid: u32,
    /// Name of its main thread.
    pub comm: Arc<str>,
    /// Its threads.
    pub threads: u64,
    /// What these grow by; null where they do not clearly grow: then it is the process with the most, if that is a
    /// tenth of all.
    pub threads_grown_per_second: Option<f64>,
}

/// The foremost of each limit, as the processes are gone through.
pub(super) struct Contest {
    leaders: Vec<Option<Contender>>,
}

/// A process with its threads and what these grow by.
#[derive(Clone, Copy)]
pub(super) struct Contender {
    pub(super) key: ProcessKey,
    pub(super) threads: u64,
    pub(super) growth_per_second: Option<f64>,
}

impl Contender {
    fn is_before(&self, other: &Self) -> bool {
        let figures = |of: &Self| (of.growth_per_second.unwrap_or(0.0), of.threads);
        figures(self) > figures(other)
    }
}

impl Contest {
    /// One for so many limits.
    pub(super) fn new(limits: usize) -> Self {
        Self { leaders: vec![None; limits] }
    }

    /// Takes in a process that these limits hold for.
    pub(super) fn enter(&mut self, limits: &[usize], contender: Contender) {
        for index in limits {
            if let Some(leader) = self.leaders.get_mut(*index)
                && leader.is_none_or(|leader| contender.is_before(&leader))
            {
                *leader = Some(contender);
            }
        }
    }

    /// Tells each limit on threads whose process it is.
    pub(super) fn tell(self, limits: &mut [LimitUse], ledger: &Ledger) {
        for (limit, leader) in limits.iter_mut().zip(self.leaders) {
            // Of many that have one each, none is to be looked at.
            let matters = |of: &Contender| of.growth_per_second.is_some() || 10 * of.threads >= limit.used;
            limit.foremost = leader.filter(|of| limit.unit == Unit::Threads && matters(of)).and_then(|leader| {
                let comm = Arc::from(until_nul(&ledger.process(leader.key)?.identity.comm));
                let Contender { key, threads, growth_per_second } = leader;
                Some(Foremost { pid: key.tgid, comm, threads, threads_grown_per_second: growth_per_second })
            });
        }
    }
}
