//! What is on the screen, what is in front of it, and what a key asks for.

use super::{column_menu::ColumnMenu, line_edit::LineEdit, moment_edit::MomentEdit};
use crate::top::feed::{Request, Travel};

/// What is on the screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum View {
    /// All processes.
    #[default]
    Processes,
    /// One process with its threads.
    Process,
    /// All limits.
    Limits,
    /// All alerts.
    Alerts,
}

impl View {
    /// Those that Tab goes through.
    pub const TABS: [Self; 3] = [Self::Processes, Self::Limits, Self::Alerts];

    /// Its name.
    pub fn title(self) -> &'static str {
        match self {
            Self::Processes => "Processes",
            Self::Process => "Threads",
            Self::Limits => "Limits",
            Self::Alerts => "Alerts",
        }
    }
}

/// What is in front of the view.
#[derive(Debug, Default)]
pub enum Overlay {
    /// Nothing.
    #[default]
    None,
    /// What the keys do.
    Help {
        /// Lines scrolled down.
        scroll: u16,
    },
    /// What to change.
    Advice {
        /// Lines scrolled down.
        scroll: u16,
    },
    /// The choice of columns.
    Columns(ColumnMenu),
    /// The filter, being typed.
    Filter(LineEdit),
    /// A moment in a recording, being typed.
    Moment(MomentEdit),
}

/// What a key asks of who has a terminal, a feed and files.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Nothing but to draw.
    None,
    /// Other samples.
    Request(Request),
    /// To go elsewhere in a recording.
    Travel(Travel),
    /// To write this JSON to a file, and tell [`App::say`] how it went.
    Export(String),
    /// To stop until the shell brings it back.
    Suspend,
    /// To end.
    Quit,
}
