//! The probes of an NVIDIA device. An iteration of them is a whole pass, launched at once and waited
//! for once, so that what launching and waiting take is a hundredth of it or less.

mod gemm;
mod memory;
mod transfer;

use std::collections::HashMap;
use std::sync::Arc;

use crate::case::Operands;
use crate::device::Device;
use crate::error::Result;
use crate::kernels::cuda::Context;
use crate::measure::Workload;
use crate::model::random::Stream;
use crate::probe::{ProbeKind, ProbeSizes};
use gemm::DeviceGemm;
use memory::{DeviceWalk, WalkMemory};
use transfer::{DeviceTransfer, TransferMemory};

/// Words that are looked at after a pass; each is a copy of its own.
const N_SAMPLES: u64 = 256;

/// Probes that have run on a device, with their memory there.
#[derive(Debug)]
pub struct DeviceProbes {
    context: Arc<Context>,
    /// One for each format.
    products: HashMap<Operands, DeviceGemm>,
    /// What all walks share.
    memory: Option<WalkMemory>,
    /// What all transfers share.
    transfers: Option<TransferMemory>,
}

impl DeviceProbes {
    /// Probes of a device; absent for the processor, which has its own.
    ///
    /// # Errors
    /// [`crate::Error::Engine`] with what the driver says.
    pub fn new(device: &Device) -> Result<Option<Self>> {
        let Some(context) = Context::of(device.engine())? else { return Ok(None) };
        Ok(Some(Self { context, products: HashMap::new(), memory: None, transfers: None }))
    }

    /// The probe for a round of `kind`, the name of its kernel, and whether its memory is new.
    ///
    /// # Errors
    /// [`crate::Error::Engine`] if there is no memory for it, or no kernel.
    pub fn workload(
        &mut self,
        kind: ProbeKind,
        sizes: ProbeSizes,
        seed: u64,
    ) -> Result<(Box<dyn Workload + '_>, &'static str, bool)> {
        let context = &self.context;
        match kind {
            ProbeKind::Gemm { operands } => {
                let is_new = !self.products.contains_key(&operands);
                if is_new {
                    let probe = DeviceGemm::new(context, operands, sizes.gemm_size, seed)?;
                    self.products.insert(operands, probe);
                }
                let probe = self.products.get_mut(&operands).expect("it was just put there");
                Ok((Box::new(probe), "cublaslt", is_new))
            }
            ProbeKind::Memory { access } => {
                let is_new = self.memory.is_none();
                if is_new {
                    self.memory = Some(WalkMemory::new(context, sizes.working_set, seed)?);
                }
                let memory = self.memory.as_mut().expect("it was just put there");
                let walk = DeviceWalk::new(context, memory, access, seed)?;
                Ok((Box::new(walk), "cuda", is_new))
            }
            ProbeKind::Transfer { direction } => {
                let is_new = self.transfers.is_none();
                if is_new {
                    self.transfers = Some(TransferMemory::new(context, sizes.transfer, seed)?);
                }
                let memory = self.transfers.as_mut().expect("it was just put there");
                let transfer = DeviceTransfer::new(context, memory, direction, seed);
                Ok((Box::new(transfer), "cuda", is_new))
            }
        }
    }

    /// Frees what none of `kinds` uses.
    pub fn keep_only(&mut self, kinds: &[ProbeKind]) {
        self.products.retain(|&operands, _| kinds.contains(&ProbeKind::Gemm { operands }));
        if !kinds.iter().any(|kind| matches!(kind, ProbeKind::Memory { .. })) {
            self.memory = None;
        }
        if !kinds.iter().any(|kind| matches!(kind, ProbeKind::Transfer { .. })) {
            self.transfers = None;
        }
    }
}

/// Word `index` of what [`crate::kernels::cuda::draw_words`] draws: two f32 between 1 and 2.
fn word(stream: Stream, index: usize) -> u64 {
    stream.bits(index as u64) & 0x007f_ffff_007f_ffff | 0x3f80_0000_3f80_0000
}
