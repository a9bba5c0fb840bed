//! A moment in a recording that is being typed.

/// A moment that is being typed.
#[derive(Clone, Debug, Default)]
pub struct MomentEdit {
    /// What was typed so far.
    pub text: String,
    /// What is wrong with it, if something is.
    pub error: Option<String>,
}
