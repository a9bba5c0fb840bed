//! How a key's value is read, from the file and from the command line: one reader for both.

use std::{collections::BTreeMap, marker::PhantomData, net::SocketAddr, path::PathBuf};

use clap::{ValueEnum, builder::PossibleValue};

use super::{
    toml_value::{self, Fault, Given},
    value,
};

/// Reads a value of this type.
pub(super) trait Read<T> {
    /// From the file.
    fn file(&self, given: &Given<'_>) -> Result<T, Fault>;

    /// From the command line, where an option may be given more than once.
    fn command_line(&self, texts: &[&str]) -> Result<T, String>;
}

/// What an option looks like.
#[derive(Clone)]
pub(crate) enum Shape {
    /// It takes a text.
    Text,
    /// It may be given more than once.
    List,
    /// It is a switch that may be turned off.
    Switch,
    /// It takes one of these.
    Choice(Vec<PossibleValue>),
}

/// What has such a look.
pub(super) trait Shaped {
    /// That look.
    fn shape(&self) -> Shape {
        Shape::Text
    }
}

/// The last one wins.
fn last<'a>(texts: &[&'a str]) -> &'a str {
    texts.last().copied().unwrap_or_default()
}

/// A text, read by a function; in the file a string that is said to be this.
pub(super) struct Text<F>(pub(super) &'static str, pub(super) F);

/// A string of no special kind.
pub(super) const STRING: &str = "a string";
/// A duration.
pub(super) const DURATION: &str = "a duration in quotes, as in \"500ms\", \"5s\" or \"10m\"";

/// A size.
pub(super) const BYTES: &str = "a size in quotes, as in \"512M\" or \"2G\"";

impl<T, F: Fn(&str) -> Result<T, String>> Read<T> for Text<F> {
    fn file(&self, given: &Given<'_>) -> Result<T, Fault> {
        toml_value::text(given, self.0, &self.1)
    }

    fn command_line(&self, texts: &[&str]) -> Result<T, String> {
        (self.1)(last(texts))
    }
}

impl<F> Shaped for Text<F> {}

/// A whole number.
pub(super) struct Integer<F>(pub(super) F);

impl<T, F: Fn(i64) -> Result<T, String>> Read<T> for Integer<F> {
    fn file(&self, given: &Given<'_>) -> Result<T, Fault> {
        toml_value::integer(given, &self.0)
    }

    fn command_line(&self, texts: &[&str]) -> Result<T, String> {
        // What is no number is out of any range, which the error names.
        (self.0)(last(texts).parse().unwrap_or(i64::MIN))
    }
}

impl<F> Shaped for Integer<F> {}

/// True or false.
pub(super) struct Switch;

impl Read<bool> for Switch {
    fn file(&self, given: &Given<'_>) -> Result<bool, Fault> {
        toml_value::boolean(given)
    }

    fn command_line(&self, texts: &[&str]) -> Result<bool, String> {
        last(texts).parse().map_err(|_| "must be true or false".to_owned())
    }
}

impl Shaped for Switch {
    fn shape(&self) -> Shape {
        Shape::Switch
    }
}

/// One of the values of an enum.
pub(super) struct Choice<T>(PhantomData<T>);

impl<T> Choice<T> {
    pub(super) const ANY: Self = Self(PhantomData);
}

impl<T: ValueEnum> Read<T> for Choice<T> {
    fn file(&self, given: &Given<'_>) -> Result<T, Fault> {
        toml_value::text(given, STRING, value::choice)
    }

    fn command_line(&self, texts: &[&str]) -> Result<T, String> {
        value::choice(last(texts))
    }
}

impl<T: ValueEnum> Shaped for Choice<T> {
    fn shape(&self) -> Shape {
        Shape::Choice(T::value_variants().iter().filter_map(ValueEnum::to_possible_value).collect())
    }
}

/// A list, each item read by a function.
pub(super) struct List<F>(pub(super) F);

impl<T, F: Fn(&str) -> Result<T, String>> Read<Vec<T>> for List<F> {
    fn file(&self, given: &Given<'_>) -> Result<Vec<T>, Fault> {
        toml_value::list(given, &self.0)
    }

    fn command_line(&self, texts: &[&str]) -> Result<Vec<T>, String> {
        texts.iter().copied().map(&self.0).collect()
    }
}

impl<F> Shaped for List<F> {
    fn shape(&self) -> Shape {
        Shape::List
    }
}

/// Addresses to listen on, of which there must be one.
pub(super) struct Addresses;

impl Read<Vec<SocketAddr>> for Addresses {
    fn file(&self, given: &Given<'_>) -> Result<Vec<SocketAddr>, Fault> {
        let addresses = toml_value::list(given, value::address)?;
        if addresses.is_empty() {
            return Err(Fault::new("must have at least one address, as in [\"127.0.0.1:10420\"]", given.span()));
        }
        Ok(addresses)
    }

    fn command_line(&self, texts: &[&str]) -> Result<Vec<SocketAddr>, String> {
        List(value::address).command_line(texts)
    }
}

impl Shaped for Addresses {
    fn shape(&self) -> Shape {
        Shape::List
    }
}

/// The path of a file, or none if it is empty. In the file it can't depend on the folder that the daemon is started in.
pub(super) struct FilePath;

impl Read<Option<PathBuf>> for FilePath {
    fn file(&self, given: &Given<'_>) -> Result<Option<PathBuf>, Fault> {
        toml_value::text(given, STRING, value::path).map(value::some_path)
    }

    fn command_line(&self, texts: &[&str]) -> Result<Option<PathBuf>, String> {
        Ok(value::some_path(last(texts).into()))
    }
}

impl Shaped for FilePath {}

/// Labels, which no option gives.
pub(super) struct Labels;

impl Read<BTreeMap<String, String>> for Labels {
    fn file(&self, given: &Given<'_>) -> Result<BTreeMap<String, String>, Fault> {
        toml_value::labels(given)
    }

    fn command_line(&self, _: &[&str]) -> Result<BTreeMap<String, String>, String> {
        Err("must be given in the file".to_owned())
    }
}

impl Shaped for Labels {}
