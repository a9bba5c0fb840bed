//! Tables of the documents that are made from the code.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use thread_probe::{
    export::metrics,
    model::{losses, time},
    top::columns,
};

/// Holds the table between two marks to the code's. With `UPDATE_README=1` it writes it instead.
fn hold(document: &str, mark: &str, current: &str) -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(document);
    let (begin, end) = (format!("<!-- {mark} -->\n"), format!("<!-- /{mark} -->"));
    let text = fs::read_to_string(&path)?;
    let (before, rest) = text.split_once(&begin).context("the table's begin")?;
    let (table, after) = rest.split_once(&end).context("the table's end")?;
    if std::env::var_os("UPDATE_README").is_some() {
        return Ok(fs::write(path, format!("{before}{begin}{current}{end}{after}"))?);
    }
    ensure!(
        table == current,
        "docs/{document}'s table of {mark} is not the code's: run this test with UPDATE_README=1"
    );
    Ok(())
}

#[test]
fn the_tables_of_the_documents_are_the_codes() -> Result<()> {
    hold("metrics.md", "metrics", &metrics::markdown())?;
    hold("metrics.md", "losses", &losses::markdown())?;
    hold("metrics.md", "states", &time::markdown())?;
    hold("top.md", "columns", &columns::markdown())
}
