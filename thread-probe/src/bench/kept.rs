//! What was measured last on this host, for those who count switches and want to know what they cost.

use std::{
    env, fs,
    io::{self, Read as _, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    report::{Figure, Host, Part, Report},
    switch,
};

/// Where root keeps it, for all.
const FOR_ALL: &str = "/var/lib/thread-probe";
const FILE: &str = "calibration.json";
/// More than any report has.
const MOST_BYTES: u64 = 1 << 20;

/// Writes a report to a file: whole or not at all, and for others to read.
///
/// # Errors
/// It can't be written; what was there before stays.
pub fn save(report: &Report, path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o644)).tempfile_in(folder)?;
    serde_json::to_writer_pretty(&mut file, report)?;
    file.write_all(b"\n")?;
    file.persist(path)?;
    Ok(())
}

/// Reads one.
///
/// # Errors
/// It can't be read, or is no report.
pub fn read(path: &Path) -> io::Result<Report> {
    let mut text = String::new();
    fs::File::open(path)?.take(MOST_BYTES).read_to_string(&mut text)?;
    Ok(serde_json::from_str(&text)?)
}

/// Keeps a report for [`switch_cost`], if it says what a switch costs: for all if this is root. Returns where.
///
/// # Errors
/// Its folder can't be made, or not be written to.
pub fn keep(report: &Report) -> io::Result<Option<PathBuf>> {
    let folder = folders().into_iter().nth(usize::from(!nix::unistd::geteuid().is_root()));
    let Some(folder) = folder.filter(|_| cost_in(report).is_some()) else { return Ok(None) };
    fs::create_dir_all(&folder)?;
    let path = folder.join(FILE);
    save(report, &path)?;
    Ok(Some(path))
}

/// What a switch costs by the last report that was kept, if it is of this kernel and these CPUs.
pub(super) fn switch_cost() -> Option<Duration> {
    let host = Host::read().ok()?;
    folders().iter().find_map(|folder| cost_on(&host, &read(&folder.join(FILE)).ok()?))
}

fn cost_on(host: &Host, report: &Report) -> Option<Duration> {
    cost_in(report).filter(|_| report.host == *host)
}

fn cost_in(report: &Report) -> Option<Duration> {
    let is_it = |figure: &&Figure| figure.part == Part::Switch && figure.what == switch::COST;
    // What did not become steady is nothing to count with.
    let figure = report.figures.iter().find(is_it).filter(|figure| figure.problem.is_none())?;
    Duration::try_from_secs_f64(figure.seconds?).ok().filter(|cost| !cost.is_zero())
}

fn folders() -> Vec<PathBuf> {
    let state = env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|folder| folder.is_absolute());
    let state = state.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".local/state")));
    [PathBuf::from(FOR_ALL)].into_iter().chain(state.map(|folder| folder.join("thread-probe"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(seconds: Option<f64>) -> io::Result<Report> {
        let figure = Figure { seconds, ..Figure::new(Part::Switch, switch::COST.to_owned()) };
        Ok(Report { host: Host::read()?, figures: vec![figure] })
    }

    #[test]
    fn what_was_saved_is_read_by_others_and_holds_for_its_host_alone() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join(FILE);
        save(&report(Some(1.5e-6))?, &path)?;
        assert_eq!(fs::metadata(&path)?.permissions().mode() & 0o444, 0o444);
        let (kept, here) = (read(&path)?, Host::read()?);
        assert_eq!(cost_on(&here, &kept), Some(Duration::from_nanos(1500)));
        assert_eq!(cost_on(&Host { kernel: "6.1.0".into(), ..here }, &kept), None);
        Ok(())
    }

    #[test]
    fn what_is_no_report_or_has_no_cost_is_none() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join(FILE);
        for text in ["", "{}", "[1", "\0"] {
            fs::write(&path, text)?;
            assert!(read(&path).is_err(), "{text:?}");
        }
        assert!(save(&report(None)?, Path::new("/proc/no/such")).is_err());
        for seconds in [None, Some(0.0), Some(-1.0), Some(f64::INFINITY)] {
            assert_eq!(cost_in(&report(seconds)?), None, "{seconds:?}");
        }
        let mut unsteady = report(Some(1.5e-6))?;
        unsteady.figures[0].problem = Some("it did not become steady".to_owned());
        assert_eq!(cost_in(&unsteady), None);
        Ok(())
    }

    #[test]
    fn the_figure_that_counts_is_one_that_is_measured() -> io::Result<()> {
        assert!(switch::names()?.iter().any(|name| name == switch::COST));
        Ok(())
    }
}
