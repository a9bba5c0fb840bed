//! What needs a real terminal, and root: skipped, and said, where there is no tmux.

#[macro_use]
#[allow(dead_code, unused_macros, reason = "each test program uses a part of it")]
mod support;

mod terminal {
    mod top;
}
