//! Whether the last record of a thread still stands.

use crate::abi::storage::TaskStorage;

/// What changes whenever a thread runs or is renamed.
#[derive(Clone, Copy, Debug)]
pub struct Glance {
    /// Its state, that of a frozen thread included.
    pub state: u32,
    /// Its exit state.
    pub exit_state: u32,
    /// `nvcsw`.
    pub voluntary_switches: u64,
    /// `nivcsw`.
    pub involuntary_switches: u64,
    /// `pcount`.
    pub runs: u64,
    /// Its name.
    pub comm: [u64; 2],
}

/// Whether a thread that does not run is as the last scan wrote it: it has not run since, nor been renamed.
#[inline(always)]
pub const fn is_as_sent(now: Glance, storage: &TaskStorage) -> bool {
    storage.sent_state != 0
        && now.state == storage.sent_state
        && now.exit_state == 0
        && now.voluntary_switches == storage.sent.voluntary_switches
        && now.involuntary_switches == storage.sent.involuntary_switches
        && now.runs == storage.sent.runs
        && now.comm[0] == storage.sent_comm[0]
        && now.comm[1] == storage.sent_comm[1]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::storage::Sent;

    const SLEEPING: u32 = 1;

    fn sent() -> (Glance, TaskStorage) {
        let sent = Sent { voluntary_switches: 3, involuntary_switches: 4, runs: 5, cpu_ns: 6, ..Sent::default() };
        let storage = TaskStorage { sent, sent_state: SLEEPING, sent_comm: [7, 8], ..TaskStorage::default() };
        let glance = Glance {
            state: SLEEPING,
            exit_state: 0,
            voluntary_switches: 3,
            involuntary_switches: 4,
            runs: 5,
            comm: [7, 8],
        };
        (glance, storage)
    }

    #[test]
    fn a_thread_that_slept_on_is_as_sent_and_each_change_is_seen() {
        let (same, storage) = sent();
        assert!(is_as_sent(same, &storage));
        for changed in [
            Glance { state: 2, ..same },
            Glance { exit_state: 16, ..same },
            Glance { voluntary_switches: 2, ..same },
            Glance { involuntary_switches: 5, ..same },
            Glance { runs: 6, ..same },
            Glance { comm: [0, 8], ..same },
            Glance { comm: [7, 0], ..same },
        ] {
            assert!(!is_as_sent(changed, &storage), "{changed:?}");
        }
    }

    #[test]
    fn a_running_thread_is_always_sent_and_so_is_one_that_no_scan_has_written() {
        let (glance, storage) = sent();
        let running = Glance { state: 0, ..glance };
        assert!(!is_as_sent(running, &TaskStorage { sent_state: 0, ..storage }));
        assert!(!is_as_sent(glance, &TaskStorage::default()));
    }
}
