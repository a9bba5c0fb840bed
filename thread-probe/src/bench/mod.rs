//! What threads cost on this host, measured by making some.
//!
//! Each figure is repeated until it is steady, divided by what the kernel counted, and refused where something else
//! made it worthless.

mod create;
mod kept;
mod observer;
mod pass;
mod place;
mod repeat;
mod report;
mod shared;
mod switch;

use std::io;

pub use kept::{keep, read, save, switch_cost};
pub use observer::Observer;
pub use pass::Via;
pub use report::{Change, Changed, Figure, Host, Part, Report, compare};

/// Measures some parts, in order.
///
/// # Errors
/// This process may not do what is measured at all, such as have a thread pinned to a CPU.
pub fn run(parts: &[Part], observer: &mut dyn Observer) -> io::Result<Report> {
    let mut figures = Vec::new();
    for part in parts {
        figures.extend(match part {
            Part::Create => create::measure(observer)?,
            Part::Switch => switch::measure(observer)?,
        });
    }
    Ok(Report { host: Host::read()?, figures })
}
