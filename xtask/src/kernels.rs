//! Debian's stock kernels: the newest of a series, downloaded and unpacked, never installed.
//!
//! apt does the work in a root of its own under target/, from the mirror that this host uses, and checks every
//! package against the signed index.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::setup::{output, root, succeed};

/// A series of kernels, and what to expect of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Series {
    /// What `--kernel` calls it.
    pub(crate) name: &'static str,
    /// Major and minor version, or the major alone.
    pub(crate) version: &'static str,
    /// Which release of Debian has it.
    pub(crate) suite: &'static str,
    /// Since 6.19 the image is a metapackage.
    package_prefix: &'static str,
    /// How Debian configured it.
    flavour: &'static str,
    /// Whether thread-probe must refuse it.
    pub(crate) is_too_old: bool,
    /// Whether it is tested only when it is asked for.
    pub(crate) is_by_name_only: bool,
}

const fn series(version: &'static str, suite: &'static str, package_prefix: &'static str) -> Series {
    Series {
        name: version,
        version,
        suite,
        package_prefix,
        flavour: "cloud",
        is_too_old: false,
        is_by_name_only: false,
    }
}

/// The series that are tested.
pub(crate) const SERIES: [Series; 5] = [
    Series { is_too_old: true, ..series("5.10", "bullseye", "linux-image-") },
    series("6.1", "bookworm", "linux-image-"),
    series("6.12", "trixie", "linux-image-"),
    // PREEMPT_RT: interrupts and soft interrupts are threads, and what others run with preemption off can be preempted.
    // By name only, as two tests are not explained there yet.
    Series { name: "6.12-rt", flavour: "rt", is_by_name_only: true, ..series("6.12", "trixie", "linux-image-") },
    series("7", "trixie-backports", "linux-binary-"),
];

/// What Debian's archive is signed with.
pub(crate) const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// An apt root of its own.
pub(crate) struct Apt {
    folder: PathBuf,
}

impl Apt {
    /// Makes the root and fetches the indexes of every suite.
    ///
    /// # Errors
    /// This is no Debian, or its mirror can't be reached.
    pub(crate) fn update() -> Result<Self> {
        let folder = root().join("target/vm/apt");
        for part in ["state/lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(folder.join(part))?;
        }
        ensure!(
            Path::new(KEYRING).exists(),
            "{KEYRING} is missing: the kernels come from Debian's archive; install debian-archive-keyring"
        );
        let mirror = mirror()?;
        let suites = BTreeSet::from(SERIES.map(|series| series.suite));
        let sources = suites.iter().map(|suite| format!("deb [signed-by={KEYRING}] {mirror} {suite} main\n"));
        fs::write(folder.join("sources.list"), sources.collect::<String>())?;
        let apt = Self { folder };
        println!("Fetching the package indexes of {} suites from {mirror}.", suites.len());
        succeed(apt.command("apt-get").args(["-qq", "update"]))?;
        Ok(apt)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let folder = self.folder.display();
        for option in [
            format!("Dir::State={folder}/state"),
            format!("Dir::Cache={folder}/cache"),
            format!("Dir::Etc::SourceList={folder}/sources.list"),
            "Dir::Etc::SourceParts=/dev/null".to_owned(),
            "Acquire::Languages=none".to_owned(),
            // Else apt becomes its own user, who may not write here.
            "APT::Sandbox::User=root".to_owned(),
        ] {
            command.arg("-o").arg(option);
        }
        command
    }

    /// The image of the newest kernel of a series.
    ///
    /// # Errors
    /// There is none, or it can't be fetched.
    pub(crate) fn kernel(&self, series: Series) -> Result<PathBuf> {
        let package = self.newest(series)?;
        let folder = root().join("target/vm/kernels").join(&package);
        if !folder.exists() {
            println!("Downloading {package}.");
            let downloads = root().join("target/vm/downloads");
            fs::create_dir_all(&downloads)?;
            succeed(self.command("apt-get").args(["-qq", "download", &package]).current_dir(&downloads))?;
            let archive = find(&downloads, &format!("{package}_"))?;
            let unpacked = downloads.join("unpacked");
            succeed(Command::new("dpkg-deb").arg("-x").arg(&archive).arg(&unpacked))?;
            fs::remove_file(archive)?;
            fs::create_dir_all(folder.parent().context("it has a parent")?)?;
            fs::rename(unpacked, &folder)?;
        }
        image_in(&folder)
    }

    fn newest(&self, series: Series) -> Result<String> {
        let prefix = format!("{}{}.", series.package_prefix, series.version);
        let names = output(self.command("apt-cache").args(["pkgnames", &prefix]))?;
        let suffix = format!("-{}-amd64", series.flavour);
        let newest = names.lines().filter(|name| name.ends_with(&suffix)).max_by_key(|name| version_of(name));
        match newest {
            Some(name) => Ok(name.to_owned()),
            None => bail!("the mirror has no package {prefix}*{suffix}"),
        }
    }
}

/// Where packages have the image: in /boot, or since 7.2 with the modules.
fn image_in(folder: &Path) -> Result<PathBuf> {
    find(&folder.join("boot"), "vmlinuz-").or_else(|_| {
        let modules = folder.join("usr/lib/modules");
        find(&find(&modules, "")?, "vmlinuz")
    })
}

/// The numbers in a package's name, which order its versions.
fn version_of(name: &str) -> Vec<u64> {
    name.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
}

/// The mirror of Debian that this host's own apt uses.
///
/// # Errors
/// It has none.
pub(crate) fn mirror() -> Result<String> {
    let targets = output(Command::new("apt-get").args(["indextargets", "--format", "$(ORIGIN) $(LABEL) $(REPO_URI)"]))
        .context("the kernels come from Debian's archive, by apt")?;
    let mirror = targets.lines().find_map(|line| line.strip_prefix("Debian Debian "));
    Ok(mirror.context("this host's apt has no mirror of Debian; run `apt-get update`")?.to_owned())
}

fn find(folder: &Path, prefix: &str) -> Result<PathBuf> {
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    entries
        .filter_map(Result::ok)
        .find(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| entry.path())
        .with_context(|| format!("no {prefix}* in {}", folder.display()))
}
