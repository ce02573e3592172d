//! `benchinf classify`.

use std::process::ExitCode;
use std::str::FromStr;

use super::args::{Answer, CircuitName, ClassificationOutput, ClassifyArgs, ReferenceRange};
use crate::classify::metric::{Flag, Metric, nearest_word};
use crate::classify::rules::Circuit;
use crate::classify::specification::Declarations;
use crate::classify::verdict::When;
use crate::classify::{self, MatchRequest, References, Request};
use crate::error::Result;
use crate::report::{ClassificationFormat, render_classifications};

pub(super) fn run(args: ClassifyArgs) -> Result<ExitCode> {
    let format = match args.format {
        ClassificationOutput::Text => ClassificationFormat::Text,
        ClassificationOutput::Json => ClassificationFormat::Json,
        ClassificationOutput::Csv => ClassificationFormat::Csv,
    };
    let records = classify::answer(&request(args))?;
    for taint in records.iter().flat_map(|record| &record.taint) {
        super::say(&format!("warning: {taint}; the answer is tainted"));
    }
    super::print(&render_classifications(&records, format))?;
    Ok(ExitCode::SUCCESS)
}

fn request(args: ClassifyArgs) -> Request {
    let day = args.as_of.unwrap_or_else(classify::today);
    let when = if args.timeline { When::Timeline(day) } else { When::On(day) };
    let mut declared = Declarations {
        die_area_mm2: args.die_area,
        coherent_devices: args.coherent_devices,
        packages_per_board: args.packages_per_board,
        ..Declarations::default()
    };
    for declaration in args.declare {
        match declaration {
            Declaration::Metric(metric, value) => declared.metrics.push((metric, value)),
            Declaration::Flag(flag, value) => declared.flags.push((flag, value)),
        }
    }
    match args.datacenter {
        None => {}
        Some(Answer::Yes) => declared.flags.push((Flag::Datacenter, true)),
        Some(Answer::No) => declared.flags.push((Flag::Datacenter, false)),
        Some(Answer::Unknown) => declared.unknown.push(Flag::Datacenter),
    }
    Request {
        results: args.results,
        devices: args.device_spec,
        matching: match (args.no_match, args.r#match) {
            (true, _) => MatchRequest::Refused,
            (false, Some(name)) => MatchRequest::Named(name),
            (false, None) => MatchRequest::Reported,
        },
        rules: args.rules,
        jurisdictions: args.jurisdiction,
        with_bills: args.with_bills,
        declared,
        packages: args.packages,
        one_device: args.one_device,
        circuit: args.integrated_circuit.map(|circuit| match circuit {
            CircuitName::Package => Circuit::Package,
            CircuitName::Board => Circuit::Board,
        }),
        allow_altered: args.allow_altered,
        references: match args.references {
            ReferenceRange::Nearest => References::Nearest,
            ReferenceRange::All => References::All,
        },
        ..Request::new(when)
    }
}

/// `NAME=VALUE`: a number for a metric, yes or no for a flag.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Declaration {
    Metric(Metric, f64),
    Flag(Flag, bool),
}

impl FromStr for Declaration {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (name, value) = text.split_once('=').ok_or("NAME=VALUE is wanted")?;
        if let Some(metric) = Metric::from_name(name) {
            return positive(value).map(|value| Declaration::Metric(metric, value));
        }
        if let Some(flag) = Flag::from_name(name) {
            return match value {
                "yes" | "true" => Ok(Declaration::Flag(flag, true)),
                "no" | "false" => Ok(Declaration::Flag(flag, false)),
                _ => Err(format!("{name} is yes or no, not `{value}`")),
            };
        }
        let hint =
            nearest_word(name).map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        Err(format!("`{name}` is neither a metric nor a flag{hint}"))
    }
}

/// A day of the calendar.
pub(super) fn day(text: &str) -> std::result::Result<jiff::civil::Date, String> {
    text.parse().map_err(|_| "a day is wanted, such as 2023-11-17".into())
}

/// A number that a metric or an area can have.
pub(super) fn positive(text: &str) -> std::result::Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() && value >= 0.0 => Ok(value),
        _ => Err(format!("`{text}` is not a number of 0 at least")),
    }
}

/// An area, by which figures are divided.
pub(super) fn area(text: &str) -> std::result::Result<f64, String> {
    match positive(text)? {
        value if value > 0.0 => Ok(value),
        _ => Err("an area is more than 0".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declarations_are_read_or_refused() {
        for (text, expected) in [
            ("transistors=28e9", Ok(Declaration::Metric(Metric::Transistors, 28e9))),
            ("is_hbm=no", Ok(Declaration::Flag(Flag::IsHbm, false))),
            ("transistors=-1", Err("is not a number")),
            ("transistors=nan", Err("is not a number")),
            ("is_hbm=maybe", Err("yes or no")),
            ("transistor=1", Err("did you mean `transistors`?")),
            ("x", Err("NAME=VALUE")),
        ] {
            match (Declaration::from_str(text), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected),
                (Err(found), Err(words)) => assert!(found.contains(words), "{found}"),
                other => panic!("{text}: {other:?}"),
            }
        }
        for text in ["2010", "2010-02-30", "2010-02", "17.11.2023", ""] {
            assert_eq!(day(text), Err("a day is wanted, such as 2023-11-17".into()), "{text}");
        }
        assert!(day("2010-02-28").is_ok());
        assert!(area("0").is_err() && area("inf").is_err() && area("814").is_ok());
    }
}
