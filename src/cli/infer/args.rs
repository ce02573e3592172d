//! The grammar of the commands that run models.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgAction, value_parser};

use crate::axis::Axis;
use crate::case::{CpuMask, CudaGraphs, DeviceSpec, Dtype, Kernels, Operands};
use crate::cli::args::OutputFormat;
use crate::cli::baseline::BaselineName;
use crate::cli::compare::JudgingArgs;
use crate::model::builtin;
use crate::plan::MAX_THREADS;
use crate::probe::ProbeName;

/// Every axis takes lists and ranges: `128,512`, `0-4096+1024` (step), `1-32*2` (factor). All
/// combinations are run.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct RunArgs {
    /// Models: built-in names, config.json files, or checkpoint directories.
    #[arg(short, long, value_name = "NAME|PATH", default_value = builtin::DEFAULT)]
    pub(in crate::cli) model: Vec<String>,

    /// Where to compute: cpu, cuda or cuda:N.
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    pub(in crate::cli) device: DeviceSpec,

    /// Number formats: f32, f16, bf16, q8_0, q4_k [default: bf16 where the processor multiplies it,
    /// f32 elsewhere].
    #[arg(long, value_name = "DTYPE", value_delimiter = ',')]
    pub(in crate::cli) dtype: Vec<Dtype>,

    /// Code that computes: fused (our own kernels) or stock (candle's operations) [default: fused on
    /// the cpu].
    #[arg(long, value_name = "KERNELS", value_delimiter = ',')]
    pub(in crate::cli) kernels: Vec<Kernels>,

    /// Decode steps on an NVIDIA device: on (replayed as CUDA graphs) or off (a launch for each
    /// kernel) [default: on for fused kernels].
    #[arg(long, value_name = "ON|OFF", value_delimiter = ',')]
    pub(in crate::cli) cuda_graphs: Vec<CudaGraphs>,

    /// Prompt tokens of prefill tests; 0 for none.
    #[arg(short = 'p', long, value_name = "N", visible_aliases = ["input-len", "isl"], default_value = "512")]
    pub(in crate::cli) n_prompt: Vec<Axis>,

    /// Generated tokens of decode tests; 0 for none.
    #[arg(short = 'n', long, value_name = "N", visible_aliases = ["output-len", "osl"], default_value = "128")]
    pub(in crate::cli) n_gen: Vec<Axis>,

    /// A whole request of P prompt and G generated tokens; also written -pg. May be repeated.
    #[arg(long = "pg", value_name = "P,G")]
    pub(in crate::cli) request: Vec<Request>,

    /// Positions already in the KV cache before a test.
    #[arg(short = 'd', long, value_name = "N", default_value = "0")]
    pub(in crate::cli) n_depth: Vec<Axis>,

    /// Sequences computed together (not llama-bench's logical batch of tokens).
    #[arg(short = 'b', long, value_name = "N", default_value = "1")]
    pub(in crate::cli) batch_size: Vec<Axis>,

    /// Processor threads [default: physical cores].
    #[arg(short, long, value_name = "N")]
    pub(in crate::cli) threads: Vec<Axis>,

    #[command(flatten)]
    pub(in crate::cli) placement: PlacementArgs,

    /// Rounds per case, interleaved over cases.
    #[arg(short, long, value_name = "N", default_value = "5")]
    pub(in crate::cli) repetitions: u32,

    /// Passes of warm-up before a case's first round, at least; it also lasts --min-time.
    #[arg(short, long, value_name = "N", default_value = "1")]
    pub(in crate::cli) warmup: u32,

    /// No warm-up: the first round contains the cold start.
    #[arg(long, conflicts_with = "warmup")]
    pub(in crate::cli) no_warmup: bool,

    /// Time that a round measures at least, such as 200ms, 2s or 1m; a number alone is seconds.
    #[arg(long, value_name = "TIME", default_value = "200ms", value_parser = duration)]
    pub(in crate::cli) min_time: Duration,

    /// Time for the whole run; rounds that cannot end in time are left out, and the file says so.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(in crate::cli) max_time: Option<Duration>,

    /// Seed of random weights and tokens.
    #[arg(long, default_value = "0")]
    pub(in crate::cli) seed: u64,

    /// Do not measure, between the cases, what the machine can do at most.
    #[arg(long)]
    pub(in crate::cli) no_ceilings: bool,

    /// Check the plan, list its cases, and run nothing.
    #[arg(long)]
    pub(in crate::cli) dry_run: bool,

    /// Go on with a run that was cut off: its journal, or the result file beside it.
    #[arg(long, value_name = "FILE", conflicts_with_all = [
        "model", "device", "dtype", "kernels", "cuda_graphs", "n_prompt", "n_gen", "request", "n_depth", "batch_size",
        "threads", "cpu_mask", "cpu_strict", "repetitions", "warmup", "no_warmup", "min_time", "max_time", "seed",
        "no_ceilings", "dry_run",
    ])]
    pub(in crate::cli) resume: Option<PathBuf>,

    #[command(flatten)]
    pub(in crate::cli) result: ResultArgs,
}

/// On which hardware threads.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct PlacementArgs {
    /// Compute on these hardware threads only: bit N of the mask is thread N; 0x0 for all.
    #[arg(short = 'C', long, value_name = "HEX", default_value = "0x0")]
    pub(in crate::cli) cpu_mask: CpuMask,

    /// 1 binds each thread to one hardware thread, of the mask or of all, other cores first.
    #[arg(long, value_name = "0|1", default_value = "0", action = ArgAction::Set, value_parser = zero_or_one())]
    pub(in crate::cli) cpu_strict: bool,
}

/// Where the result goes, and what is shown of it.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ResultArgs {
    /// Result file [default: results/TIME-DEVICE-MODEL.json, the time in UTC].
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) out: Option<PathBuf>,

    /// Replace the file of --out if it exists.
    #[arg(long)]
    pub(in crate::cli) force: bool,

    /// Sign the result file with this key, as `benchinf keygen` makes it.
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) sign_key: Option<PathBuf>,

    /// What standard output shows.
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value = "md")]
    pub(in crate::cli) output: OutputFormat,

    /// No progress on standard error; errors still appear.
    #[arg(short, long)]
    pub(in crate::cli) quiet: bool,

    #[command(flatten)]
    pub(in crate::cli) baselines: BaselineArgs,
}

/// What the result is compared with, and kept as.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Baselines")]
pub(in crate::cli) struct BaselineArgs {
    /// Keep the result as results/baselines/NAME.json too, instead of what is there.
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) save_baseline: Option<BaselineName>,

    /// Compare the result with what was saved under this name; the exit status is then that of
    /// `benchinf compare`.
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) baseline: Option<BaselineName>,

    #[command(flatten)]
    pub(in crate::cli) judging: JudgingArgs,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ProbeArgs {
    /// Where to compute: cpu, cuda or cuda:N.
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    pub(in crate::cli) device: DeviceSpec,

    /// Number formats of matrix products: f32, tf32, f16, bf16, fp8_e4m3, int8 [default: those that
    /// the device multiplies].
    #[arg(long, value_name = "DTYPE", value_delimiter = ',')]
    pub(in crate::cli) dtype: Vec<Operands>,

    /// These probes alone: gemm, memory_read, memory_copy, memory_triad, and on a device of its own
    /// transfer_host_to_device, transfer_device_to_host, transfer_bidirectional, and where there are
    /// two transfer_device_to_device [default: all].
    #[arg(long, value_name = "PROBE", value_delimiter = ',')]
    pub(in crate::cli) only: Vec<ProbeName>,

    /// Processor threads [default: physical cores].
    #[arg(short, long, value_name = "N")]
    pub(in crate::cli) threads: Vec<Axis>,

    #[command(flatten)]
    pub(in crate::cli) placement: PlacementArgs,

    /// Rounds per probe, interleaved over probes.
    #[arg(short, long, value_name = "N", default_value = "5")]
    pub(in crate::cli) repetitions: u32,

    /// Time that a round measures at least, such as 200ms, 2s or 1m; a number alone is seconds.
    #[arg(long, value_name = "TIME", default_value = "200ms", value_parser = duration)]
    pub(in crate::cli) min_time: Duration,

    /// Time for the whole run; rounds that cannot end in time are left out, and the file says so.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(in crate::cli) max_time: Option<Duration>,

    /// Seed of random numbers.
    #[arg(long, default_value = "0")]
    pub(in crate::cli) seed: u64,

    #[command(flatten)]
    pub(in crate::cli) result: ResultArgs,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct LogitsArgs {
    /// Built-in name, config.json, or checkpoint directory.
    #[arg(short, long, value_name = "NAME|PATH", default_value = builtin::DEFAULT)]
    pub(in crate::cli) model: String,

    /// Token ids of the prompt.
    #[arg(long, value_name = "ID,ID,…", value_delimiter = ',', required = true)]
    pub(in crate::cli) tokens: Vec<u32>,

    /// Where to compute: cpu, cuda or cuda:N.
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    pub(in crate::cli) device: DeviceSpec,

    /// Number format: f32, f16, bf16, q8_0, q4_k.
    #[arg(long, value_name = "DTYPE", default_value = "f32")]
    pub(in crate::cli) dtype: Dtype,

    /// Code that computes: fused (our own kernels) or stock (candle's operations) [default: fused on
    /// the cpu].
    #[arg(long, value_name = "KERNELS")]
    pub(in crate::cli) kernels: Option<Kernels>,

    /// Processor threads [default: physical cores].
    #[arg(short, long, value_name = "N", value_parser = value_parser!(u32).range(1..=i64::from(MAX_THREADS)))]
    pub(in crate::cli) threads: Option<u32>,

    /// Seed of random weights.
    #[arg(long, default_value = "0")]
    pub(in crate::cli) seed: u64,
}

/// The value of `-pg`.
#[derive(Clone, Copy, Debug)]
pub(in crate::cli) struct Request {
    pub(in crate::cli) n_prompt: u32,
    pub(in crate::cli) n_gen: u32,
}

impl std::str::FromStr for Request {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split_once(',')
            .and_then(|(p, g)| {
                Some(Self { n_prompt: p.trim().parse().ok()?, n_gen: g.trim().parse().ok()? })
            })
            .ok_or_else(|| format!("`{text}` is not two numbers such as 512,128"))
    }
}

/// `200ms`, `2s`, `1m`; a number alone is seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let problem = || format!("`{text}` is not a time such as 200ms, 2s or 1m");
    let number_end = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(number_end);
    let number: f64 = number.trim().parse().map_err(|_| problem())?;
    let seconds = match unit {
        "ms" => number / 1e3,
        "" | "s" => number,
        "m" | "min" => number * 60.0,
        "h" => number * 3600.0,
        _ => return Err(problem()),
    };
    // A century in nanoseconds still fits 64 bits.
    const LONGEST_S: f64 = 100.0 * 365.0 * 86_400.0;
    match (0.0..=LONGEST_S).contains(&seconds) {
        true => Ok(Duration::from_secs_f64(seconds)),
        false => Err(problem()),
    }
}

/// The grammar bounds a duration to a century, which fits.
pub(super) fn nanoseconds(duration: Duration) -> u64 {
    duration.as_nanos() as u64
}

/// llama-bench's way of writing off and on.
fn zero_or_one() -> impl TypedValueParser<Value = bool> {
    PossibleValuesParser::new(["0", "1"]).map(|digit| digit == "1")
}

/// llama-bench writes `-pg 512,128`; the grammar has only one-letter short flags.
pub(in crate::cli) fn with_long_requests(args: impl Iterator<Item = OsString>) -> Vec<OsString> {
    args.map(|arg| match arg.to_str() {
        Some("-pg") => "--pg".into(),
        Some(text) if text.starts_with("-pg=") => format!("-{text}").into(),
        _ => arg,
    })
    .collect()
}

/// All values of an axis that may have been given several times.
pub(in crate::cli) fn values(axis: &[Axis]) -> Vec<u32> {
    axis.iter().flat_map(|axis| axis.0.iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::{Args, Command};
    use clap::Parser as _;

    fn parse(line: &str) -> RunArgs {
        let words = std::iter::once("benchinf").chain(line.split_whitespace()).map(OsString::from);
        let args = Args::try_parse_from(with_long_requests(words)).unwrap();
        match args.command {
            None => *args.run,
            Some(Command::Run(run)) => *run,
            Some(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn spellings_of_the_field() {
        for line in [
            "-p 128,512 -n 32 -pg 64,8 -b 1,4 -t 2 -r 3 -m tiny",
            "run --n-prompt 128,512 --n-gen 32 --pg 64,8 --batch-size 1-4*4 --threads 2 -r3 -m tiny",
            "--isl 128,512 --osl 32 -pg=64,8 -b 1 -b 4 -t2 --repetitions 3 --model tiny",
            "--input-len 128 --input-len 512 --output-len=32 -pg 64,8 -b 1,4 -t 2 -r 3 -m tiny",
        ] {
            let args = parse(line);
            assert_eq!(values(&args.n_prompt), [128, 512], "{line}");
            assert_eq!(values(&args.n_gen), [32], "{line}");
            assert_eq!(values(&args.batch_size), [1, 4], "{line}");
            assert_eq!(values(&args.threads), [2], "{line}");
            assert_eq!((args.request[0].n_prompt, args.request[0].n_gen), (64, 8), "{line}");
            assert_eq!((args.repetitions, args.model.as_slice()), (3, &["tiny".to_owned()][..]));
        }
    }

    #[test]
    fn times() {
        for (text, ms) in [("200ms", 200), ("2s", 2000), ("1.5", 1500), ("1m", 60_000)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "x", "5parsec", "-1s", "nan", "inf", "1e300h"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
