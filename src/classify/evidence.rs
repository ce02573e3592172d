//! What result files prove of one device: the best floor for each metric, each from one existence
//! claim. Typical values are never looked at.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::case::{Dtype, Operands};
use crate::classify::interval::{Basis, BasisKind, End};
use crate::classify::metric::Metric;
use crate::error::{Error, Result};
use crate::result::file::{
    CaseFile, CheckFile, ClaimsFile, DtypeFile, ExistenceFile, QuantityFile, ResultFile,
};

/// A file with the name that the output calls it by.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The name.
    pub name: &'a str,
    /// What it holds.
    pub file: &'a ResultFile,
}

/// What the files of one device prove.
#[derive(Clone, Debug)]
pub struct Evidence<'a> {
    /// The device as the machine names it; absent where the file does not tell.
    pub reported_name: Option<&'a str>,
    /// Whether it is the processor.
    pub is_cpu: bool,
    /// The files.
    pub sources: Vec<Source<'a>>,
    /// Why they are taken as one device.
    pub identity: Identity,
    /// Lower ends, at most one for each metric.
    pub floors: Vec<(Metric, End)>,
    /// Packages that the run may have used; absent where nobody knows.
    pub packages: Option<u32>,
    /// What limits the proof, in sentences.
    pub notes: Vec<String>,
}

/// Why files are taken as one device. A result file tells one card from another of its kind only
/// where the driver gave a UUID, and processors never: cards of one host or of two are called alike,
/// and so are virtual machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// They are of one run, and a run has one device.
    OneRun,
    /// The user says so.
    Declared,
}

impl Identity {
    /// The word of the output.
    pub fn name(self) -> &'static str {
        match self {
            Identity::OneRun => "one_run",
            Identity::Declared => "declared",
        }
    }
}

impl<'a> Evidence<'a> {
    /// Sorts files by device, which are as many as there were runs, and takes the best of each.
    /// `packages` is what the user declares.
    ///
    /// # Errors
    /// [`Error::PerhapsSeveralDevices`] for a file that was merged from several runs.
    pub fn by_device(sources: &[Source<'a>], packages: Option<u32>) -> Result<Vec<Evidence<'a>>> {
        let mut devices: Vec<Evidence> = Vec::new();
        let mut of_run: HashMap<&str, usize> = HashMap::new();
        for source in sources {
            let run = &source.file.run;
            if run.merged.len() > 1 {
                return Err(Error::PerhapsSeveralDevices {
                    path: source.name.into(),
                    n_runs: run.merged.len(),
                });
            }
            let of_same = of_run.get(run.id.as_str()).map(|i| &mut devices[*i]);
            // A run that tells of two machines is not one that this tool wrote.
            match of_same.filter(|known| difference(known.sources[0].file, source.file).is_none()) {
                Some(known) => known.sources.push(*source),
                None => {
                    of_run.insert(&run.id, devices.len());
                    devices.push(Evidence::new(*source, Identity::OneRun, packages));
                }
            }
        }
        devices.iter_mut().for_each(Evidence::take_best);
        Ok(devices)
    }

    /// All files as one device, since the user says that it is one.
    ///
    /// # Errors
    /// [`Error::NotOneDevice`] where they describe it differently.
    pub fn of_one_device(sources: &[Source<'a>], packages: Option<u32>) -> Result<Evidence<'a>> {
        let Some((first, others)) = sources.split_first() else {
            return Err(Error::NothingToClassify);
        };
        let mut device = Evidence::new(*first, Identity::Declared, packages);
        for other in others {
            if let Some(fact) = difference(first.file, other.file) {
                return Err(Error::NotOneDevice {
                    first: first.name.into(),
                    other: other.name.into(),
                    fact,
                });
            }
            device.sources.push(*other);
        }
        device.take_best();
        Ok(device)
    }

    fn new(source: Source<'a>, identity: Identity, packages: Option<u32>) -> Self {
        let is_cpu = source.file.plan.device == "cpu";
        let environment = &source.file.environment;
        let (model, packages_told) = match is_cpu {
            true => (environment.cpu.model.as_deref(), environment.cpu.sockets),
            false => (environment.gpu.as_ref().and_then(|gpu| gpu.model.as_deref()), Some(1)),
        };
        Evidence {
            reported_name: model,
            is_cpu,
            sources: vec![source],
            identity,
            floors: Vec::new(),
            packages: packages.or(packages_told).filter(|packages| *packages > 0),
            notes: Vec::new(),
        }
    }

    /// A name to call it by.
    pub fn name(&self) -> String {
        let file = self.sources[0].file;
        match (self.reported_name, self.is_cpu) {
            (Some(name), _) => name.to_owned(),
            (None, true) => "an unnamed processor".into(),
            (None, false) => format!("{} (not named in the file)", file.plan.device),
        }
    }

    fn take_best(&mut self) {
        let mut best: [Option<(f64, Basis)>; 2] = [None, None];
        let mut refused = 0_u64;
        let mut outdated: BTreeMap<&str, u64> = BTreeMap::new();
        for source in &self.sources {
            for record in records(source.file) {
                for claim in &record.claims.existence {
                    if !claim.is_proof() {
                        *outdated.entry(&claim.definition).or_default() += 1;
                        continue;
                    }
                    let Some((metric, value)) = floor(claim, &record) else {
                        refused += 1;
                        continue;
                    };
                    let best = &mut best[usize::from(metric == Metric::DramBandwidth)];
                    if best.as_ref().is_none_or(|(highest, _)| value > *highest) {
                        *best = Some((value, basis(claim, &record, source.name)));
                    }
                }
            }
        }
        let metrics = [Metric::Tpp, Metric::DramBandwidth];
        for (metric, (value, basis)) in
            metrics.into_iter().zip(best).filter_map(|(m, b)| Some((m, b?)))
        {
            if let Some(end) = self.per_package(value, basis) {
                self.floors.push((metric, end));
            }
        }
        if refused > 0 {
            self.notes.push(format!(
                "{refused} claim(s) do not fit the record they stand in; they are left out"
            ));
        }
        for (definition, n) in outdated {
            self.notes.push(format!(
                "{n} claim(s) count by {definition}, which this version does not take as proof; they \
                 are left out, and a new run claims anew"
            ));
        }
        self.add_notes();
    }

    /// Rules count a package; a run may have used several. One of them did its share at least.
    fn per_package(&self, value: f64, basis: Basis) -> Option<End> {
        match self.packages? {
            1 => End::new(value, basis),
            n => {
                let text =
                    format!("{}; divided by {n} packages, one of which did that much", basis.text);
                End::new(rounded_down(value / f64::from(n)), Basis { text, ..basis })
            }
        }
    }

    fn add_notes(&mut self) {
        if self.packages.is_none() {
            self.notes.push(
                "the file does not say how many packages the run used, so that nothing is proved \
                 of one; --packages N declares it"
                    .into(),
            );
        }
        let is_virtual = |s: &Source| s.file.environment.cpu.hypervisor == Some(true);
        if self.is_cpu && self.sources.iter().any(is_virtual) {
            self.notes.push(
                "measured on a virtual machine: its name, packages and caches are what that tells"
                    .into(),
            );
        }
        let mut runs: BTreeSet<&str> = BTreeSet::new();
        for source in &self.sources {
            let run = &source.file.run;
            match &run.merged[..] {
                [] => drop(runs.insert(&run.id)),
                merged => runs.extend(merged.iter().map(|run| run.id.as_str())),
            }
        }
        let n_runs = runs.len();
        if n_runs > 1 {
            // Files whose UUIDs differ were refused before. A merged file tells that of its first run.
            let has_uuid = |s: &Source| {
                let gpu = s.file.environment.gpu.as_ref();
                s.file.run.merged.is_empty() && gpu.is_some_and(|gpu| gpu.uuid_sha256.is_some())
            };
            let shown = match self.sources.iter().all(has_uuid) {
                true => "their driver gives the same UUID in all of them",
                false => "nothing in the files shows it",
            };
            self.notes.push(format!(
                "{n_runs} runs are taken as one device because --one-device says so; {shown}"
            ));
        }
    }
}

/// The first fact of which two files say something that cannot both be so of one device.
fn difference(a: &ResultFile, b: &ResultFile) -> Option<String> {
    let facts = |file: &ResultFile| {
        let (cpu, gpu) = (&file.environment.cpu, file.environment.gpu.as_ref());
        let text = |fact: &Option<String>| fact.clone();
        let number = |fact: Option<u64>| fact.map(|value| value.to_string());
        [
            ("plan.device", Some(file.plan.device.clone())),
            ("cpu.model", text(&cpu.model)),
            ("cpu.vendor", text(&cpu.vendor)),
            ("cpu.architecture", Some(cpu.architecture.clone())),
            ("cpu.sockets", number(cpu.sockets.map(u64::from))),
            ("cpu.physical_cores", number(Some(cpu.physical_cores.into()))),
            ("cpu.last_level_cache_bytes", number(cpu.last_level_cache_bytes.map(|bytes| bytes.0))),
            ("cpu.hypervisor", cpu.hypervisor.map(|is| is.to_string())),
            ("gpu.model", gpu.and_then(|gpu| text(&gpu.model))),
            ("gpu.uuid_sha256", gpu.and_then(|gpu| text(&gpu.uuid_sha256))),
            ("gpu.compute_capability", gpu.and_then(|gpu| text(&gpu.compute_capability))),
            ("gpu.l2_cache_bytes", number(gpu.and_then(|gpu| gpu.l2_cache_bytes).map(|b| b.0))),
            ("gpu.memory_bytes", number(gpu.and_then(|gpu| gpu.memory_bytes).map(|b| b.0))),
        ]
    };
    let (a, b) = (facts(a), facts(b));
    a.into_iter().zip(b).find_map(|((name, a), (_, b))| {
        let (a, b) = (a?, b?);
        (a != b).then(|| format!("{name} is {a} in one and {b} in the other"))
    })
}

/// A case or a ceiling, with what its claims must fit.
pub struct Record<'a> {
    /// Its id.
    pub id: &'a str,
    /// Its claims.
    pub claims: &'a ClaimsFile,
    check: Option<&'a CheckFile>,
    dtype: Option<&'a str>,
    flops: u64,
    bytes: u64,
}

/// Every record with claims.
pub fn records(file: &ResultFile) -> impl Iterator<Item = Record<'_>> {
    let ceilings = file.ceilings.iter().filter_map(|ceiling| {
        Some(Record {
            id: &ceiling.id,
            claims: ceiling.claims.as_ref()?,
            check: ceiling.check.as_ref(),
            dtype: ceiling.dtype.as_ref().map(DtypeFile::as_str),
            flops: ceiling.flops.0,
            bytes: ceiling.bytes.0,
        })
    });
    ceilings.chain(file.cases.iter().filter_map(of_case))
}

/// A case as a record.
pub fn of_case(case: &CaseFile) -> Option<Record<'_>> {
    Some(Record {
        id: &case.id,
        claims: case.claims.as_ref()?,
        check: case.check.as_ref(),
        dtype: Some(case.axes.dtype.as_str()),
        flops: case.work.flops.0,
        bytes: case.work.bytes_min.0,
    })
}

/// What a claim proves of a metric. A claim that says more than its record can bear proves
/// nothing: a wider operand than what was stored, more work than a pass has, no check; and so does
/// one that counts by a definition that is no longer, or not yet, that of claims.
pub fn floor(claim: &ExistenceFile, record: &Record) -> Option<(Metric, f64)> {
    if !claim.is_proof() || record.check.is_none_or(|check| check.reference != claim.check) {
        return None;
    }
    match claim.quantity {
        QuantityFile::Operations => {
            let bits = counted_bits(claim.operand_bits?, record.dtype?)?;
            let tpp = claim.per_second_at_least / 1e12 * f64::from(bits);
            (claim.work <= record.flops).then(|| (Metric::Tpp, rounded_down(tpp)))
        }
        QuantityFile::Bytes => {
            let rate = rounded_down(claim.per_second_at_least / 1e9);
            (claim.work <= record.bytes).then_some((Metric::DramBandwidth, rate))
        }
    }
}

/// Bits that a claim's multiplications count: the claim's own, which are those of the multiply
/// and not of what was stored, as long as the record bears them. Those of f32 on a device that is not
/// the processor are 19 in the claim already.
pub fn counted_bits(claimed: u32, dtype: &str) -> Option<u32> {
    let operands = dtype.parse::<Operands>().or_else(|_| dtype.parse().map(Dtype::operands));
    let widest = operands.ok()?.bits();
    (1..=widest).contains(&claimed).then_some(claimed)
}

/// A floor after a few roundings, each of half a unit in the last place at most.
fn rounded_down(value: f64) -> f64 {
    value * (1.0 - 4.0 * f64::EPSILON)
}

fn basis(claim: &ExistenceFile, record: &Record, source: &str) -> Basis {
    let what = match claim.quantity {
        QuantityFile::Operations => "operations",
        QuantityFile::Bytes => "bytes",
    };
    let bits = claim
        .operand_bits
        .and_then(|bits| counted_bits(bits, record.dtype?))
        .map_or_else(String::new, |bits| format!(" × {bits} bits"));
    let text = format!(
        "{source}: {}, {} {what} in {} + {} ns{bits}",
        record.id, claim.work, claim.bracket_ns, claim.clock_resolution_ns
    );
    Basis { kind: BasisKind::Measured, text, grade: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::file::ReferenceFile;

    fn claim(quantity: QuantityFile, bits: Option<u32>, work: u64) -> ExistenceFile {
        ExistenceFile {
            definition: match quantity {
                QuantityFile::Operations => "dense_operations.v1".into(),
                QuantityFile::Bytes => "bytes_beyond_caches.v2".into(),
            },
            quantity,
            operand_bits: bits,
            work,
            bracket_ns: 1_000_000,
            clock_resolution_ns: 0,
            round_idx: 0,
            pass_idx: 0,
            check: ReferenceFile::TeacherForced,
            per_second_at_least: work as f64 * 1e3,
            tpp_at_least: None,
        }
    }

    fn proved(claim: &ExistenceFile, dtype: &str) -> Option<(Metric, f64)> {
        let check = CheckFile {
            reference: ReferenceFile::TeacherForced,
            description: String::new(),
            passes: 1,
            values: 1,
            max_error: 0.0,
            tolerance: 0.1,
        };
        let claims = ClaimsFile {
            existence: vec![],
            absent: Default::default(),
            typical: None,
            provisos: vec![],
        };
        let record = Record {
            id: "x",
            claims: &claims,
            check: Some(&check),
            dtype: Some(dtype),
            flops: 2_000_000_000,
            bytes: 2_000_000_000,
        };
        floor(claim, &record)
    }

    #[test]
    fn a_floor_is_its_claim_and_never_more() {
        let operations = claim(QuantityFile::Operations, Some(16), 1_000_000_000);
        let (metric, tpp) = proved(&operations, "f16").unwrap();
        // 10¹² operations per second at 16 bits, lowered by what rounding may have added.
        assert!(metric == Metric::Tpp && tpp < 16.0 && tpp > 16.0 - 1e-13);
        let bytes = claim(QuantityFile::Bytes, None, 1_000_000_000);
        let (metric, rate) = proved(&bytes, "f16").unwrap();
        assert!(metric == Metric::DramBandwidth && rate < 1000.0 && rate > 999.9999999);
    }

    #[test]
    fn claims_that_their_record_cannot_bear_prove_nothing() {
        for (changed, dtype) in [
            (claim(QuantityFile::Operations, Some(32), 1), "f16"),
            (claim(QuantityFile::Operations, Some(0), 1), "f16"),
            (claim(QuantityFile::Operations, None, 1), "f16"),
            (claim(QuantityFile::Operations, Some(16), 2_000_000_001), "f16"),
            (claim(QuantityFile::Operations, Some(8), 1), "q8"),
            (claim(QuantityFile::Bytes, None, 2_000_000_001), "f16"),
            (
                ExistenceFile {
                    definition: "bytes_beyond_caches.v1".into(),
                    ..claim(QuantityFile::Bytes, None, 1)
                },
                "f16",
            ),
            (
                ExistenceFile {
                    check: ReferenceFile::Other("other".into()),
                    ..claim(QuantityFile::Bytes, None, 1)
                },
                "f16",
            ),
        ] {
            assert_eq!(proved(&changed, dtype), None, "{changed:?}");
        }
    }

    #[test]
    fn weight_only_4_bit_counts_its_multiply_width() {
        // Weights of 4 bits that are multiplied in f16 claim 16; multiplied as int8 they claim 8.
        // The claim's width is taken, and never one wider than what took part.
        assert_eq!(counted_bits(16, "f16"), Some(16));
        assert_eq!(counted_bits(8, "f16"), Some(8));
        assert_eq!(counted_bits(32, "f16"), None);
    }
}
