//! Keys and what a mouse does, whatever the terminal.

/// A key that was pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// A character.
    Char(char),
    /// A character with Ctrl.
    Ctrl(char),
    /// A function key.
    F(u8),
    /// Enter.
    Enter,
    /// Escape.
    Esc,
    /// Tab.
    Tab,
    /// Shift and Tab.
    BackTab,
    /// The arrow upwards.
    Up,
    /// The arrow downwards.
    Down,
    /// The arrow to the left.
    Left,
    /// The arrow to the right.
    Right,
    /// A page up.
    PageUp,
    /// A page down.
    PageDown,
    /// To the begin.
    Home,
    /// To the end.
    End,
    /// Backspace.
    Backspace,
    /// The wheel of a mouse, upwards.
    WheelUp,
    /// The wheel of a mouse, downwards.
    WheelDown,
    /// The left button of a mouse, in that column and row of the screen, both from 0.
    Click(u16, u16),
}
