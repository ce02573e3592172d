//! `benchinf probe`.

use std::process::ExitCode;

use super::args::{ProbeArgs, nanoseconds};
use super::run::{resources, threads};
use super::{place, session};
use crate::case::Operands;
use crate::device::Device;
use crate::error::Result;
use crate::plan::{Plan, Settings};

pub(in crate::cli) fn run(args: ProbeArgs) -> Result<ExitCode> {
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
    let plan = Plan::of_probes(&operands, &threads, settings, resources)?;
    session::start(&plan, &args.result, None)
}
