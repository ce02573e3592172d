//! `benchinf report`.

use std::process::ExitCode;

use super::args::ReportArgs;
use crate::error::Result;
use crate::result::Verdict;
use crate::{report, result};

pub(super) fn run(args: ReportArgs) -> Result<ExitCode> {
    let results = args.results.iter().map(|path| result::read(path)).collect::<Result<Vec<_>>>()?;
    for path in &args.results {
        let doubt = match result::verify_file(path)? {
            Verdict::Intact { .. } => continue,
            Verdict::Altered { records } => {
                format!("altered since it was written ({})", records.join(", "))
            }
            Verdict::NoDigests => "without digests, nothing shows whether it was altered".into(),
            Verdict::Unreadable { problem } => format!("cannot be verified: {problem}"),
        };
        super::say(&format!("warning: {}: {doubt}; see `benchinf verify`", path.display()));
    }
    super::print(&report::render(&results, args.output.into()))?;
    Ok(ExitCode::SUCCESS)
}
