//! The columns of where the time goes: each state's share of the wall clock of a row's threads.

use thread_probe_ebpf::abi::time::TimeState;

use super::{Column, Rated, Value};

/// The share of a state, among what all states had.
fn share<T: Rated>(row: &T, state: TimeState) -> Value<'_> {
    let times = row.rates().map(|rates| &rates.time_ratio);
    // Without a ledger of time nothing is known.
    let share = |all: f64, of: f64| (all > 0.0).then_some(of / all);
    Value::Ratio(times.and_then(|times| share(times.total(), times.get(state))))
}

macro_rules! shares {
    ($($state:ident $id:literal $title:literal $help:literal;)+) => {
        /// All of them; they are for who asks.
        pub(super) const fn time_columns<T: Rated>() -> [Column<T>; TimeState::ALL.len()] {
            [$(Column::new(
                ($id, $title, 6),
                9,
                |row| share(row, TimeState::$state),
                concat!("Of its threads' time, the share ", $help),
            )
            .hidden()),+]
        }
    };
}

shares! {
    Running "time_running_ratio" "RUN%" "on a CPU";
    WaitWakeup "time_wait_wakeup_ratio" "WAKE%" "waiting for a CPU after a wake-up";
    WaitPreempted "time_wait_preempted_ratio" "PREEM%" "waiting for a CPU as something else was to run";
    Throttled "time_throttled_ratio" "THROT%" "waiting for a CPU as a quota of its cgroup, or of one above, was used up";
    Io "time_io_ratio" "IO%" "sleeping for a disk";
    Uninterruptible "time_uninterruptible_ratio" "D%" "sleeping uninterruptibly and not for a disk";
    Lock "time_lock_ratio" "LOCK%" "in futex and the like: a mutex, a condition variable";
    Poll "time_poll_ratio" "POLL%" "in epoll_wait, poll, select";
    Sleep "time_sleep_ratio" "SLEEP%" "until a time or a signal";
    File "time_file_ratio" "FILE%" "in read, write and other calls on a file or pipe";
    Network "time_network_ratio" "NET%" "in calls on a socket";
    Child "time_child_ratio" "WAIT4%" "waiting for a child";
    Fault "time_fault_ratio" "FAULT%" "sleeping outside of a system call, for a page mostly";
    Stopped "time_stopped_ratio" "STOP%" "stopped, traced or frozen";
    Other "time_other_ratio" "OTHER%" "sleeping in another system call, or as a kernel thread without work";
    Unaccounted "time_unaccounted_ratio" "LOSS%" "that went to interrupts, or was taken by a hypervisor";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Process, Rates, Times},
        top::columns::process_columns,
    };

    #[test]
    fn no_two_columns_have_one_heading() {
        let mut titles: Vec<_> = process_columns().iter().map(|column| column.title).collect();
        titles.sort_unstable();
        assert!(titles.windows(2).all(|pair| pair[0] != pair[1]), "{titles:?}");
    }

    #[test]
    fn shares_add_up_to_all_of_the_time_and_are_none_without_a_ledger() {
        let times = [(TimeState::Running, 0.5), (TimeState::Poll, 2.5), (TimeState::Throttled, 1.0)];
        let rates = Rates { time_ratio: Times::of(times), ..Rates::default() };
        let process = Process { rates: Some(rates), ..Process::default() };
        let of = |process: &Process| {
            let shares = process_columns().iter().filter(|column| column.id.starts_with("time_"));
            shares.map(|column| (column.value)(process).number()).collect::<Option<Vec<f64>>>()
        };
        let shares = of(&process).unwrap_or_default();
        assert_eq!((shares.len(), shares.iter().sum::<f64>()), (TimeState::ALL.len(), 1.0));
        assert_eq!((shares[0], shares[3], shares[7]), (0.125, 0.25, 0.625));
        assert_eq!(of(&Process { rates: Some(Rates::default()), ..Process::default() }), None);
    }
}
