//! How samples lie in a file: a head that says what is in one and lets a reader choose, and what is in it.

use std::io;

use super::stretch::Frame;
use crate::model::{
    Model,
    alert::{Severity, State},
};

/// What a file begins with: what it is, and the version of what follows. A change that an older program would misread
/// gets another version; a field more in a sample needs none.
pub(super) const FILE_HEAD: [u8; 16] = *b"thread-probe\0\0\x01\0";
/// Bytes of it that say what it is.
const KIND_BYTES: usize = 12;

/// Bytes before each sample.
pub(super) const HEAD_BYTES: usize = 16 + Glance::BYTES;

/// Why a file is no recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoRecording {
    /// It is something else.
    #[error("it is no recording of thread-probe")]
    Other,
    /// It is one of a later program.
    #[error("a later version of thread-probe made it: use that one to read it")]
    Later,
}

/// Whether a file begins as a recording does.
pub(super) fn check_file_head(head: &[u8]) -> Result<(), NoRecording> {
    match head.get(..KIND_BYTES) {
        Some(kind) if kind == &FILE_HEAD[..KIND_BYTES] => {}
        _ => return Err(NoRecording::Other),
    }
    if head == FILE_HEAD { Ok(()) } else { Err(NoRecording::Later) }
}

/// A sample at a glance: what a course over time is drawn from, and where to look.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Glance {
    /// When it was taken, in seconds since the Unix epoch.
    pub time_unix_seconds: f64,
    /// Context switches per second; no number without rates.
    pub switches_per_second: f32,
    /// 99th percentile of the waits for a CPU, in seconds; 0 without one.
    pub wait_p99_seconds: f32,
    /// Threads.
    pub threads: u32,
    /// Threads and processes created per second.
    pub clones_per_second: f32,
    /// Clones that failed per second.
    pub clone_failures_per_second: f32,
    /// All that was lost until then.
    pub lost: u32,
    /// Critical alerts that fire.
    pub critical_alerts: u16,
    /// Warnings that fire.
    pub warnings: u16,
}

impl Glance {
    const BYTES: usize = 36;

    /// Of a sample.
    pub fn of(model: &Model) -> Self {
        let rates = model.host.rates.unwrap_or_default();
        let lost = model.probe.lost.iter().fold(0_u64, |sum, lost| sum.saturating_add(lost.count));
        let firing = |severity| {
            let is_one = |alert: &&crate::model::AlertView| alert.state == State::Firing && alert.severity == severity;
            u16::try_from(model.alerts.iter().filter(is_one).count()).unwrap_or(u16::MAX)
        };
        Self {
            time_unix_seconds: model.time_unix_seconds,
            switches_per_second: model.host.rates.map_or(f32::NAN, |rates| rates.switches_per_second as f32),
            wait_p99_seconds: rates.wait_p99_seconds.unwrap_or(0.0) as f32,
            threads: u32::try_from(model.host.threads.total).unwrap_or(u32::MAX),
            clones_per_second: (rates.threads_created_per_second + rates.processes_created_per_second) as f32,
            clone_failures_per_second: rates.clone_failures_per_second as f32,
            lost: u32::try_from(lost).unwrap_or(u32::MAX),
            critical_alerts: firing(Severity::Critical),
            warnings: firing(Severity::Warning),
        }
    }

    /// Alerts that fire.
    pub fn alerts(&self) -> u32 {
        u32::from(self.critical_alerts) + u32::from(self.warnings)
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.time_unix_seconds.to_le_bytes());
        out.extend(self.switches_per_second.to_le_bytes());
        out.extend(self.wait_p99_seconds.to_le_bytes());
        out.extend(self.threads.to_le_bytes());
        out.extend(self.clones_per_second.to_le_bytes());
        out.extend(self.clone_failures_per_second.to_le_bytes());
        out.extend(self.lost.to_le_bytes());
        out.extend(self.critical_alerts.to_le_bytes());
        out.extend(self.warnings.to_le_bytes());
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut left = bytes;
        Some(Self {
            time_unix_seconds: f64::from_le_bytes(take(&mut left)?),
            switches_per_second: f32::from_le_bytes(take(&mut left)?),
            wait_p99_seconds: f32::from_le_bytes(take(&mut left)?),
            threads: u32::from_le_bytes(take(&mut left)?),
            clones_per_second: f32::from_le_bytes(take(&mut left)?),
            clone_failures_per_second: f32::from_le_bytes(take(&mut left)?),
            lost: u32::from_le_bytes(take(&mut left)?),
            critical_alerts: u16::from_le_bytes(take(&mut left)?),
            warnings: u16::from_le_bytes(take(&mut left)?),
        })
    }
}

fn take<const N: usize>(left: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = left.split_first_chunk()?;
    *left = rest;
    Some(*taken)
}

/// What stands before a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Head {
    /// Whether a stretch begins with it.
    pub(super) is_first: bool,
    /// Bytes that follow.
    pub(super) bytes: u32,
    /// Bytes of these before they were compressed.
    pub(super) plain_bytes: u32,
    pub(super) glance: Glance,
    checksum: u32,
}

impl Head {
    /// As it was written; `None` of too few bytes.
    pub(super) fn read(bytes: &[u8; HEAD_BYTES]) -> Option<Self> {
        let mut left = &bytes[..];
        let flags = u32::from_le_bytes(take(&mut left)?);
        let payload_bytes = u32::from_le_bytes(take(&mut left)?);
        let plain_bytes = u32::from_le_bytes(take(&mut left)?);
        let checksum = u32::from_le_bytes(take(&mut left)?);
        let glance = Glance::read(left)?;
        let head = Self { is_first: flags & 1 == 1, bytes: payload_bytes, plain_bytes, glance, checksum };
        // No sample is of no bytes: what a power loss leaves is zeros.
        Some(head).filter(|head| flags <= 1 && head.bytes > 0)
    }

    /// Whether what follows is what was written.
    pub(super) fn is_of(&self, payload: &[u8]) -> bool {
        payload.len() == self.bytes as usize && checksum(&self.without_checksum(), payload) == self.checksum
    }

    fn without_checksum(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD_BYTES);
        for number in [u32::from(self.is_first), self.bytes, self.plain_bytes] {
            bytes.extend(number.to_le_bytes());
        }
        self.glance.write(&mut bytes);
        bytes
    }
}

fn checksum(head: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(head);
    hasher.update(payload);
    hasher.finalize()
}

/// A sample as it lies in a file.
pub(super) fn to_bytes(frame: &Frame, glance: Glance) -> io::Result<Vec<u8>> {
    let bytes = u32::try_from(frame.bytes.len()).map_err(io::Error::other)?;
    let mut head = Head { is_first: frame.is_first, bytes, plain_bytes: frame.plain_bytes, glance, checksum: 0 };
    head.checksum = checksum(&head.without_checksum(), &frame.bytes);
    let mut all = Vec::with_capacity(HEAD_BYTES + frame.bytes.len());
    for number in [u32::from(head.is_first), head.bytes, head.plain_bytes, head.checksum] {
        all.extend(number.to_le_bytes());
    }
    glance.write(&mut all);
    all.extend(&frame.bytes);
    Ok(all)
}
