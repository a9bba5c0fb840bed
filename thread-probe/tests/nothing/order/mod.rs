//! Imports point one way: to what stands before in ARCHITECTURE.md's order, and between files nowhere in a circle.

mod source;

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    fs,
    path::{Path, PathBuf},
};

use source::{Crate, Module};

type Outcome = Result<(), Box<dyn Error>>;

/// What comes before the modules' order in ARCHITECTURE.md, and after it.
const ORDER_IN: (&str, &str) = ("```order\n", "```");
/// Modules that compute and look nothing up: neither these of the standard library nor the system's interfaces.
const PURE: [&str; 2] = ["ledger", "model"];
const IMPURE: [&str; 9] =
    ["std::fs", "std::io", "std::net", "std::env", "std::process", "std::thread", "nix", "procfs", "aya"];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The modules as ARCHITECTURE.md orders them: each uses only those before it.
fn order() -> Result<Vec<String>, Box<dyn Error>> {
    let text = fs::read_to_string(repository().join("ARCHITECTURE.md"))?;
    let (_, after) = text.split_once(ORDER_IN.0).ok_or("ARCHITECTURE.md has no ```order")?;
    let (order, _) = after.split_once(ORDER_IN.1).ok_or("```order does not end")?;
    Ok(order.split_whitespace().map(str::to_owned).collect())
}

/// Each arrow to a module that does not stand before its own.
fn arrows_up(of: &Crate, order: &[String]) -> Vec<String> {
    let place = |module: &Module| module.first().and_then(|room| order.iter().position(|known| known == room));
    let mut wrong = Vec::new();
    for (from, to) in of.arrows() {
        let (Some(room), Some(other)) = (from.first(), to.first()) else { continue };
        if room != other && place(&from).zip(place(&to)).is_none_or(|(here, there)| there > here) {
            wrong.push(format!("{} uses {}, which does not stand before it", of.file(&from), of.file(&to)));
        }
    }
    wrong
}

/// Each arrow that is part of a circle between the files and folders of one folder.
fn circles(of: &Crate) -> Vec<String> {
    let arrows = of.arrows();
    let mut wrong = BTreeSet::new();
    for folder in of.folders() {
        // What a file of the folder, or of a folder in it, is called in the folder; its own mod.rs is empty.
        let name = |module: &Module| {
            module.starts_with(&folder).then(|| module.get(folder.len()).cloned().unwrap_or_default())
        };
        let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let within = arrows.iter().filter_map(|(from, to)| Some(((from, to), (name(from)?, name(to)?))));
        let within: Vec<_> = within.filter(|(_, (from, to))| from != to).collect();
        for (_, (from, to)) in &within {
            uses.entry(from.clone()).or_default().insert(to.clone());
        }
        for ((from, to), (here, there)) in &within {
            if reachable(&uses, there).contains(here) {
                wrong.insert(format!("{} uses {}, which leads back to it", of.file(from), of.file(to)));
            }
        }
    }
    wrong.into_iter().collect()
}

/// What can be come to from there.
fn reachable(uses: &BTreeMap<String, BTreeSet<String>>, from: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![from.to_owned()];
    while let Some(next) = open.pop() {
        let new = uses.get(&next).into_iter().flatten().filter(|to| found.insert((*to).clone())).cloned();
        open.extend(new.collect::<Vec<_>>());
    }
    found
}

fn crates() -> Result<Vec<Crate>, Box<dyn Error>> {
    let roots = [
        "thread-probe/src/lib.rs",
        "thread-probe-ebpf/src/lib.rs",
        "thread-probe-ebpf/src/main.rs",
        "xtask/src/main.rs",
    ];
    roots.iter().map(|root| Crate::read(&repository().join(root))).collect()
}

#[test]
fn every_module_uses_only_those_before_it() -> Outcome {
    let product = Crate::read(&repository().join("thread-probe/src/lib.rs"))?;
    let order = order()?;
    let rooms: BTreeSet<String> = product.rooms().cloned().collect();
    assert_eq!(rooms, order.iter().cloned().collect(), "ARCHITECTURE.md orders other modules than there are");
    assert_eq!(arrows_up(&product, &order), [""; 0]);
    Ok(())
}

#[test]
fn no_files_of_one_folder_use_each_other_in_a_circle() -> Outcome {
    for of in crates()? {
        assert_eq!(circles(&of), [""; 0]);
    }
    Ok(())
}

#[test]
fn what_computes_looks_nothing_up() -> Outcome {
    let product = Crate::read(&repository().join("thread-probe/src/lib.rs"))?;
    let mut wrong = Vec::new();
    for (module, path) in product.paths() {
        let path = path.join("::");
        let looks_up = |name: &&str| path == **name || path.starts_with(&format!("{name}::"));
        if module.first().is_some_and(|room| PURE.contains(&room.as_str())) && IMPURE.iter().any(looks_up) {
            wrong.push(format!("{} names {path}", product.file(module)));
        }
    }
    assert_eq!(wrong, [""; 0]);
    Ok(())
}

/// A crate of these files.
fn made_of(files: &[(&str, &str)]) -> Result<Crate, Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap_or(folder.path()))?;
        fs::write(path, text)?;
    }
    Crate::read(&folder.path().join("lib.rs"))
}

#[test]
fn an_arrow_up_is_found_with_both_files() -> Outcome {
    let made = made_of(&[
        ("lib.rs", "mod low; mod high;"),
        ("high.rs", "use crate::low::Low; pub struct High;"),
        ("low/mod.rs", "mod inner; pub use inner::Low;"),
        ("low/inner.rs", "pub struct Low; fn f() -> crate::high::High { crate::high::High }"),
    ])?;
    let order = ["low", "high"].map(str::to_owned);
    assert_eq!(arrows_up(&made, &order), ["low/inner.rs uses high.rs, which does not stand before it"]);
    Ok(())
}

#[test]
fn a_circle_is_found_through_what_mod_rs_hands_on_and_one_of_tests_is_none() -> Outcome {
    let one = "use super::Two; pub struct One;";
    let made = |two: &str| {
        made_of(&[
            ("lib.rs", "mod a;"),
            ("a/mod.rs", "mod one; mod two; pub use self::{one::One, two::Two};"),
            ("a/one.rs", one),
            ("a/two.rs", two),
        ])
    };
    let expected =
        ["a/one.rs uses a/two.rs", "a/two.rs uses a/one.rs"].map(|arrow| format!("{arrow}, which leads back to it"));
    assert_eq!(circles(&made("pub struct Two(super::One);")?), expected);
    assert_eq!(circles(&made("macro_rules! m { () => { $crate::a::one::One } } pub struct Two;")?), expected);
    assert_eq!(circles(&made("pub struct Two; #[cfg(test)] mod tests { use super::super::One; }")?), [""; 0]);
    Ok(())
}
