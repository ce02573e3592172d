//! A case: one point of the sweep, in the field's words.

use std::fmt;
use std::str::FromStr;

/// What one timed pass does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Test {
    /// The prompt in one forward pass, up to the logits of its last position.
    Prefill {
        /// Prompt tokens per sequence.
        n_prompt: u32,
    },
    /// Token after token, each the greedy pick of the step before.
    Decode {
        /// Generated tokens per sequence.
        n_gen: u32,
    },
    /// A whole request: the prompt, then decoding.
    Generate {
        /// Prompt tokens per sequence.
        n_prompt: u32,
        /// Generated tokens per sequence, the first by the prefill's own pick.
        n_gen: u32,
    },
}

impl Test {
    /// Prompt tokens per sequence.
    pub fn n_prompt(self) -> u32 {
        match self {
            Test::Prefill { n_prompt } | Test::Generate { n_prompt, .. } => n_prompt,
            Test::Decode { .. } => 0,
        }
    }

    /// Generated tokens per sequence.
    pub fn n_gen(self) -> u32 {
        match self {
            Test::Decode { n_gen } | Test::Generate { n_gen, .. } => n_gen,
            Test::Prefill { .. } => 0,
        }
    }

    /// Forward passes of one pass: each token after the first needs one of its own.
    pub fn forward_passes(self) -> u64 {
        match self {
            Test::Prefill { .. } => 1,
            Test::Decode { n_gen } | Test::Generate { n_gen, .. } => u64::from(n_gen),
        }
    }

    /// Positions of the KV cache that a pass fills, per sequence, beyond the depth. A request's
    /// last token is picked but never fed back.
    pub fn n_positions(self) -> u64 {
        match self {
            Test::Prefill { n_prompt } => u64::from(n_prompt),
            Test::Decode { n_gen } => u64::from(n_gen),
            Test::Generate { n_prompt, n_gen } => u64::from(n_prompt) + u64::from(n_gen) - 1,
        }
    }
}

impl fmt::Display for Test {
    /// llama-bench's names: `pp512`, `tg128`, `pp512+tg128`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Test::Prefill { n_prompt } => write!(f, "pp{n_prompt}"),
            Test::Decode { n_gen } => write!(f, "tg{n_gen}"),
            Test::Generate { n_prompt, n_gen } => write!(f, "pp{n_prompt}+tg{n_gen}"),
        }
    }
}

/// Number format of a model's weights; where numbers stand for themselves, that of the KV cache
/// and of the operands of products as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dtype {
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary16.
    F16,
    /// bfloat16: binary32 with a mantissa of 8 bits.
    BF16,
    /// GGUF's blocks of 32 bytes with a scale: 8.5 bits a weight.
    Q8_0,
    /// GGUF's blocks of 256 halves of bytes with scales and least values: 4.5 bits a weight.
    Q4K,
}

impl Dtype {
    /// Every format there is, with its name.
    pub const NAMES: [(&str, Dtype); 5] = [
        ("f32", Dtype::F32),
        ("f16", Dtype::F16),
        ("bf16", Dtype::BF16),
        ("q8_0", Dtype::Q8_0),
        ("q4_k", Dtype::Q4K),
    ];

    /// Bytes of `n` weights, as far as blocks are whole; the last byte may be a part of one.
    pub fn bytes_of(self, n: u128) -> u128 {
        // Numbers in a block and its bytes.
        let (numbers, bytes) = match self {
            Dtype::F32 => (1, 4),
            Dtype::F16 | Dtype::BF16 => (1, 2),
            Dtype::Q8_0 => (32, 34),
            Dtype::Q4K => (256, 144),
        };
        n.saturating_mul(bytes).div_ceil(numbers)
    }

    /// What products multiply: activations are rounded to bytes where weights are in blocks.
    pub fn operands(self) -> Operands {
        match self {
            Dtype::F32 => Operands::F32,
            Dtype::F16 => Operands::F16,
            Dtype::BF16 => Operands::BF16,
            Dtype::Q8_0 | Dtype::Q4K => Operands::Int8,
        }
    }

    /// The format of keys and values with our own kernels.
    pub fn of_cache(self) -> Dtype {
        match self {
            Dtype::Q8_0 | Dtype::Q4K => Dtype::F16,
            float => float,
        }
    }

    /// The format of activations in the engine's operations, and of keys and values there.
    pub fn of_engine(self) -> Dtype {
        match self {
            Dtype::Q8_0 | Dtype::Q4K => Dtype::F32,
            float => float,
        }
    }

    /// The name used on the command line and in files.
    pub fn name(self) -> &'static str {
        name_in(&Dtype::NAMES, self)
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Dtype {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        named(&Dtype::NAMES, text)
    }
}

/// Number format of what a matrix product multiplies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operands {
    /// IEEE 754 binary32.
    F32,
    /// binary32 of which a device multiplies the first 19 bits.
    Tf32,
    /// IEEE 754 binary16.
    F16,
    /// bfloat16.
    BF16,
    /// 8 bits, 4 of them the exponent's and 3 the mantissa's.
    Fp8E4M3,
    /// Integers of 8 bits.
    Int8,
}

impl Operands {
    /// Every format there is, with its name.
    pub const NAMES: [(&str, Operands); 6] = [
        ("f32", Operands::F32),
        ("tf32", Operands::Tf32),
        ("f16", Operands::F16),
        ("bf16", Operands::BF16),
        ("fp8_e4m3", Operands::Fp8E4M3),
        ("int8", Operands::Int8),
    ];

    /// Bits of an operand that are multiplied.
    pub fn bits(self) -> u32 {
        match self {
            Operands::F32 => 32,
            Operands::Tf32 => 19,
            Operands::F16 | Operands::BF16 => 16,
            Operands::Fp8E4M3 | Operands::Int8 => 8,
        }
    }

    /// Bytes that an operand takes in memory.
    pub fn stored_bytes(self) -> u64 {
        match self {
            Operands::F32 | Operands::Tf32 => 4,
            Operands::F16 | Operands::BF16 => 2,
            Operands::Fp8E4M3 | Operands::Int8 => 1,
        }
    }

    /// What a device multiplies where nothing was asked for.
    pub fn of_device(device: DeviceSpec) -> Vec<Self> {
        let all = Operands::NAMES.into_iter().map(|(_, operands)| operands);
        all.filter(|operands| operands.is_multiplied_on(device)).collect()
    }

    /// Whether there is a product of it on a kind of device; one of a generation may lack it still.
    pub fn is_multiplied_on(self, device: DeviceSpec) -> bool {
        match device {
            DeviceSpec::Cpu => !matches!(self, Operands::Tf32 | Operands::Fp8E4M3),
            DeviceSpec::Cuda { .. } => true,
        }
    }

    /// The name used on the command line and in files.
    pub fn name(self) -> &'static str {
        name_in(&Operands::NAMES, self)
    }
}

impl fmt::Display for Operands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Operands {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        named(&Operands::NAMES, text)
    }
}

pub(crate) fn name_in<T: Copy + PartialEq>(names: &[(&'static str, T)], value: T) -> &'static str {
    names.iter().find(|(_, named)| *named == value).map_or("", |(name, _)| name)
}

pub(crate) fn named<T: Copy>(names: &[(&str, T)], text: &str) -> Result<T, String> {
    let found = names.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
    found.map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
        format!("`{text}` is not one of {}", names.join(", "))
    })
}

/// Which code computes a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kernels {
    /// Our own kernels.
    Fused,
    /// The engine's operations, one by one.
    Stock,
}

impl Kernels {
    /// Both, with their names.
    pub const NAMES: [(&str, Kernels); 2] = [("fused", Kernels::Fused), ("stock", Kernels::Stock)];

    /// The name used on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Kernels::Fused => "fused",
            Kernels::Stock => "stock",
        }
    }
}

impl fmt::Display for Kernels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Kernels {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Kernels::NAMES
            .into_iter()
            .find(|(name, _)| *name == text)
            .map(|(_, kernels)| kernels)
            .ok_or_else(|| format!("`{text}` is not one of fused, stock"))
    }
}

/// Whether decode steps are replayed as CUDA graphs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CudaGraphs {
    /// Captured once, then one call a step.
    On,
    /// A call for each kernel.
    Off,
}

impl CudaGraphs {
    /// Both, with their names.
    pub const NAMES: [(&str, CudaGraphs); 2] = [("on", CudaGraphs::On), ("off", CudaGraphs::Off)];

    /// The name used on the command line and in files.
    pub fn name(self) -> &'static str {
        name_in(&CudaGraphs::NAMES, self)
    }
}

impl FromStr for CudaGraphs {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        named(&CudaGraphs::NAMES, text)
    }
}

/// Where a run computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeviceSpec {
    /// The processor.
    Cpu,
    /// An NVIDIA device by its index.
    Cuda {
        /// Index as the driver counts.
        ordinal: usize,
    },
}

impl fmt::Display for DeviceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceSpec::Cpu => f.pad("cpu"),
            DeviceSpec::Cuda { ordinal } => f.pad(&format!("cuda:{ordinal}")),
        }
    }
}

impl FromStr for DeviceSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let problem = || format!("`{text}` is not one of cpu, cuda, cuda:N");
        match text.split_once(':') {
            None if text == "cpu" => Ok(DeviceSpec::Cpu),
            None if text == "cuda" => Ok(DeviceSpec::Cuda { ordinal: 0 }),
            Some(("cuda", n)) => {
                n.parse().map(|ordinal| DeviceSpec::Cuda { ordinal }).map_err(|_| problem())
            }
            _ => Err(problem()),
        }
    }
}

/// Hardware threads of the processor by their numbers, as a mask in hexadecimal: `0x5` is threads 0
/// and 2. Up to [`CpuMask::N_CPUS`] of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuMask([u64; CpuMask::N_WORDS]);

impl CpuMask {
    const N_WORDS: usize = 16;
    /// Numbers that a mask can hold, which is as many as the kernel's own sets.
    pub const N_CPUS: u32 = Self::N_WORDS as u32 * u64::BITS;

    /// The hardware threads with these numbers; absent if one of them does not fit.
    pub fn of(cpus: &[u32]) -> Option<Self> {
        let mut mask = Self::default();
        for cpu in cpus {
            *mask.0.get_mut((cpu / u64::BITS) as usize)? |= 1 << (cpu % u64::BITS);
        }
        Some(mask)
    }

    /// The numbers, ascending.
    pub fn cpus(&self) -> Vec<u32> {
        let is_set = |cpu: &u32| self.0[(cpu / u64::BITS) as usize] >> (cpu % u64::BITS) & 1 == 1;
        (0..Self::N_CPUS).filter(is_set).collect()
    }
}

impl fmt::Display for CpuMask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits: String = self.0.iter().rev().map(|word| format!("{word:016x}")).collect();
        let digits = digits.trim_start_matches('0');
        f.pad(&format!("0x{}", if digits.is_empty() { "0" } else { digits }))
    }
}

impl FromStr for CpuMask {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.strip_prefix("0x").or(text.strip_prefix("0X")).unwrap_or(text);
        let problem = || {
            let n_digits = CpuMask::N_CPUS / 4;
            format!("`{text}` is not a mask such as 0x3, of {n_digits} hexadecimal digits at most")
        };
        let mut mask = Self::default();
        let significant = digits.trim_start_matches('0');
        if digits.is_empty() || significant.len() > mask.0.len() * 16 {
            return Err(problem());
        }
        for (i, digit) in significant.chars().rev().enumerate() {
            let digit = digit.to_digit(16).ok_or_else(problem)?;
            mask.0[i / 16] |= u64::from(digit) << (i % 16 * 4);
        }
        Ok(mask)
    }
}

/// Which hardware threads a run computes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Placement {
    /// Wherever the system puts its threads.
    #[default]
    Anywhere,
    /// On these, as the system chooses.
    Within(CpuMask),
    /// On these, each thread bound to one.
    Pinned(CpuMask),
}

impl Placement {
    /// The mask, if there is one.
    pub fn mask(&self) -> Option<CpuMask> {
        match self {
            Placement::Anywhere => None,
            Placement::Within(mask) | Placement::Pinned(mask) => Some(*mask),
        }
    }
}

/// One point of the sweep: everything that two results must share to be the same question.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Case {
    /// The model's label in the plan.
    pub model: String,
    /// Number format.
    pub dtype: Dtype,
    /// Where it computes.
    pub device: DeviceSpec,
    /// By which code.
    pub kernels: Kernels,
    /// How decode steps are launched; off where there is nothing to replay.
    pub cuda_graphs: CudaGraphs,
    /// Processor threads.
    pub n_threads: u32,
    /// What a pass does.
    pub test: Test,
    /// Positions of the KV cache that are filled before a pass starts.
    pub n_depth: u32,
    /// Sequences computed together.
    pub batch_size: u32,
}

impl Case {
    /// The test with its depth, as llama-bench writes it: `tg128 @ d4096`.
    pub fn test_name(&self) -> String {
        match self.n_depth {
            0 => self.test.to_string(),
            depth => format!("{} @ d{depth}", self.test),
        }
    }

    /// The axes in one word, unique in a plan. Stock kernels and launches one by one, which were
    /// once the only ones, are not named in it.
    pub fn id(&self) -> String {
        let Case { model, dtype, device, n_threads, test, n_depth, batch_size, .. } = self;
        let kernels = match self.kernels {
            Kernels::Fused => "fused/",
            Kernels::Stock => "",
        };
        let graphs = match self.cuda_graphs {
            CudaGraphs::On => "graphs/",
            CudaGraphs::Off => "",
        };
        format!(
            "{model}/{dtype}/{device}/{kernels}{graphs}t{n_threads}/b{batch_size}/{test}@d{n_depth}"
        )
    }

    /// Whether decode steps of it can be replayed as CUDA graphs: those of our own kernels on an
    /// NVIDIA device, where there are any.
    pub fn can_replay(&self) -> bool {
        let has_steps = match self.test {
            Test::Prefill { .. } => false,
            Test::Decode { .. } => true,
            Test::Generate { n_gen, .. } => n_gen > 1,
        };
        let is_on_cuda = matches!(self.device, DeviceSpec::Cuda { .. });
        is_on_cuda && self.kernels == Kernels::Fused && has_steps
    }

    /// The format of keys and values.
    pub fn cache_dtype(&self) -> Dtype {
        match self.kernels {
            Kernels::Fused => self.dtype.of_cache(),
            Kernels::Stock => self.dtype.of_engine(),
        }
    }

    /// Positions the KV cache must hold per sequence.
    pub fn n_positions(&self) -> u64 {
        u64::from(self.n_depth) + self.test.n_positions()
    }

    /// Tokens that a pass computes over all sequences: what a throughput counts.
    pub fn tokens_per_pass(&self) -> u64 {
        let per_sequence = u64::from(self.test.n_prompt()) + u64::from(self.test.n_gen());
        // A file may name any sizes; what overflows is never a case that ran.
        per_sequence.saturating_mul(u64::from(self.batch_size))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let mut case = Case {
            model: "tiny".into(),
            dtype: Dtype::BF16,
            device: DeviceSpec::Cuda { ordinal: 1 },
            kernels: Kernels::Stock,
            cuda_graphs: CudaGraphs::Off,
            n_threads: 2,
            test: Test::Generate { n_prompt: 512, n_gen: 128 },
            n_depth: 4096,
            batch_size: 3,
        };
        assert_eq!(case.test_name(), "pp512+tg128 @ d4096");
        assert_eq!(case.id(), "tiny/bf16/cuda:1/t2/b3/pp512+tg128@d4096");
        let fused = Case { kernels: Kernels::Fused, ..case.clone() };
        assert_eq!(fused.id(), "tiny/bf16/cuda:1/fused/t2/b3/pp512+tg128@d4096");
        let replayed = Case { cuda_graphs: CudaGraphs::On, ..fused.clone() };
        assert_eq!(replayed.id(), "tiny/bf16/cuda:1/fused/graphs/t2/b3/pp512+tg128@d4096");
        let prefill = Test::Prefill { n_prompt: 9 };
        assert!(fused.can_replay() && !case.can_replay());
        assert!(!Case { device: DeviceSpec::Cpu, ..fused.clone() }.can_replay());
        assert!(!Case { test: prefill, ..fused.clone() }.can_replay());
        assert!(!Case { test: Test::Generate { n_prompt: 9, n_gen: 1 }, ..fused }.can_replay());
        assert_eq!(case.n_positions(), 4096 + 512 + 127);
        assert_eq!(case.tokens_per_pass(), 3 * (512 + 128));
        let (n_prompt, n_gen, batch_size) = (u32::MAX, u32::MAX, u32::MAX);
        let absurd = Case { test: Test::Generate { n_prompt, n_gen }, batch_size, ..case.clone() };
        assert_eq!(absurd.tokens_per_pass(), u64::MAX);
        case.n_depth = 0;
        case.test = Test::Decode { n_gen: 128 };
        assert_eq!(case.test_name(), "tg128");
        assert_eq!(case.n_positions(), 128);
    }

    #[test]
    fn masks() {
        let wide = format!("0x1{}", "0".repeat(255));
        for (text, written, cpus) in [
            ("0x0", "0x0", vec![]),
            ("5", "0x5", vec![0, 2]),
            ("0X00fF", "0xff", (0..8).collect()),
            ("0x10000000000000001", "0x10000000000000001", vec![0, 64]),
            (&wide, &wide, vec![1020]),
        ] {
            let mask: CpuMask = text.parse().unwrap();
            assert_eq!((mask.to_string().as_str(), mask.cpus()), (written, cpus.clone()), "{text}");
            assert_eq!(CpuMask::of(&cpus), Some(mask), "{text}");
        }
        let too_wide = format!("1{wide}").replace('x', "0");
        for text in ["", "0x", "0-3", "g", "-1", "0x0x1", "é", &too_wide] {
            assert!(text.parse::<CpuMask>().is_err(), "{text}");
        }
        assert_eq!(CpuMask::of(&[0, CpuMask::N_CPUS]), None);
    }

    #[test]
    fn texts_of_devices_and_dtypes() {
        assert_eq!("cuda:3".parse(), Ok(DeviceSpec::Cuda { ordinal: 3 }));
        assert_eq!("cuda".parse(), Ok(DeviceSpec::Cuda { ordinal: 0 }));
        assert_eq!("cpu".parse(), Ok(DeviceSpec::Cpu));
        for text in ["gpu", "cuda:", "cuda:x", "cpu:0", ""] {
            assert!(text.parse::<DeviceSpec>().is_err(), "{text}");
        }
        assert_eq!("BF16".parse(), Ok(Dtype::BF16));
        assert!("int3".parse::<Dtype>().is_err());
    }
}
