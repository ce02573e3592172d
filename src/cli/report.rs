//! `benchinf report`.

use std::path::PathBuf;
use std::process::ExitCode;

use super::args::{OutputFormat, ReportArgs};
use crate::error::Result;
use crate::report::{self, Format, NamedReading};
use crate::result::{self, AnyReading, Destination, Verdict};

pub(super) fn run(args: ReportArgs) -> Result<ExitCode> {
    // Before anything is read: who forgot --force should not wait for that.
    let place =
        |path: Option<PathBuf>| path.map(|path| Destination::named(path, args.force)).transpose();
    let (html, md, csv) = (place(args.html)?, place(args.md)?, place(args.csv)?);
    let base = read_all(&args.results)?;
    let with = read_all(&args.with)?;
    for (place, format) in [(&md, Format::Md), (&csv, Format::Csv)] {
        let Some(place) = place else { continue };
        write(place, &report::render_read(&base, format)?)?;
    }
    if let Some(place) = &html {
        let names = [names(&args.results), names(&args.with)];
        write(place, &report::page(&named(&names[0], &base), &named(&names[1], &with)))?;
    }
    let goes_to_files = [&html, &md, &csv].into_iter().any(Option::is_some);
    if let Some(format) = args.output.or((!goes_to_files).then_some(OutputFormat::Md)) {
        super::print_report(
            format.into(),
            |format| report::render_read(&base, format),
            || report::render_read_for_terminal(&base),
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

fn read_all(paths: &[PathBuf]) -> Result<Vec<AnyReading>> {
    let readings = paths.iter().map(|path| result::read_any(path)).collect::<Result<Vec<_>>>()?;
    for (path, reading) in paths.iter().zip(&readings) {
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
    Ok(readings)
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

fn named<'a>(names: &'a [String], readings: &'a [AnyReading]) -> Vec<NamedReading<'a>> {
    let of = |(name, reading): (&'a String, &'a AnyReading)| NamedReading { name, reading };
    names.iter().zip(readings).map(of).collect()
}

fn write(place: &Destination, text: &str) -> Result<()> {
    let path = place.write_text(text)?;
    super::say(&format!("wrote {}", path.display()));
    Ok(())
}
