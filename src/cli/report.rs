//! `benchinf report`.

use std::path::PathBuf;
use std::process::ExitCode;

use super::args::ReportArgs;
use crate::error::Result;
use crate::result::Verdict;
use crate::{report, result};

pub(super) fn run(args: ReportArgs) -> Result<ExitCode> {
    let read = |path: &PathBuf| result::read_verified(path);
    let readings = args.results.iter().map(read).collect::<Result<Vec<_>>>()?;
    for (path, reading) in args.results.iter().zip(&readings) {
        let doubt = match &reading.verdict {
            Verdict::Intact { .. } => continue,
            Verdict::Altered { records } => {
                format!("altered since it was written ({})", records.join(", "))
            }
            Verdict::NoDigests => "without digests, nothing shows whether it was altered".into(),
            Verdict::Unreadable { problem } => format!("cannot be verified: {problem}"),
        };
        super::say(&format!("warning: {}: {doubt}; see `benchinf verify`", path.display()));
    }
    super::print_report(
        args.output.into(),
        |format| report::render_read(&readings, format),
        || report::render_read_for_terminal(&readings),
    )?;
    Ok(ExitCode::SUCCESS)
}
