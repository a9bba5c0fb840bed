//! Where threads' time goes, in words.

use std::fmt::Write as _;

use thread_probe_ebpf::abi::time::TimeState;

/// What threads in a state do, in a few words.
pub fn what(state: TimeState) -> &'static str {
    match state {
        TimeState::Running => "on a CPU: the kernel's sum_exec_runtime",
        TimeState::WaitWakeup => "woken up, and waiting for a CPU",
        TimeState::WaitPreempted => "waiting for a CPU as something else was to run, or as the thread yielded",
        TimeState::Throttled => "waiting for a CPU as the quota of its cgroup, or of one above, is used up",
        TimeState::Io => "sleeping until a disk has done its part (in_iowait)",
        TimeState::Uninterruptible => "sleeping uninterruptibly and not for a disk: a lock in the kernel, NFS, memory",
        TimeState::Lock => "in futex, flock or semop: a mutex, a condition variable, a join",
        TimeState::Poll => "in epoll_wait, poll, select, io_uring_enter: until one of several things happens",
        TimeState::Sleep => "in nanosleep, pause, sigtimedwait: until a time, or a signal",
        TimeState::File => "in a call on a file or pipe, such as read; also read and write on a socket",
        TimeState::Network => "in a call on a socket, such as accept and recvmsg",
        TimeState::Child => "in wait4 or waitid, or in vfork until the child executes",
        TimeState::Fault => "sleeping outside of a system call: a page fault, mostly",
        TimeState::Stopped => "stopped, traced or frozen",
        TimeState::Other => "sleeping in another system call, or a thread of the kernel without work",
        TimeState::Unaccounted => "interrupts, and time that a hypervisor took",
    }
}

/// The table of docs/metrics.md.
pub fn markdown() -> String {
    let mut table = "| state | what its threads do |\n|---|---|\n".to_owned();
    for state in TimeState::ALL {
        // Writing to a String never fails.
        let _ = writeln!(table, "| `{}` | {} |", state.label(), what(state));
    }
    table
}
