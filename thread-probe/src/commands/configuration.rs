//! The options that stand for keys of the file, made from the table of keys; and the configuration that file and options
//! give.

use std::{fmt, marker::PhantomData, path::PathBuf};

use clap::{
    Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches, builder::PossibleValuesParser, error::ErrorKind,
};
use toml::Value;

use crate::config::{
    Config, FileError,
    keys::{KEYS, Key, KeyOption},
    read,
    read::Shape,
};

/// The keys that a command has options for.
pub trait Keys: Clone + Send + Sync + 'static {
    /// Whether it has one for the key with this path.
    fn has(path: &str) -> bool;
}

/// All keys that have an option.
#[derive(Clone, Copy, Debug)]
pub struct AllKeys;

impl Keys for AllKeys {
    fn has(_: &str) -> bool {
        true
    }
}

/// Those of who loads the programs.
#[derive(Clone, Copy, Debug)]
pub struct ProbeKeys;

impl Keys for ProbeKeys {
    fn has(path: &str) -> bool {
        matches!(path, "probe.user" | "probe.clone_probe")
    }
}

/// The same, and what makes a group.
#[derive(Clone, Copy, Debug)]
pub struct ProbeAndGroupKeys;

impl Keys for ProbeAndGroupKeys {
    fn has(path: &str) -> bool {
        ProbeKeys::has(path) || path == "groups.by"
    }
}

/// The same, and how often.
#[derive(Clone, Copy, Debug)]
pub struct RecordKeys;

impl Keys for RecordKeys {
    fn has(path: &str) -> bool {
        ProbeAndGroupKeys::has(path) || path == "interval"
    }
}

/// The file, and options that win over it.
#[derive(Clone, Debug, Args)]
pub struct Configuration<K: Keys> {
    /// What was given of the keys.
    #[command(flatten)]
    given: Given<K>,
    /// The configuration file; options on the command line win over it
    #[arg(long = "config", value_name = "FILE")]
    pub config_file: Option<PathBuf>,
}

impl<K: Keys> Configuration<K> {
    /// What file and options give, on top of the defaults.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn read(&self) -> Result<Config, FileError> {
        let mut config = self.config_file.as_deref().map(read).transpose()?.unwrap_or_default();
        self.given.keys.iter().for_each(|key| (key.copy)(&mut config, &self.given.config));
        Ok(config)
    }
}

/// What the command line gives: the keys, and a configuration that has their values.
#[derive(Clone)]
struct Given<K> {
    keys: Vec<&'static Key>,
    config: Config,
    of: PhantomData<K>,
}

impl<K> fmt::Debug for Given<K> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_map().entries(self.keys.iter().map(|key| (key.path, (key.get)(&self.config)))).finish()
    }
}

impl<K: Keys> Given<K> {
    fn options() -> impl Iterator<Item = (&'static Key, &'static KeyOption)> {
        KEYS.iter().filter(|key| K::has(key.path)).filter_map(|key| Some((key, key.option.as_ref()?)))
    }
}

impl<K: Keys> FromArgMatches for Given<K> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let mut given = Self { keys: Vec::new(), config: Config::default(), of: PhantomData };
        for (key, option) in Self::options() {
            if let Some(texts) = matches.get_many::<String>(option.long) {
                let texts: Vec<&str> = texts.map(String::as_str).collect();
                let wrong = |error| Error::raw(ErrorKind::ValueValidation, format!("--{}: {error}", option.long));
                (option.set)(&mut given.config, &texts).map_err(wrong)?;
                given.keys.push(key);
            }
        }
        Ok(given)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl<K: Keys> Args for Given<K> {
    fn augment_args(command: Command) -> Command {
        Self::options().fold(command, |command, (key, option)| command.arg(argument(key, option)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

fn argument(key: &Key, option: &'static KeyOption) -> Arg {
    let default = match (key.get)(&Config::default()) {
        Value::String(text) => text,
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    };
    let help =
        if default.is_empty() { option.help.to_owned() } else { format!("{} [default: {default}]", option.help) };
    let argument = Arg::new(option.long).long(option.long).value_name(option.value_name).help(help);
    let reads = move |text: &str| (option.set)(&mut Config::default(), &[text]).map(|()| text.to_owned());
    match (option.shape)() {
        Shape::Text => argument.value_parser(reads),
        Shape::List => argument.value_parser(reads).action(ArgAction::Append),
        Shape::Choice(values) => argument.value_parser(PossibleValuesParser::new(values)),
        Shape::Switch => {
            let argument = argument.num_args(0..=1).require_equals(true).default_missing_value("true");
            argument.value_parser(PossibleValuesParser::new(["true", "false"]))
        }
    }
}
