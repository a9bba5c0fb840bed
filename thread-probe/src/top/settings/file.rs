//! The file that keeps the settings.

use std::{
    env,
    ffi::OsString,
    fs::DirBuilder,
    io::{self, Write as _},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use tempfile::NamedTempFile;

use super::Settings;
use crate::config::file::{FileError, content};

/// The file.
#[derive(Debug)]
pub struct StateFile {
    path: PathBuf,
}

/// The settings of the run before, or the defaults; the file to keep them in, if there is a place for it; and what is
/// wrong with it. One that is wrong is left as it is.
pub fn load() -> (Settings, Option<StateFile>, Option<String>) {
    let path = path(env::var_os("XDG_STATE_HOME"), env::var_os("HOME"));
    path.map_or_else(Default::default, load_from)
}

fn path(state_home: Option<OsString>, home: Option<OsString>) -> Option<PathBuf> {
    // A relative one is to be ignored, says the XDG specification.
    let absolute = |folder: Option<OsString>| folder.map(PathBuf::from).filter(|folder| folder.is_absolute());
    let folder = absolute(state_home).or_else(|| absolute(home).map(|home| home.join(".local/state")))?;
    Some(folder.join("thread-probe/top.toml"))
}

fn load_from(path: PathBuf) -> (Settings, Option<StateFile>, Option<String>) {
    match read_settings(&path) {
        Ok(kept) => (kept.unwrap_or_default(), Some(StateFile { path }), None),
        Err(error) => (Settings::default(), None, Some(format!("{error}; {LEFT}"))),
    }
}

/// What becomes of a file that is wrong.
const LEFT: &str = "it is left as it is, and nothing is kept, until it is mended or removed";

/// The settings in a file; `None` without one.
fn read_settings(path: &Path) -> Result<Option<Settings>, String> {
    let content = match content(path) {
        Err(FileError::Read { error, .. }) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        content => content.map_err(|error| error.to_string())?,
    };
    let text = String::from_utf8(content).map_err(|_| format!("{}: not text", path.display()))?;
    Settings::from_toml(&text).map(Some).map_err(|mistake| format!("{}:{mistake}", path.display()))
}

impl StateFile {
    /// Keeps what changed from the start of a run to its end, if anything did.
    ///
    /// # Errors
    /// The file can't be written, or is meanwhile one that can't be read by this version or by this user: it is left as
    /// it is.
    pub fn save(&self, start: &Settings, end: &Settings) -> Result<()> {
        if end == start {
            return Ok(());
        }
        // Another view, or another version, may have written it since it was read.
        let kept = match read_settings(&self.path) {
            Ok(kept) => kept.unwrap_or_default(),
            Err(error) => bail!("the settings are not kept: {error}"),
        };
        self.replace(&end.changed_since(start, kept).to_toml())
            .with_context(|| format!("keeping the settings in {} failed", self.path.display()))
    }

    /// Whoever reads it meanwhile sees the old one or the new one, whole.
    fn replace(&self, text: &str) -> io::Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let mut file = NamedTempFile::new_in(folder)?;
        file.write_all(text.as_bytes())?;
        file.persist(&self.path)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use super::*;

    fn changed() -> Settings {
        Settings { only_changed: false, ..Settings::default() }
    }

    #[test]
    fn the_file_is_in_the_state_folder_of_the_user_or_nowhere() {
        let path = |state: Option<&str>, home: Option<&str>| path(state.map(Into::into), home.map(Into::into));
        let of = |text: &str| Some(PathBuf::from(text));
        assert_eq!(path(Some("/s"), Some("/h")), of("/s/thread-probe/top.toml"));
        assert_eq!(path(None, Some("/h")), of("/h/.local/state/thread-probe/top.toml"));
        assert_eq!(path(Some("relative"), Some("/h")), of("/h/.local/state/thread-probe/top.toml"));
        assert_eq!(path(Some(""), Some("")), None);
        assert_eq!(path(None, None), None);
    }

    #[test]
    fn what_is_kept_is_there_in_the_next_run_and_no_other_file_besides() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("a/b/top.toml");
        let (settings, file, warning) = load_from(path.clone());
        assert_eq!((&settings, warning), (&Settings::default(), None));
        let file = file.context("no file to keep them in")?;
        file.save(&settings, &settings)?;
        assert!(!path.exists(), "written though nothing has changed");
        file.save(&settings, &changed())?;
        let (settings, _, warning) = load_from(path.clone());
        assert_eq!((settings, warning), (changed(), None));
        assert_eq!(fs::read_dir(folder.path().join("a/b"))?.count(), 1);
        Ok(())
    }

    #[test]
    fn what_another_view_kept_meanwhile_stays() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("top.toml");
        let [one, other] = [path.clone(), path.clone()].map(|path| load_from(path).1);
        let start = Settings::default();
        let slow = Settings { interval: Duration::from_secs(7), ..Settings::default() };
        one.context("no file to keep them in")?.save(&start, &slow)?;
        other.context("no file to keep them in")?.save(&start, &changed())?;
        assert_eq!(load_from(path).0, Settings { only_changed: false, ..slow });
        Ok(())
    }

    #[test]
    fn a_file_that_is_wrong_is_named_with_its_line_and_left_as_it_is() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("top.toml");
        for bad in [&b"\ntree = 'oak'\n"[..], b"version = 2\nnew = 1\n", b"\xff"] {
            fs::write(&path, bad)?;
            let (settings, file, warning) = load_from(path.clone());
            assert!(settings == Settings::default() && file.is_none());
            let warning = warning.context("no warning")?;
            assert!(
                warning.starts_with(&format!("{}:", path.display())) && warning.contains("left as it is"),
                "{warning}"
            );
        }
        fs::write(&path, "\ntree = 'oak'\n")?;
        assert!(
            load_from(path.clone()).2.is_some_and(|warning| warning.contains("top.toml:2:8: tree: must be one of"))
        );
        Ok(())
    }

    #[test]
    fn what_a_newer_version_wrote_meanwhile_is_not_overwritten() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("top.toml");
        let file = load_from(path.clone()).1.context("no file to keep them in")?;
        fs::write(&path, "version = 2\n")?;
        assert!(
            file.save(&Settings::default(), &changed()).is_err_and(|error| error.to_string().contains("version: is 2"))
        );
        assert_eq!(fs::read(&path)?, b"version = 2\n");
        Ok(())
    }

    #[test]
    fn a_place_that_can_not_be_written_is_named() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("a/top.toml");
        let file = load_from(path.clone()).1.context("no file to keep them in")?;
        fs::write(folder.path().join("a"), "no folder")?;
        let error =
            file.save(&Settings::default(), &changed()).map_or_else(|error| format!("{error:#}"), |()| String::new());
        assert!(error.contains(&path.display().to_string()), "{error}");
        Ok(())
    }
}
