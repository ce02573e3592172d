//! `benchinf report`.

use std::path::PathBuf;
use std::process::ExitCode;

use super::args::{OutputFormat, ReportArgs};
use crate::compare::{self, Across, Input, Options};
use crate::error::{Error, Result};
use crate::report::{self, Format, NamedReading, OtherSide};
use crate::result::{AnyReading, Destination, Verdict};

pub(super) fn run(args: ReportArgs) -> Result<ExitCode> {
    // Before anything is read: who forgot --force should not wait for that.
    let place =
        |path: Option<PathBuf>| path.map(|path| Destination::named(path, args.force)).transpose();
    let (html, md, csv) = (place(args.html)?, place(args.md)?, place(args.csv)?);
    let names = [&args.results, &args.with].map(|paths| names(paths));
    let base = read_all(&args.results, &names[0])?;
    let with = read_all(&args.with, &names[1])?;
    if let Some(place) = &html {
        write(place, &page(&base, &with, &args.verdicts.options(Across::Named(args.across)))?)?;
    }
    let all: Vec<AnyReading> = base.into_iter().chain(with).map(|input| input.reading).collect();
    for (place, format) in [(&md, Format::Md), (&csv, Format::Csv)] {
        let Some(place) = place else { continue };
        write(place, &report::render_read(&all, format)?)?;
    }
    let goes_to_files = [&html, &md, &csv].into_iter().any(Option::is_some);
    if let Some(format) = args.output.or((!goes_to_files).then_some(OutputFormat::Md)) {
        super::print_report(
            format.into(),
            |format| report::render_read(&all, format),
            || report::render_read_for_terminal(&all),
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

/// One page of all files; of two sides with what a comparison says of them.
///
/// # Errors
/// What is wrong with the flags, or with the files beside what they have in common.
fn page(base: &[Input], with: &[Input], options: &Options) -> Result<String> {
    let names: Vec<String> =
        base.iter().chain(with).map(|input| input.path.display().to_string()).collect();
    let named: Vec<NamedReading> = names
        .iter()
        .zip(base.iter().chain(with))
        .map(|(name, input)| NamedReading { name, reading: &input.reading })
        .collect();
    let (of_base, of_new) = named.split_at(base.len());
    if with.is_empty() {
        return Ok(report::page(of_base, None));
    }
    let compared = match compare::compare(base, with, options) {
        Ok(comparison) => Ok(comparison),
        // Both sides are still worth a look, one beside the other.
        Err(error @ (Error::NothingToCompare { .. } | Error::AmbiguousPair { .. })) => {
            Err(error.to_string())
        }
        Err(error) => return Err(error),
    };
    let comparison = compared.as_ref().map_err(String::as_str);
    Ok(report::page(of_base, Some(OtherSide { files: of_new, comparison })))
}

/// Reads files, and says what is wrong with them; in texts they go by the names given.
fn read_all(paths: &[PathBuf], names: &[String]) -> Result<Vec<Input>> {
    let inputs = paths.iter().map(|path| Input::read(path)).collect::<Result<Vec<_>>>()?;
    for (path, input) in paths.iter().zip(&inputs) {
        let reading = &input.reading;
        let doubt = match reading.verdict() {
            Verdict::Intact { .. } => continue,
            Verdict::Altered { records } => {
                format!("altered since it was written ({})", records.join(", "))
            }
            Verdict::NoDigests => "without digests, nothing shows whether it was altered".into(),
            Verdict::Unreadable { problem } => format!("cannot be verified: {problem}"),
        };
        super::say(&format!("warning: {}: {doubt}; see `benchinf verify`", path.display()));
    }
    let called = inputs.into_iter().zip(names);
    Ok(called.map(|(input, name)| Input { path: name.into(), ..input }).collect())
}

/// What the page calls the files: their names without directories, which are nobody's business,
/// unless two are alike.
fn names(paths: &[PathBuf]) -> Vec<String> {
    let short = |path: &PathBuf| {
        let name = path.file_name().unwrap_or(path.as_os_str());
        name.to_string_lossy().into_owned()
    };
    let all: Vec<String> = paths.iter().map(short).collect();
    let is_alone = |name: &String| all.iter().filter(|other| *other == name).count() == 1;
    let of = |(path, name): (&PathBuf, &String)| match is_alone(name) {
        true => name.clone(),
        false => path.display().to_string(),
    };
    paths.iter().zip(&all).map(of).collect()
}

fn write(place: &Destination, text: &str) -> Result<()> {
    let path = place.write_text(text)?;
    super::say(&format!("wrote {}", path.display()));
    Ok(())
}
