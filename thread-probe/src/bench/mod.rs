//! What threads cost on this host, measured by making some.
//!
//! Each figure is repeated until it is steady, divided by what the kernel counted, and refused where something else
//! made it worthless.

mod create;
mod kept;
mod memory;
mod observer;
mod pass;
mod place;
mod repeat;
mod report;
mod scale;
mod shared;
mod switch;
mod switch_cost;

use std::io;

pub use kept::{keep, read, save};
pub use observer::Observer;
pub use pass::Via;
pub use report::{Change, Changed, Figure, Host, Part, Report, compare};
pub use scale::Load;
pub use switch_cost::SwitchCost;

/// Measures some parts, in the order of their declaration. [`Part::Memory`] asks for a process of one thread.
///
/// # Errors
/// This process may not do what is measured at all, such as have a thread pinned to a CPU.
pub fn run(parts: &[Part], observer: &mut dyn Observer) -> io::Result<Report> {
    let mut figures = Vec::new();
    // What one takes of memory comes first: it asks for a process that had no threads yet.
    for part in Part::ALL.into_iter().filter(|part| parts.contains(part)) {
        figures.extend(match part {
            Part::Memory => memory::measure(observer)?,
            Part::Create => create::measure(observer)?,
            Part::Switch => switch::measure(observer)?,
            Part::Scale => scale::measure(observer)?,
        });
    }
    Ok(Report { host: Host::read()?, figures })
}
