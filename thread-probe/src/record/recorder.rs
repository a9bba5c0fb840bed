//! From samples to what is kept of them.

use std::io;

use serde::{Deserialize, Serialize};

use super::{
    LookedInto,
    fold::fold,
    frame::{self, Glance},
    stretch::{self, Failure},
};
use crate::model::Model;

/// Samples from one that is whole to the next: what must be read to see one is bounded by it.
const STRETCH: u32 = 120;
/// Threads are kept of processes that do as much as half a CPU, and of no more than these.
const MOST_LOOKED_INTO: usize = 8;
const MOST_THREADS: u64 = 1000;
const BOUND: f64 = 0.5;
const BOUND_SWITCHES_PER_SECOND: f64 = 5000.0;

/// A sample as it is written: without what follows from the rest.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Sheet<M, L> {
    pub(super) is_folded: bool,
    pub(super) model: M,
    pub(super) looked_into: L,
}

/// Makes bytes of samples that follow each other.
pub struct Recorder<M> {
    writer: stretch::Writer,
    /// The sample before, if it is in the same stretch.
    before: Option<M>,
    in_stretch: u32,
}

impl<M> Default for Recorder<M> {
    fn default() -> Self {
        Self { writer: stretch::Writer::default(), before: None, in_stretch: 0 }
    }
}

impl<M: AsRef<Model>> Recorder<M> {
    /// The next sample is whole: what is read from there on needs nothing before it.
    pub(super) fn begin(&mut self) {
        self.writer.begin();
        self.before = None;
        self.in_stretch = 0;
    }

    /// The bytes of a sample.
    ///
    /// # Errors
    /// It can't be recorded; the next one is whole then.
    pub(super) fn bytes(&mut self, sample: M, looked_into: &[LookedInto]) -> Result<Vec<u8>, Failure> {
        if self.in_stretch == STRETCH {
            self.begin();
        }
        let before = self.before.take();
        let model = sample.as_ref();
        let mut folded = model.clone();
        let is_folded = fold(&mut folded, before.as_ref().map(AsRef::as_ref)).is_ok();
        let model_to_write = if is_folded { &folded } else { model };
        let interval_ns = (model.interval_seconds.unwrap_or(0.0) * 1e9) as i64;
        let frame = self.writer.write(&Sheet { is_folded, model: model_to_write, looked_into }, interval_ns);
        drop(folded);
        let frame = frame.inspect_err(|_| self.begin())?;
        let bytes = frame::to_bytes(&frame, Glance::of(model)).map_err(|_| Failure::TooLarge(frame.bytes.len()))?;
        self.in_stretch += 1;
        self.before = Some(sample);
        Ok(bytes)
    }
}

/// The processes of which the threads are kept, too: those that had most of CPUs, or of waits for one.
pub fn to_look_into(model: &Model) -> Vec<u32> {
    let did = |process: &crate::model::Process| {
        let rates = process.rates?;
        let work = rates.cpu_ratio + rates.wait_ratio;
        let is_over = work >= BOUND || rates.switches_per_second >= BOUND_SWITCHES_PER_SECOND;
        (is_over && process.threads.total <= MOST_THREADS && !process.is_kernel_thread).then_some((work, process.pid))
    };
    let mut over: Vec<_> = model.processes.iter().filter_map(did).collect();
    over.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    over.into_iter().take(MOST_LOOKED_INTO).map(|(_, pid)| pid).collect()
}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> Self {
        Self::other(failure)
    }
}
