//! `benchinf probe`.

use std::process::ExitCode;

use super::args::{ProbeArgs, nanoseconds};
use super::run::{resources, threads};
use super::{place, session};
use crate::case::Operands;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::plan::{Plan, Settings};
use crate::probe::ProbeName;

pub(in crate::cli) fn run(args: ProbeArgs) -> Result<ExitCode> {
    if !args.dtype.is_empty() && !args.only.is_empty() && !args.only.contains(&ProbeName::Gemm) {
        return Err(Error::BadValue {
            flag: "--dtype",
            value: args.dtype[0].to_string(),
            problem:
                "formats are those of matrix products, which --only leaves out; add gemm to it"
                    .into(),
        });
    }
    let placement = place(&args.placement)?;
    let device = Device::open(args.device)?;
    let settings = Settings {
        device: args.device,
        placement,
        seed: args.seed,
        repetitions: args.repetitions,
        warm_up_passes: 1,
        min_time_ns: nanoseconds(args.min_time),
        max_time_ns: args.max_time.map(nanoseconds),
        injected_slowdown: None,
    };
    let (threads, resources) = (threads(&args.threads), resources(&device));
    let operands = match &args.dtype[..] {
        [] => Operands::of_device(args.device),
        given => given.to_vec(),
    };
    let plan = Plan::of_probes(&operands, &args.only, &threads, settings, resources)?;
    session::start(&plan, &args.result, None)
}
