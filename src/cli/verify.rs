//! `benchinf verify`.

use std::process::ExitCode;

use super::args::VerifyArgs;
use super::exit;
use crate::error::Result;
use crate::result::{self, LAYOUT, Signature, Verdict};

/// What an intact file does not show.
const SCOPE: &str = "Intact means that not a byte has changed since the file was written, or the \
file was made anew as a whole. A signature shows who wrote it, to those who know the key from \
elsewhere. Neither shows that the run took place as told.\n";

pub(super) fn run(args: VerifyArgs) -> Result<ExitCode> {
    let wanted_key = args.public_key.as_deref().map(result::read_public_key).transpose()?;
    let mut status = 0;
    let mut text = String::new();
    for path in &args.results {
        let verdict = match result::verify_file(path) {
            Ok(verdict) => verdict,
            Err(error) => Verdict::Unreadable { problem: error.to_string() },
        };
        let (word, of_file) = describe(&verdict, wanted_key.as_deref());
        text += &format!("{}: {word}\n", super::plain(&path.display().to_string()));
        if let Ok(Some(tools)) = result::imported_from(path) {
            let tools = super::plain(&tools);
            text +=
                &format!("  imported from {tools}: it was not measured here, and proves nothing\n");
        }
        status = status.max(of_file);
    }
    if status == 0 {
        text += SCOPE;
    }
    super::print(&text)?;
    Ok(ExitCode::from(status))
}

fn describe(verdict: &Verdict, wanted_key: Option<&str>) -> (String, u8) {
    match verdict {
        Verdict::Intact { signature } => match (signature, wanted_key) {
            (Signature::None, None) => ("intact, not signed".into(), 0),
            (Signature::Valid { public_key }, None) => {
                (format!("intact, signed with the key {public_key}"), 0)
            }
            (Signature::Valid { public_key }, Some(wanted)) if public_key == wanted => {
                ("intact, signed with that key".into(), 0)
            }
            (Signature::Valid { public_key }, Some(_)) => {
                (format!("intact, but signed with another key, {public_key}"), exit::FAILED)
            }
            (Signature::None, Some(_)) => ("intact, but not signed".into(), exit::FAILED),
        },
        Verdict::Altered { records } if *records == [LAYOUT] => (
            "altered (layout: every record is intact, but the text around them is not as it was \
             written)"
                .into(),
            exit::FAILED,
        ),
        Verdict::Altered { records } => {
            (super::plain(&format!("altered ({})", records.join(", "))), exit::FAILED)
        }
        Verdict::NoDigests => {
            ("unreadable (format version 1.0 carries no digests)".into(), exit::USAGE)
        }
        Verdict::Unreadable { problem } => {
            (super::plain(&format!("unreadable ({problem})")), exit::USAGE)
        }
    }
}
