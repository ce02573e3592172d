//! `benchinf report`.

use std::process::ExitCode;

use super::args::ReportArgs;
use crate::error::Result;
use crate::{report, result};

pub(super) fn run(args: ReportArgs) -> Result<ExitCode> {
    let results = args.results.iter().map(|path| result::read(path)).collect::<Result<Vec<_>>>()?;
    super::print(&report::render(&results, args.output.into()))?;
    Ok(ExitCode::SUCCESS)
}
