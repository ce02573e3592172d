//! `benchinf man`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::CommandFactory as _;

use super::args::Args;
use crate::error::{Error, Result};

pub(super) fn run(out_dir: Option<PathBuf>) -> Result<ExitCode> {
    match out_dir {
        // One file for each command, named as `man` looks for it: benchinf-classify.1.
        Some(directory) => {
            std::fs::create_dir_all(&directory).map_err(Error::write(&directory))?;
            clap_mangen::generate_to(Args::command(), &directory)
                .map_err(Error::write(&directory))?;
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Args::command())
                .render(&mut page)
                .map_err(Error::engine("rendering the man page"))?;
            super::print_bytes(&page)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
