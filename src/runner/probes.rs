//! What probes hold from round to round: memory that was touched in an earlier round costs the next
//! one no page faults.

use std::collections::HashMap;

use crate::case::Operands;
use crate::device::Device;
use crate::error::Result;
use crate::measure::Workload;
use crate::probe::{ProbeKind, ProbeSizes};
use crate::workload::{DeviceProbes, GemmProbe, MemoryProbe, ProbeMemory};

/// Probes that have run, with their memory.
#[derive(Debug, Default)]
pub(super) struct Probes {
    /// One for each format, whatever the number of threads.
    products: HashMap<Operands, GemmProbe>,
    /// What all walks share.
    memory: Option<ProbeMemory>,
    /// Those of a device that is not the processor.
    on_device: Option<DeviceProbes>,
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
        device: &Device,
        kind: ProbeKind,
        sizes: ProbeSizes,
        seed: u64,
    ) -> Result<(Round<'_>, &'static str, bool)> {
        if self.on_device.is_none() {
            self.on_device = DeviceProbes::new(device)?;
        }
        if let Some(probes) = &mut self.on_device {
            return probes.workload(kind, sizes, seed);
        }
        match kind {
            ProbeKind::Gemm { operands } => {
                let is_new = !self.products.contains_key(&operands);
                if is_new {
                    let probe = GemmProbe::new(operands, sizes.gemm_size, seed)?;
                    self.products.insert(operands, probe);
                }
                let probe = self.products.get_mut(&operands).expect("it was just put there");
                probe.begin_round();
                let kernel = probe.kernel();
                Ok((Box::new(probe), kernel, is_new))
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
            ProbeKind::Transfer { .. } | ProbeKind::PeerTransfer => {
                panic!("the plan has no transfers for a processor")
            }
        }
    }

    /// Frees what none of `kinds` uses.
    pub fn keep_only(&mut self, kinds: &[ProbeKind]) {
        self.products.retain(|&operands, _| kinds.contains(&ProbeKind::Gemm { operands }));
        if !kinds.iter().any(|kind| matches!(kind, ProbeKind::Memory { .. })) {
            self.memory = None;
        }
        if let Some(probes) = &mut self.on_device {
            probes.keep_only(kinds);
        }
    }
}
