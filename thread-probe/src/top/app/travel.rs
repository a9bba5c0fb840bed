//! What keys do in a recording.

use super::{Action, App, Key, MomentEdit, Overlay};
use crate::top::feed::{Direction, Moment, Travel};

impl App {
    /// Where a key leads in a recording; `None` of one that does what it does elsewhere.
    pub(super) fn on_replay_key(&mut self, key: Key) -> Option<Action> {
        if self.timeline.is_empty() {
            return None;
        }
        let travel = match key {
            Key::Left => Travel::Samples(-1),
            Key::Right => Travel::Samples(1),
            Key::Char('{') => Travel::Samples(-10),
            Key::Char('}') => Travel::Samples(10),
            Key::Char('[') => Travel::Seconds(-60.0),
            Key::Char(']') => Travel::Seconds(60.0),
            Key::Char('n') => Travel::Alert(Direction::Next),
            Key::Char('N') => Travel::Alert(Direction::Previous),
            Key::Char('x') => Travel::Loss(Direction::Next),
            Key::Char('X') => Travel::Loss(Direction::Previous),
            Key::Char(':') => {
                self.overlay = Overlay::Moment(MomentEdit::default());
                return Some(Action::None);
            }
            Key::Char(' ' | '+' | '=' | '-') => {
                self.say(
                    "a recording: ← → step, { } by ten, [ ] a minute, : to a time, n to an alert, x to a loss".into(),
                );
                return Some(Action::None);
            }
            _ => return None,
        };
        Some(Action::Travel(travel))
    }

    pub(super) fn on_moment_key(&mut self, key: Key, mut edit: MomentEdit) -> Action {
        /// Longer than any date.
        const MAX_CHARS: usize = 40;
        match key {
            Key::Esc => return Action::None,
            Key::Enter => match Moment::parse(edit.text.trim()) {
                Ok(moment) => return Action::Travel(Travel::To(moment)),
                Err(error) => edit.error = Some(error),
            },
            Key::Char(c) if edit.text.len() < MAX_CHARS => edit.text.push(c),
            Key::Backspace => {
                edit.text.pop();
            }
            Key::Ctrl('u') => edit.text.clear(),
            _ => {}
        }
        self.overlay = Overlay::Moment(edit);
        Action::None
    }
}
