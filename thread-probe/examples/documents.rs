//! Writes the man pages and the shells' completions, made from the command line, into FOLDER/man and
//! FOLDER/completions. An example, so that what makes them is no part of the program; `cargo xtask dist` runs it.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use clap::CommandFactory as _;
use clap_complete::Shell;
use thread_probe::commands::options::Cli;

fn main() -> Result<()> {
    let folder = std::env::args_os().nth(1).context("usage: documents FOLDER")?;
    let (man, completions) = (Path::new(&folder).join("man"), Path::new(&folder).join("completions"));
    fs::create_dir_all(&man)?;
    fs::create_dir_all(&completions)?;
    clap_mangen::generate_to(Cli::command(), &man).context("writing the man pages")?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut Cli::command(), "thread-probe", &completions)
            .with_context(|| format!("writing the completions for {shell}"))?;
    }
    Ok(())
}
