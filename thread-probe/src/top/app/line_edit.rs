//! A filter that is being typed.

use crate::top::filter::Filter;

/// A filter, typed at its end.
#[derive(Clone, Debug, Default)]
pub struct LineEdit {
    /// What was typed so far.
    pub text: String,
    /// What is wrong with it, if something is.
    pub error: Option<String>,
    /// The filter that was in force before, and is while what is typed is none.
    pub before: Filter,
}

impl LineEdit {
    /// Goes on with the filter in force.
    pub fn new(before: &Filter) -> Self {
        Self { text: before.text().to_owned(), error: None, before: before.clone() }
    }

    /// Adds a character.
    pub fn insert(&mut self, c: char) {
        /// Longer than any filter, and shorter than what a mistaken paste fills memory with.
        const MAX_CHARS: usize = 200;
        if !c.is_control() && self.text.chars().count() < MAX_CHARS {
            self.text.push(c);
        }
    }

    /// Removes the last character.
    pub fn backspace(&mut self) {
        self.text.pop();
    }

    /// Removes the last word, as a shell does.
    pub fn delete_word(&mut self) {
        let trimmed = self.text.trim_end();
        let end = trimmed.rfind(char::is_whitespace).map_or(0, |blank| blank + 1);
        self.text.truncate(end);
    }

    /// Removes all.
    pub fn clear(&mut self) {
        self.text.clear();
    }
}
