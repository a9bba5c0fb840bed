//! What can be tested without a privilege: the source, the files that are shipped, what is kept. A tool that is missing
//! is said.

#[macro_use]
#[allow(dead_code, unused_macros, reason = "each test program uses a part of it")]
mod support;

mod nothing {
    mod bench;
    mod dashboards;
    mod deploy;
    mod documents;
    mod keep;
    mod order;
    mod unit;
}
