//! The notices of what the static program contains: each package's licence, and the texts that must go with it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::setup::{cargo, output, root};

/// How the files begin that a package carries for this.
const BEGINNINGS: [&str; 5] = ["licen", "copying", "copyright", "notice", "unlicense"];

/// Writes them into a folder: those of the packages, and those of Rust's standard library and of musl, which come with
/// the toolchain.
///
/// # Errors
/// Cargo does not know a package, a text can't be read, or the toolchain came without its own.
pub(crate) fn write(triple: &str, folder: &Path) -> Result<()> {
    let mut list = String::from("thread-probe contains these packages, in whole or in part; their texts follow.\n\n");
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in packages(triple)? {
        writeln!(list, "{}: {}\n    {}", package.name, package.license, package.repository)?;
        for file in package.files()? {
            let text = fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
            let text = String::from_utf8_lossy(&text).trim_end().replace("\r\n", "\n");
            texts.entry(text).or_default().push(package.name.clone());
        }
    }
    fs::create_dir_all(folder)?;
    for (text, names) in &texts {
        write!(list, "\n{}\n{}\n\n{text}\n", "=".repeat(78), names.join(", "))?;
    }
    fs::write(folder.join("THIRD-PARTY-NOTICES"), list)?;
    let sysroot = output(Command::new("rustc").args(["--print", "sysroot"]).current_dir(root()))?;
    let library = Path::new(sysroot.trim()).join("share/doc/rust/COPYRIGHT-library.html");
    fs::copy(&library, folder.join("rust-library-notices.html"))
        .with_context(|| format!("{}: install the toolchain with rustup, which brings it", library.display()))?;
    Ok(())
}

struct Package {
    /// Its name and version.
    name: String,
    license: String,
    repository: String,
    folder: PathBuf,
}

impl Package {
    /// From an entry of cargo's metadata.
    fn new(name: String, entry: &Value) -> Result<Self> {
        let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
        let manifest = PathBuf::from(text("manifest_path"));
        let folder = manifest.parent().with_context(|| format!("cargo says no manifest of {name}"))?.to_owned();
        let license = text("license");
        ensure!(!license.is_empty(), "{name} names no licence: see {}", folder.display());
        Ok(Self { name, license, repository: text("repository"), folder })
    }

    /// The texts it carries.
    fn files(&self) -> Result<BTreeSet<PathBuf>> {
        let mut files = BTreeSet::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().to_lowercase();
            if entry.file_type()?.is_file() && BEGINNINGS.iter().any(|beginning| name.starts_with(beginning)) {
                files.insert(entry.path());
            }
        }
        ensure!(!files.is_empty(), "{} carries no text of its licence: see {}", self.name, self.folder.display());
        Ok(files)
    }
}

/// What others wrote of what is compiled into the program and into the eBPF object in it.
fn packages(triple: &str) -> Result<Vec<Package>> {
    let metadata = output(cargo().args(["metadata", "--format-version", "1", "--quiet"]))?;
    let metadata: Value = serde_json::from_str(&metadata)?;
    let entries = metadata["packages"].as_array().context("cargo lists no packages")?;
    let name = |entry: &Value| {
        format!("{} {}", entry["name"].as_str().unwrap_or_default(), entry["version"].as_str().unwrap_or_default())
    };
    let foreign = entries.iter().filter(|entry| !entry["source"].is_null());
    let entries: BTreeMap<String, &Value> = foreign.map(|entry| (name(entry), entry)).collect();
    let tree = ["tree", "--quiet", "--edges", "normal,no-proc-macro", "--prefix", "none", "--format", "{p}"];
    let program = output(cargo().args(tree).args(["--package", "thread-probe", "--target", triple]))?;
    let object = output(cargo().args(tree).args(["--package", "thread-probe-ebpf", "--features", "programs"]))?;
    let used: BTreeSet<String> = program.lines().chain(object.lines()).filter_map(name_and_version).collect();
    let foreign = used.into_iter().filter_map(|name| Some((entries.get(&name)?, name)));
    foreign.map(|(entry, name)| Package::new(name, entry)).collect()
}

/// Of a line like `ring v0.17.14 (*)`.
fn name_and_version(line: &str) -> Option<String> {
    let (name, rest) = line.split_once(" v")?;
    Some(format!("{name} {}", rest.split(' ').next()?))
}
