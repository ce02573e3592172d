//! The sources of the kernels, and their compilation when the program runs.
//!
//! What is compiled is fit for one device, one format and, where it matters, one shape of heads, so
//! that loops over them have a length that the compiler knows.

#![allow(unsafe_code)]

use std::ffi::{CStr, CString};

use candle_core::cuda::cudarc::nvrtc::result::{self, NvrtcError};
use candle_core::cuda::cudarc::nvrtc::sys;

use super::driver::Version;
use crate::kernels::linear::FloatFormat;

/// What every source begins with.
pub(super) const PRELUDE: &str = include_str!("prelude.cu");

/// A file of kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// Work on rows.
    Rows,
    /// Rotary embedding, and keys and values that join the cache.
    Rotary,
    /// Products of a few rows.
    Products,
    /// Attention of single queries.
    SingleAttention,
    /// Attention of many queries, by the tensor cores.
    BlockAttention,
    /// Random numbers, and walks through memory.
    Probes,
}

impl Source {
    /// All of them.
    pub const ALL: [Source; 6] = [
        Source::Rows,
        Source::Rotary,
        Source::Products,
        Source::SingleAttention,
        Source::BlockAttention,
        Source::Probes,
    ];

    /// Its text.
    pub fn text(self) -> &'static str {
        match self {
            Source::Rows => include_str!("rows.cu"),
            Source::Rotary => include_str!("rotary.cu"),
            Source::Products => include_str!("gemv.cu"),
            Source::SingleAttention => include_str!("decode_attention.cu"),
            Source::BlockAttention => include_str!("prefill_attention.cu"),
            Source::Probes => include_str!("probe.cu"),
        }
    }

    /// Whether it is compiled for a shape of heads.
    pub fn knows_heads(self) -> bool {
        matches!(self, Source::SingleAttention | Source::BlockAttention)
    }
}

/// Heads of attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HeadShape {
    /// Numbers of a head.
    pub dim: u32,
    /// Query heads that share keys and values.
    pub group: u32,
}

/// What a source is compiled for, beside the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Variant {
    /// The source.
    pub source: Source,
    /// Of weights, activations and the cache.
    pub format: FloatFormat,
    /// For the sources that know them.
    pub heads: Option<HeadShape>,
}

impl Variant {
    /// Definitions before the source.
    pub(super) fn definitions(&self) -> Vec<String> {
        let format = match self.format {
            FloatFormat::F32 => 0,
            FloatFormat::F16 => 1,
            FloatFormat::Bf16 => 2,
        };
        let mut definitions = vec![format!("-DFORMAT={format}")];
        if let Some(HeadShape { dim, group }) = self.heads {
            definitions.push(format!("-DHEAD_DIM={dim}"));
            definitions.push(format!("-DGROUP={group}"));
        }
        definitions
    }
}

/// A compiled variant, and what the compiler said.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// Machine code of the device.
    pub image: Vec<u8>,
    /// The compiler's remarks, the use of registers among them.
    pub log: String,
}

/// Compiles a variant for devices of a compute capability. It needs none.
///
/// # Errors
/// What the compiler says.
pub fn compile(variant: &Variant, capability: Version) -> Result<Compiled, String> {
    let text = format!("{PRELUDE}\n{}", variant.source.text());
    let text = CString::new(text).map_err(|e| e.to_string())?;
    let mut options = variant.definitions();
    options.push(format!("--gpu-architecture=sm_{}{}", capability.major, capability.minor));
    options.extend(["--std=c++17", "--ptxas-options=-v"].map(str::to_owned));
    let failed = |e: NvrtcError| format!("the compiler of kernels says {:?}", e.0);
    let program = Program(result::create_program(&text, None).map_err(failed)?);
    // SAFETY: the program was just made, and lives until the end of this function.
    let compiled = unsafe { result::compile_program(program.0, &options) };
    // SAFETY: as above.
    let log = unsafe { result::get_program_log(program.0) }.map_err(failed)?;
    // SAFETY: the log ends with a zero.
    let log = unsafe { CStr::from_ptr(log.as_ptr()) }.to_string_lossy().into_owned();
    compiled.map_err(|e| format!("{}: {log}", failed(e)))?;
    let image = program.image().map_err(failed)?;
    Ok(Compiled { image, log })
}

struct Program(sys::nvrtcProgram);

impl Program {
    fn image(&self) -> Result<Vec<u8>, NvrtcError> {
        let mut n_bytes = 0;
        // SAFETY: the program lives, and was compiled for a device and not to PTX.
        unsafe { sys::nvrtcGetCUBINSize(self.0, &mut n_bytes) }.result()?;
        let mut image = vec![0_u8; n_bytes];
        // SAFETY: as above, and there is room for as much as was just said.
        unsafe { sys::nvrtcGetCUBIN(self.0, image.as_mut_ptr().cast()) }.result()?;
        Ok(image)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // SAFETY: nobody has it any more. What could fail, leaves a leak at worst.
        let _ = unsafe { result::destroy_program(self.0) };
    }
}

#[cfg(test)]
mod tests {
    use rayon::prelude::*;

    use super::*;

    /// Every source in every format, for these heads.
    fn variants(heads: &[(u32, u32)]) -> Vec<Variant> {
        let mut variants = Vec::new();
        for format in [FloatFormat::F32, FloatFormat::F16, FloatFormat::Bf16] {
            for source in Source::ALL {
                // The tensor cores multiply halves.
                let is_none = source == Source::BlockAttention && format == FloatFormat::F32;
                if !source.knows_heads() {
                    variants.push(Variant { source, format, heads: None });
                } else if !is_none {
                    let heads = heads.iter().map(|&(dim, group)| HeadShape { dim, group });
                    variants.extend(heads.map(|it| Variant { source, format, heads: Some(it) }));
                }
            }
        }
        variants
    }

    /// For every generation that there are kernels for; none keeps numbers of an inner loop in
    /// memory for want of registers.
    #[test]
    fn every_cuda_kernel_compiles_for_every_generation() {
        let all_heads = [(16, 2), (64, 3), (64, 8), (128, 4), (128, 7), (128, 16)];
        let wanted: Vec<(Version, Variant)> = [(8, 0), (8, 9), (9, 0), (10, 0)]
            .into_iter()
            .flat_map(|(major, minor)| {
                let heads = if major == 9 { &all_heads[..] } else { &[(128, 4)] };
                variants(heads).into_iter().map(move |it| (Version { major, minor }, it))
            })
            .collect();
        assert_eq!(wanted.len(), 3 * 17 + 42);
        wanted.par_iter().for_each(|(capability, variant)| {
            let compiled = compile(variant, *capability);
            let Compiled { image, log } = compiled.unwrap_or_else(|problem| {
                panic!("{variant:?} for {capability}: {problem}");
            });
            assert!(image.starts_with(b"\x7fELF"), "{variant:?}");
            for frame in log.lines().filter(|line| line.contains("bytes spill stores")) {
                let none = "0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads";
                assert!(frame.contains(none), "{variant:?} for {capability}: {frame}");
            }
            assert!(log.contains("registers"), "the compiler tells nothing of registers");
        });
    }

    #[test]
    fn what_does_not_compile_says_why() {
        let heads = Some(HeadShape { dim: 12, group: 2 });
        let (source, format) = (Source::BlockAttention, FloatFormat::F32);
        let variant = Variant { source, format, heads };
        let problem = compile(&variant, Version { major: 9, minor: 0 }).unwrap_err();
        assert!(problem.contains("error"), "{problem}");
    }
}
