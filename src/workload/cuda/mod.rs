//! The probes of an NVIDIA device. An iteration of them is a whole pass, launched at once and waited
//! for once, so that what launching and waiting take is a hundredth of it or less.

mod gemm;
mod memory;
mod peer;
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
use peer::{PeerMemory, PeerTransfer};
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
    /// What all transfers between host and device share.
    transfers: Option<TransferMemory>,
    /// What is copied to the next device.
    peer: Option<PeerMemory>,
}

impl DeviceProbes {
    /// Probes of a device; absent for the processor, which has its own.
    ///
    /// # Errors
    /// [`crate::Error::Engine`] with what the driver says.
    pub fn new(device: &Device) -> Result<Option<Self>> {
        let Some(context) = Context::of(device.engine())? else { return Ok(None) };
        Ok(Some(Self {
            context,
            products: HashMap::new(),
            memory: None,
            transfers: None,
            peer: None,
        }))
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
                let new = || WalkMemory::new(context, sizes.working_set, seed);
                let (memory, is_new) = held(&mut self.memory, new)?;
                let walk = DeviceWalk::new(context, memory, access, seed)?;
                Ok((Box::new(walk), "cuda", is_new))
            }
            ProbeKind::PeerTransfer => {
                let new = || PeerMemory::new(context, sizes.transfer, seed);
                let (memory, is_new) = held(&mut self.peer, new)?;
                let kernel = memory.kernel();
                Ok((Box::new(PeerTransfer::new(context, memory, seed)), kernel, is_new))
            }
            ProbeKind::Transfer { direction } => {
                let new = || TransferMemory::new(context, sizes.transfer, seed);
                let (memory, is_new) = held(&mut self.transfers, new)?;
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
        if !kinds.contains(&ProbeKind::PeerTransfer) {
            self.peer = None;
        }
    }
}

/// What is held, or made now, and whether it is new.
fn held<T>(slot: &mut Option<T>, new: impl FnOnce() -> Result<T>) -> Result<(&mut T, bool)> {
    match slot {
        Some(held) => Ok((held, false)),
        None => Ok((slot.insert(new()?), true)),
    }
}

/// Word `index` of what [`crate::kernels::cuda::draw_words`] draws: two f32 between 1 and 2.
fn word(stream: Stream, index: usize) -> u64 {
    stream.bits(index as u64) & 0x007f_ffff_007f_ffff | 0x3f80_0000_3f80_0000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::DeviceSpec;
    use crate::probe::{Direction, Probe};
    use crate::units::Bytes;

    /// A probe that multiplies or copies nothing is found out, and one that does its work is not.
    #[test]
    fn products_and_transfers_are_checked() {
        let spec = DeviceSpec::Cuda { ordinal: 0 };
        let Some((device, _turn)) = Device::for_test(spec) else { return };
        let mut probes = DeviceProbes::new(&device).unwrap().unwrap();
        let sizes = ProbeSizes {
            gemm_size: 256,
            transfer: Bytes(1 << 20),
            ..ProbeSizes::for_device(None, None)
        };
        let products = Operands::NAMES.map(|(_, operands)| ProbeKind::Gemm { operands });
        let transfers = Direction::ALL.map(|direction| ProbeKind::Transfer { direction });
        for kind in [&products[..], &transfers[..], &[ProbeKind::PeerTransfer]].concat() {
            let probe = Probe { kind, device: spec, n_threads: 1 };
            if let Some(obstacle) = probe.obstacle(device.capability(), device.n_devices()) {
                use std::io::Write;
                let _ = writeln!(std::io::stderr(), "skipped {}: {obstacle}", probe.id());
                continue;
            }
            let (mut workload, kernel, _) = probes.workload(kind, sizes, 1).unwrap();
            assert!(kernel.starts_with("cu"), "{kernel}");
            for works in [false, true, false, true] {
                workload.reset().unwrap();
                if works {
                    workload.iterate().unwrap();
                }
                assert_eq!(workload.check().unwrap().passed().is_ok(), works, "{}", probe.id());
            }
        }
    }
}
