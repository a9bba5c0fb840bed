//! Who watches while it is measured.

use super::report::{Figure, Part};

/// Who is told what is going on, and may end it.
pub trait Observer {
    /// Something is measured from now on.
    fn begins(&mut self, part: Part, what: &str);

    /// A figure is there.
    fn has(&mut self, figure: &Figure);

    /// Whether to go on: what was measured until then is kept.
    fn goes_on(&mut self) -> bool;
}
