//! `benchinf list`.

use std::process::ExitCode;

use super::args::{ListArgs, Listing};
use crate::classify::catalogue::{Catalogue, Device, Figure, Grade, Marketing, Precision};
use crate::classify::rules;
use crate::error::Result;
use crate::model::{ModelSpec, builtin, cost};
use crate::report::{self, DefinitionKind};
use crate::result;
use crate::units::count_text;

pub(super) fn run(args: ListArgs) -> Result<ExitCode> {
    let text = match args.what {
        Listing::Models => models()?,
        Listing::Rules => rule_sets()?,
        Listing::Metrics => report::list_definitions(|kind| kind != DefinitionKind::Warning),
        Listing::Warnings => report::list_definitions(|kind| kind == DefinitionKind::Warning),
        Listing::Devices => format!("{}\n{}", devices(), catalogue()),
    };
    super::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn models() -> Result<String> {
    let mut text = String::new();
    for builtin in builtin::ALL {
        let config = ModelSpec::resolve(builtin.name)?.config;
        let note = if builtin.name == builtin::DEFAULT { "  (default)" } else { "" };
        text += &format!(
            "{:<14}  {:>6} parameters  {:<7}  {} positions{note}\n",
            builtin.name,
            count_text(cost::n_params(&config)),
            config.model_type.name(),
            config.n_positions(),
        );
    }
    Ok(text)
}

fn rule_sets() -> Result<String> {
    let mut text = String::new();
    for set in rules::embedded()? {
        let optional = if set.is_optional { " (with --with-bills)" } else { "" };
        text += &format!("{}  {}{optional}\n", set.id, set.title);
        text += &format!("    {} [{}]\n", set.citation, set.grade.name());
        for period in &set.periods {
            let to = period.span.to.map_or_else(String::new, |to| format!(" to {to}"));
            text += &format!("    {}{to}: {}\n", period.span.from, period.enforcement.title());
        }
    }
    Ok(text)
}

fn devices() -> String {
    let environment = result::environment();
    let cpu = &environment.cpu;
    let memory = environment.memory_available_bytes.zip(environment.memory_bytes);
    let memory = memory.map_or_else(String::new, |(free, all)| format!(", {free} of {all} free"));
    let model = cpu.model.as_deref().unwrap_or("an unnamed processor");
    let mut text = format!("cpu   {model}, {} cores{memory}\n", cpu.physical_cores);
    if !cfg!(feature = "cuda") {
        text += "cuda  not in this build (needs --features cuda)\n";
    }
    text
}

/// The devices of the embedded catalogue, one a line.
fn catalogue() -> String {
    let devices = Catalogue::embedded().devices();
    let width = devices.iter().map(|device| device.name.chars().count()).max().unwrap_or_default();
    let mut text = format!(
        "{:<width$}  year       TPP  published       PD  memory GB/s  IO GB/s  for datacenters\n",
        "device",
    );
    for device in devices {
        let year = device.year.map_or_else(|| "-".into(), |year| year.to_string());
        let published = device.tpp_published.as_ref();
        text += &format!(
            "{:<width$}  {year:>4}  {:>8}  {:>9}  {:>7}  {:>11}  {:>7}  {}\n",
            device.name,
            tpp(device),
            published.map_or_else(|| "-".into(), |figure| format!("{:.0} ", figure.value)),
            density(device),
            figure(device.memory_bandwidth_gb_per_s.as_ref()),
            figure(device.io_bandwidth_gb_per_s.as_ref()),
            match device.marketing {
                Marketing::Datacenter => "yes",
                Marketing::NotDatacenter => "no",
                Marketing::Unknown => "unknown",
            },
        );
    }
    text += "\n\
        TPP         total processing performance, computed from dense rates\n\
        published   as the maker publishes it\n\
        PD          performance density: TPP, published where it is, by the area of logic dies in mm2\n\
        IO          links between devices, both directions; PCIe alone where there are none\n\
        ?           from memory, unverified    ~ an estimate or a bound, or there is another reading\n";
    text
}

fn tpp(device: &Device) -> String {
    let Some(tpp) = device.tpp_computed() else { return "- ".into() };
    marked(format!("{:.0}", tpp.value), tpp.grade(), tpp.is_rough())
}

fn density(device: &Device) -> String {
    let Some((density, area)) = device.performance_density().zip(device.die_area.as_ref()) else {
        return "- ".into();
    };
    // A published performance stands in for the computed one, and is neither rough nor in doubt.
    let computed = device.tpp_computed().filter(|_| device.tpp_published.is_none());
    let grade = computed.as_ref().map_or(area.mm2.grade, |tpp| tpp.grade().max(area.mm2.grade));
    let is_rough = is_rough(&area.mm2) || computed.is_some_and(|tpp| tpp.is_rough());
    marked(format!("{density:.2}"), grade, is_rough)
}

fn figure(figure: Option<&Figure>) -> String {
    let Some(figure) = figure else { return "- ".into() };
    marked(figure.value.to_string(), figure.grade, is_rough(figure))
}

fn is_rough(figure: &Figure) -> bool {
    figure.precision != Precision::Stated || !figure.alternatives.is_empty()
}

/// A number with a column of its own for what a reader must know of it.
fn marked(number: String, grade: Grade, is_rough: bool) -> String {
    let mark = match (grade, is_rough) {
        (Grade::Unverified, _) => '?',
        (_, true) => '~',
        _ => ' ',
    };
    format!("{number}{mark}")
}
