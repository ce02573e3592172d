//! `benchinf merge`.

use std::process::ExitCode;

use super::args::MergeArgs;
use crate::error::Result;
use crate::report;
use crate::result::{self, Destination, SigningKey};

pub(super) fn run(args: MergeArgs) -> Result<ExitCode> {
    let key = args.sign_key.as_deref().map(SigningKey::read).transpose()?;
    let destination = Destination::named(args.out, args.force)?;
    let files = args
        .results
        .into_iter()
        .map(|path| result::read_intact(&path).map(|file| (path, file)))
        .collect::<Result<Vec<_>>>()?;
    let mut merged = result::merge(files, super::command_line())?;
    let text = result::seal(&mut merged, key.as_ref());
    let path = destination.write(&text)?;
    let merged = std::slice::from_ref(&merged);
    super::print_report(
        args.output.into(),
        |format| Ok(report::render(merged, format)),
        || report::render_for_terminal(merged),
    )?;
    super::say(&format!("merged file: {}", path.display()));
    Ok(ExitCode::SUCCESS)
}
