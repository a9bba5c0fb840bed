//! Against real servers: Debian's Prometheus and Alertmanager. They need root, too; what is missing is said.

#[macro_use]
#[allow(dead_code, unused_macros, reason = "each test program uses a part of it")]
mod support;

mod servers {
    pub(crate) mod alertmanager;
    pub(crate) mod prometheus;
}

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::Result;
use libtest_mimic::{Arguments, Trial};

use crate::servers::{alertmanager, prometheus};

type Test = fn() -> Result<()>;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() == Some(prometheus::workload::ROLE) {
        let outcome = prometheus::workload::play(&args.next().unwrap_or_default());
        let _ = writeln!(io::stderr(), "workload: {outcome:?}");
        return ExitCode::FAILURE;
    }
    let mut arguments = Arguments::from_args();
    // Each has daemons that watch the whole host.
    arguments.test_threads = Some(1);
    let tests: [(&str, Test); 2] = [
        (
            "an_alertmanager_that_comes_up_late_sees_what_fires_and_that_it_is_resolved",
            alertmanager::an_alertmanager_that_comes_up_late_sees_what_fires_and_that_it_is_resolved,
        ),
        (
            "every_expression_has_an_answer_and_quantiles_agree_with_the_api",
            prometheus::every_expression_has_an_answer_and_quantiles_agree_with_the_api,
        ),
    ];
    let trial =
        |(name, test): (&str, Test)| Trial::test(name, move || test().map_err(|error| format!("{error:#}").into()));
    libtest_mimic::run(&arguments, tests.map(trial).into()).exit_code()
}
