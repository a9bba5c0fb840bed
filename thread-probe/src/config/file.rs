//! Reading the file.

use std::{
    fs::OpenOptions,
    io::{self, Read as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use nix::libc::O_NONBLOCK;
use thiserror::Error;
use toml::de::DeTable;

use super::{
    Config,
    keys::{KEYS, split},
    rules,
    toml_value::{self, Fault, in_order, unknown_key},
};

const MAX_BYTES: u64 = 1 << 20;

/// Why a file is no configuration.
#[derive(Debug, Error)]
pub enum FileError {
    /// It can't be read.
    #[error("reading {} failed: {error}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It is a directory, a pipe or a device: reading could take for ever.
    #[error("{} is not a regular file", .0.display())]
    NotRegular(PathBuf),
    /// Nobody writes a configuration that large.
    #[error("{} is larger than 1 MB: that is no configuration of thread-probe", .0.display())]
    TooLarge(PathBuf),
    /// What is in it is wrong.
    #[error("{}", each_with_its_place(path, mistakes))]
    Content {
        /// Which.
        path: PathBuf,
        /// What, in the order of their places.
        mistakes: Vec<Mistake>,
    },
}

/// A line each.
fn each_with_its_place(path: &Path, mistakes: &[Mistake]) -> String {
    mistakes.iter().map(|mistake| format!("{}:{mistake}", path.display())).collect::<Vec<_>>().join("\n")
}

/// What is wrong in a file, and where.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{line}:{column}: {message}")]
pub struct Mistake {
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// What is wrong and what is allowed, in one line.
    pub message: String,
}

impl Mistake {
    pub(crate) fn new(content: &[u8], at: usize, message: &str) -> Self {
        let before = &content[..at.min(content.len())];
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        Self {
            line: before.iter().filter(|byte| **byte == b'\n').count() + 1,
            column: String::from_utf8_lossy(&before[line_start..]).chars().count() + 1,
            message: message.replace(char::is_control, " "),
        }
    }
}

/// The configuration in a file.
///
/// # Errors
/// It can't be read, or what is in it is wrong.
pub fn read(path: &Path) -> Result<Config, FileError> {
    parse(&content(path)?).map_err(|mistakes| FileError::Content { path: path.to_owned(), mistakes })
}

/// What is in a file, if it is one that may be a configuration.
pub(crate) fn content(path: &Path) -> Result<Vec<u8>, FileError> {
    content_and_mode(path).map(|(content, _)| content)
}

/// The same, and who may do what with the file.
pub(crate) fn content_and_mode(path: &Path) -> Result<(Vec<u8>, u32), FileError> {
    let failed = |error| FileError::Read { path: path.to_owned(), error };
    // Opening a pipe would wait for its other end.
    let file = OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(FileError::NotRegular(path.to_owned()));
    }
    let mut content = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut content).map_err(failed)?;
    if content.len() as u64 > MAX_BYTES {
        return Err(FileError::TooLarge(path.to_owned()));
    }
    Ok((content, metadata.permissions().mode() & 0o7777))
}

/// The configuration in the content of a file.
///
/// # Errors
/// All mistakes in it; of one that is no TOML the first.
pub fn parse(content: &[u8]) -> Result<Config, Vec<Mistake>> {
    let text = str::from_utf8(content)
        .map_err(|error| vec![Mistake::new(content, error.valid_up_to(), "not text: the file must be UTF-8")])?;
    let table = DeTable::parse(text)
        .map_err(|error| vec![Mistake::new(content, error.span().map_or(0, |span| span.start), error.message())])?;
    let mut config = Config::default();
    let mut faults = Vec::new();
    read_section(&mut config, "", table.get_ref(), &mut faults);
    if faults.is_empty() {
        return Ok(config);
    }
    faults.sort_by_key(|fault| fault.span.start);
    Err(faults.iter().map(|fault| Mistake::new(content, fault.span.start, &fault.message)).collect())
}

/// Reads a table and those in it; `section` is its path, empty for the file as a whole.
fn read_section(config: &mut Config, section: &str, table: &DeTable<'_>, faults: &mut Vec<Fault>) {
    for (name, given) in in_order(table) {
        let text = name.get_ref().as_ref();
        let path = [section, text].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(".");
        if section == rules::SECTION {
            rules::read(&mut config.alerts.rules, name, given, faults);
        } else if let Some(key) = KEYS.iter().find(|key| split(key.path) == (section, text)) {
            faults.extend((key.set)(config, given).map_err(|fault| fault.of(&path)).err());
        } else if names_in(section).any(|known| known == text) {
            match toml_value::table(given, "a table of keys") {
                Ok(table) => read_section(config, &path, table, faults),
                Err(fault) => faults.push(fault.of(&path)),
            }
        } else {
            faults.push(unknown_key(name, section, names_in(section)));
        }
    }
}

/// What may stand in a section: keys and the sections in it, each once.
fn names_in(section: &str) -> impl Iterator<Item = &'static str> {
    let paths = KEYS.iter().map(|key| key.path).chain([rules::SECTION]);
    let below = paths.filter_map(move |path| match section {
        "" => Some(path),
        _ => path.strip_prefix(section)?.strip_prefix('.'),
    });
    let mut last = "";
    below.filter_map(move |path| {
        let name = path.split('.').next().unwrap_or(path);
        (std::mem::replace(&mut last, name) != name).then_some(name)
    })
}
