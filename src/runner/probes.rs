//! What probes hold from round to round: memory that was touched in an earlier round costs the next
//! one no page faults.

use std::collections::HashMap;

use half::{bf16, f16};

use crate::case::Dtype;
use crate::error::Result;
use crate::measure::Workload;
use crate::probe::{ProbeKind, ProbeSizes};
use crate::workload::{GemmProbe, MemoryProbe, ProbeMemory};

/// Probes that have run, with their memory.
#[derive(Debug, Default)]
pub(super) struct Probes {
    /// One for each format, whatever the number of threads.
    products: HashMap<Dtype, Product>,
    /// What all walks share.
    memory: Option<ProbeMemory>,
}

#[derive(Debug)]
enum Product {
    F32(GemmProbe<f32>),
    F16(GemmProbe<f16>),
    Bf16(GemmProbe<bf16>),
}

impl Product {
    fn new(dtype: Dtype, sizes: ProbeSizes, seed: u64) -> Result<Self> {
        Ok(match dtype {
            Dtype::F32 => Self::F32(GemmProbe::new(sizes.gemm_size, seed)?),
            Dtype::F16 => Self::F16(GemmProbe::new(sizes.gemm_size, seed)?),
            Dtype::BF16 => Self::Bf16(GemmProbe::new(sizes.gemm_size, seed)?),
        })
    }

    fn round(&mut self) -> (&mut dyn Workload, &'static str) {
        match self {
            Self::F32(probe) => {
                probe.begin_round();
                let kernel = probe.kernel();
                (probe, kernel)
            }
            Self::F16(probe) => {
                probe.begin_round();
                let kernel = probe.kernel();
                (probe, kernel)
            }
            Self::Bf16(probe) => {
                probe.begin_round();
                let kernel = probe.kernel();
                (probe, kernel)
            }
        }
    }
}

/// A probe for one round.
pub(super) type Round<'a> = Box<dyn Workload + 'a>;

impl Probes {
    /// The probe for a round of `kind`, its kernel, and whether its memory is new.
    ///
    /// # Errors
    /// [`crate::Error::Engine`] if there is no memory for it.
    pub fn workload(
        &mut self,
        kind: ProbeKind,
        sizes: ProbeSizes,
        seed: u64,
    ) -> Result<(Round<'_>, &'static str, bool)> {
        match kind {
            ProbeKind::Gemm { dtype } => {
                let is_new = !self.products.contains_key(&dtype);
                if is_new {
                    self.products.insert(dtype, Product::new(dtype, sizes, seed)?);
                }
                let product = self.products.get_mut(&dtype).expect("it was just put there");
                let (workload, kernel) = product.round();
                Ok((Box::new(workload), kernel, is_new))
            }
            ProbeKind::Memory { access } => {
                let is_new = self.memory.is_none();
                if is_new {
                    self.memory = Some(ProbeMemory::new(sizes.working_set, seed)?);
                }
                let memory = self.memory.as_mut().expect("it was just put there");
                let probe = MemoryProbe::new(memory, access, seed);
                let kernel = probe.kernel();
                Ok((Box::new(probe), kernel, is_new))
            }
        }
    }

    /// Frees what none of `kinds` uses.
    pub fn keep_only(&mut self, kinds: &[ProbeKind]) {
        self.products.retain(|dtype, _| kinds.contains(&ProbeKind::Gemm { dtype: *dtype }));
        if !kinds.iter().any(|kind| matches!(kind, ProbeKind::Memory { .. })) {
            self.memory = None;
        }
    }
}
