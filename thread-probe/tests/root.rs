//! The commands as their users run them. What loads programs needs root; without, it is skipped and says so.

#[macro_use]
#[allow(dead_code, unused_macros, reason = "each test program uses a part of it")]
mod support;

mod root {
    mod advise;
    mod batch;
    mod clients;
    mod containers;
    mod doctor;
    mod feed;
    mod inspect;
    mod plan;
    mod record;
    mod serve;
    mod service;
    mod web_config;
}
