//! `benchinf list`.

use std::process::ExitCode;

use super::args::{ListArgs, Listing};
use crate::error::Result;
use crate::model::{ModelSpec, builtin, cost};
use crate::result;
use crate::units::count_text;

pub(super) fn run(args: ListArgs) -> Result<ExitCode> {
    let text = match args.what {
        Listing::Models => models()?,
        Listing::Devices => devices(),
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
