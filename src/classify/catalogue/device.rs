//! A device: what its specification says, and the metrics that follow from it.

use serde::{Deserialize, Serialize};

use super::figure::{Figure, Grade, Precision};

/// What the inputs of a multiplication are. In the order in which tables show them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum OperandFormat {
    Fp64,
    Fp32,
    Tf32,
    Fp16,
    Bf16,
    /// FP16 and BF16, where a source gives one rate for both.
    Fp16Bf16,
    Fp8,
    Fp6,
    Fp4,
    Int8,
    Int4,
}

impl OperandFormat {
    /// All formats.
    pub const ALL: [Self; 11] = [
        Self::Fp64,
        Self::Fp32,
        Self::Tf32,
        Self::Fp16,
        Self::Bf16,
        Self::Fp16Bf16,
        Self::Fp8,
        Self::Fp6,
        Self::Fp4,
        Self::Int8,
        Self::Int4,
    ];

    /// The key of the rate in a device file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fp64 => "fp64",
            Self::Fp32 => "fp32",
            Self::Tf32 => "tf32",
            Self::Fp16 => "fp16",
            Self::Bf16 => "bf16",
            Self::Fp16Bf16 => "fp16_bf16",
            Self::Fp8 => "fp8",
            Self::Fp6 => "fp6",
            Self::Fp4 => "fp4",
            Self::Int8 => "int8",
            Self::Int4 => "int4",
        }
    }

    /// Length of a multiplication's inputs in bits, as processing performance counts it: never
    /// the accumulator's and never the output's (15 CFR part 774, supplement 1, technical note 1.c
    /// to 3A090.a and .b).
    ///
    /// The note does not say how TF32 counts. Its operands lie in 32 bits, of which the multiplier
    /// sees 19: sign, 8 of exponent, 10 of mantissa. Here it counts 19, because this is the length
    /// that a floor may be built on: whoever reads the note either way agrees that a TF32 rate
    /// proves at least 19 bits an operation. For what a specification allows *at most*, see
    /// [`OperandFormat::bits_at_most`].
    ///
    /// It makes no difference to a device of the embedded catalogue. Where there is TF32 the half
    /// as wide FP16 runs twice as fast, so at 19 bits TF32 never decides, and at 32 it would tie
    /// with FP16 up to the rounding of datasheets; a test holds the catalogue to that.
    pub fn bits(self) -> u32 {
        match self {
            Self::Fp64 => 64,
            Self::Fp32 => 32,
            Self::Tf32 => 19,
            Self::Fp16 | Self::Bf16 | Self::Fp16Bf16 => 16,
            Self::Fp8 | Self::Int8 => 8,
            Self::Fp6 => 6,
            Self::Fp4 | Self::Int4 => 4,
        }
    }

    /// The longest reading of [`OperandFormat::bits`]: 32 for TF32, the same for all others. An
    /// upper end takes this one, since "not reached" must hold under either reading.
    pub fn bits_at_most(self) -> u32 {
        match self {
            Self::Tf32 => 32,
            other => other.bits(),
        }
    }
}

/// Which clock a rate was computed at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Clock {
    /// The clock without boost. The device can run faster.
    Base,
    /// The highest clock.
    Maximum,
}

/// A peak rate without sparsity.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rate {
    /// What is multiplied.
    pub format: OperandFormat,
    /// 10^12 operations per second, a multiply-accumulate counted as two, as datasheets have it.
    pub dense_tera_ops_per_s: Figure,
    /// The processing unit that runs at this rate, where a device has several that add up.
    pub unit: Option<String>,
    /// The clock behind it, where that is known to matter.
    pub clock: Option<Clock>,
}

impl Rate {
    /// Whether the device may be faster than this figure.
    fn may_be_exceeded(&self) -> bool {
        self.clock == Some(Clock::Base) || self.dense_tera_ops_per_s.precision == Precision::AtLeast
    }
}

/// One product of a [`Tpp`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Term<'a> {
    /// The rate that decides on its processing unit.
    pub rate: &'a Rate,
    /// The length it is multiplied with.
    pub bits: u32,
}

impl Term<'_> {
    fn value(&self) -> f64 {
        self.rate.dense_tera_ops_per_s.value * f64::from(self.bits)
    }
}

/// Total processing performance, computed from rates.
#[derive(Clone, Debug, PartialEq)]
pub struct Tpp<'a> {
    /// 2 x MacTOPS x bits, that is 10^12 dense operations per second times bits.
    pub value: f64,
    /// What it is the sum of: one term for each processing unit, so nearly always one.
    pub terms: Vec<Term<'a>>,
}

impl Tpp<'_> {
    /// The weakest grade among its terms.
    pub fn grade(&self) -> Grade {
        let grades = self.terms.iter().map(|term| term.rate.dense_tera_ops_per_s.grade);
        grades.max().unwrap_or(Grade::Unverified)
    }

    /// Whether a term is an estimate or may be exceeded.
    pub fn is_rough(&self) -> bool {
        self.terms.iter().any(|Term { rate, .. }| {
            rate.dense_tera_ops_per_s.precision != Precision::Stated || rate.may_be_exceeded()
        })
    }

    /// The products it is the sum of: `1979 x 8 bits (fp8)`.
    pub fn arithmetic(&self) -> String {
        let term = |term: &Term| {
            let rate = term.rate;
            let value = rate.dense_tera_ops_per_s.value;
            format!("{value} x {} bits ({})", term.bits, rate.format.name())
        };
        self.terms.iter().map(term).collect::<Vec<_>>().join(" + ")
    }
}

/// The most that a specification allows.
#[derive(Clone, Debug, PartialEq)]
pub enum TppUpper<'a> {
    /// What the maker publishes.
    Published(&'a Figure),
    /// What follows from the rates.
    Computed(Tpp<'a>),
}

impl TppUpper<'_> {
    /// The number.
    pub fn value(&self) -> f64 {
        match self {
            TppUpper::Published(figure) => figure.value,
            TppUpper::Computed(tpp) => tpp.value,
        }
    }

    /// How well it is supported.
    pub fn grade(&self) -> Grade {
        match self {
            TppUpper::Published(figure) => figure.grade,
            TppUpper::Computed(tpp) => tpp.grade(),
        }
    }
}

/// Whether a device is designed or marketed for datacenters. No rule defines it; this says how
/// its maker presents it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Marketing {
    /// It is.
    Datacenter,
    /// It is not.
    NotDatacenter,
    /// Nobody said.
    #[default]
    Unknown,
}

/// The area that performance density is taken over.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DieArea {
    /// Square millimetres. An alternative's note says what it includes.
    pub mm2: Figure,
    /// The dies that the value counts. The rule asks for all logic dies made on a node with
    /// non-planar transistors (technical note 4 to 3A090), I/O dies included and HBM left out.
    pub includes: String,
}

/// A device of a catalogue.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Device {
    /// Its name, unique in its catalogue.
    pub name: String,
    /// Its maker.
    pub vendor: String,
    /// The year in which it came out or was announced.
    pub year: Option<u16>,
    /// Names that drivers and processors report for it, and for no other.
    pub aliases: Vec<String>,
    /// Whether it is marketed for datacenters.
    pub marketing: Marketing,
    /// Peak rates without sparsity, by format.
    pub rates: Vec<Rate>,
    /// The area of its logic dies.
    pub die_area: Option<DieArea>,
    /// Memory attached to it or packaged with it, in 10^9 bytes.
    pub memory_gb: Option<Figure>,
    /// What kind of memory that is.
    pub memory_kind: Option<String>,
    /// Bandwidth of that memory, in 10^9 bytes per second; 0 if it is known to have none.
    pub memory_bandwidth_gb_per_s: Option<Figure>,
    /// Bandwidth of its links, both directions together, as makers quote it: links between
    /// devices alone, or PCIe where there is none. All inputs and outputs together are more, so
    /// this is no upper end for a test on those.
    pub io_bandwidth_gb_per_s: Option<Figure>,
    /// Power in watts.
    pub tdp_w: Option<Figure>,
    /// Total processing performance as the maker publishes it for one device.
    pub tpp_published: Option<Figure>,
    /// What else a reader must know.
    pub notes: Option<String>,
}

impl Device {
    /// The rate of a format. FP16 and BF16 are also found where they share one figure.
    pub fn rate(&self, format: OperandFormat) -> Option<&Rate> {
        use OperandFormat::{Bf16, Fp16, Fp16Bf16};
        let of = |format| self.rates.iter().find(|rate| rate.format == format);
        of(format).or_else(|| matches!(format, Fp16 | Bf16).then(|| of(Fp16Bf16)).flatten())
    }

    /// Total processing performance from the rates: the highest product of dense rate and bits,
    /// summed over processing units (technical notes 1 and 2 to 3A090.a and .b). [`None`] without
    /// rates.
    pub fn tpp_computed(&self) -> Option<Tpp<'_>> {
        self.tpp_with(OperandFormat::bits)
    }

    /// The most total processing performance that the specification allows: what the maker
    /// publishes, else what the rates give with every format at its longest. [`None`] if there is
    /// neither, or if a rate may be exceeded, being "at least" or at the base clock: the
    /// definition asks for the highest value that is possible. A format that the specification
    /// leaves out is taken to be no faster than those it has.
    pub fn tpp_upper(&self) -> Option<TppUpper<'_>> {
        if let Some(published) = &self.tpp_published {
            return Some(TppUpper::Published(published));
        }
        if self.rates.iter().any(Rate::may_be_exceeded) {
            return None;
        }
        self.tpp_with(OperandFormat::bits_at_most).map(TppUpper::Computed)
    }

    /// The total processing performance to show: as published, else as computed. Never a mean of
    /// the two.
    pub fn tpp(&self) -> Option<f64> {
        let published = self.tpp_published.as_ref().map(|figure| figure.value);
        published.or_else(|| self.tpp_computed().map(|tpp| tpp.value))
    }

    /// [`Device::tpp`] per square millimetre, with the die area's first reading.
    pub fn performance_density(&self) -> Option<f64> {
        Some(self.tpp()? / self.die_area.as_ref()?.mm2.value)
    }

    /// Lowest and highest [`Device::performance_density`] over all readings of the die area. An
    /// area that is only known to be at most something leaves the upper end open, at infinity;
    /// one that is at least something leaves the lower end at 0.
    pub fn performance_densities(&self) -> Option<(f64, f64)> {
        let area = &self.die_area.as_ref()?.mm2;
        let tpp = self.tpp()?;
        let readings = || std::iter::once(area).chain(&area.alternatives);
        let is_any = |precision| readings().any(|reading| reading.precision == precision);
        let (small, large) = area.range();
        let low = if is_any(Precision::AtLeast) { 0.0 } else { tpp / large };
        let high = if is_any(Precision::AtMost) { f64::INFINITY } else { tpp / small };
        Some((low, high))
    }

    fn tpp_with(&self, bits: fn(OperandFormat) -> u32) -> Option<Tpp<'_>> {
        let mut terms: Vec<Term> = Vec::new();
        for rate in &self.rates {
            let term = Term { rate, bits: bits(rate.format) };
            match terms.iter_mut().find(|best| best.rate.unit == rate.unit) {
                Some(best) if decides(&term, best) => *best = term,
                Some(_) => {}
                None => terms.push(term),
            }
        }
        let value = terms.iter().map(Term::value).sum();
        (!terms.is_empty()).then_some(Tpp { value, terms })
    }
}

/// Whether a term is higher than the best so far, or as high and better supported.
fn decides(term: &Term, best: &Term) -> bool {
    let grade = |term: &Term| term.rate.dense_tera_ops_per_s.grade;
    let (value, highest) = (term.value(), best.value());
    value > highest || (value == highest && grade(term) < grade(best))
}
