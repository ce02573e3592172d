//! `benchinf import`.

use std::process::ExitCode;

use super::args::ImportArgs;
use crate::error::Result;
use crate::import;
use crate::model::ModelSpec;
use crate::result::{self, Destination};

pub(super) fn run(args: &ImportArgs) -> Result<ExitCode> {
    let place = args.out.clone().map(|path| Destination::named(path, args.force)).transpose()?;
    let model = args.model.as_deref().map(ModelSpec::resolve).transpose()?;
    let mut file = import::import(&args.files, args.from, model.as_ref())?;
    let text = result::seal(&mut file, None);
    match place {
        Some(place) => {
            let path = place.write(&text)?;
            let n = file.cases.len();
            let cases = if n == 1 { "case" } else { "cases" };
            super::say(&format!("{n} {cases} imported: {}", path.display()));
        }
        None => super::print(&text)?,
    }
    Ok(ExitCode::SUCCESS)
}
