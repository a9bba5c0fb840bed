//! What tests of several kinds need.

pub(crate) mod cgroup;
pub(crate) mod daemon;
pub(crate) mod dashboard;
pub(crate) mod terminal;

/// Ends a test, and says so, where there is no root.
macro_rules! needs_root {
    () => {
        if !nix::unistd::geteuid().is_root() {
            $crate::support::skip("loading eBPF programs needs root");
            return Ok(());
        }
    };
}

use std::{
    io::{self, Write as _},
    thread,
};

/// Says that this test is skipped. Not by println, which the harness swallows when a test passes.
pub(crate) fn skip(reason: &str) {
    let test = thread::current();
    let _ = writeln!(io::stderr(), "*** SKIPPED: {}: {reason}", test.name().unwrap_or("a test"));
}
