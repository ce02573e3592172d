//! The format of device files: what the TOML must look like, and what must hold in it.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use toml::Spanned;

use super::device::{Clock, Device, DieArea, Marketing, OperandFormat, Rate};
use super::figure::{Figure, Grade, Precision, Source};
use super::normal;

/// No figure of a catalogue comes near it, and products of figures below it stay finite.
const LARGEST: f64 = 1e12;

/// Computed and published performance of one device lie within this of each other; makers round
/// and count clocks in their own ways, by up to 5.8 %.
pub(super) const TPP_TOLERANCE: f64 = 0.06;

/// What is wrong with a file, and where.
pub(super) struct Problem {
    /// The bytes of the text that are wrong.
    pub(super) span: Range<usize>,
    /// What is wrong, naming device and key.
    pub(super) problem: String,
}

impl Problem {
    /// The line of the text, from 1.
    pub(super) fn line(&self, text: &str) -> usize {
        line_at(text, self.span.start)
    }
}

fn line_at(text: &str, byte: usize) -> usize {
    let before = text.as_bytes().get(..byte).unwrap_or(text.as_bytes());
    1 + before.iter().filter(|byte| **byte == b'\n').count()
}

type Checked<T> = Result<T, Problem>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CatalogueFile {
    #[serde(default)]
    source: Vec<SourceFile>,
    #[serde(default)]
    device: Vec<DeviceFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SourceFile {
    id: Spanned<String>,
    title: String,
    url: Option<String>,
    seen: Option<String>,
    grade: Grade,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeviceFile {
    name: Spanned<String>,
    vendor: String,
    year: Option<u16>,
    #[serde(default)]
    aliases: Vec<Spanned<String>>,
    #[serde(default)]
    marketed_for_datacenters: MarketingFile,
    die_area: Option<DieAreaFile>,
    memory: Option<Spanned<MemoryFile>>,
    memory_gb_per_s: Option<FigureFile>,
    io_bidirectional_gb_per_s: Option<FigureFile>,
    tdp_w: Option<FigureFile>,
    tpp_published: Option<FigureFile>,
    notes: Option<String>,
    #[serde(default)]
    dense_tera_ops_per_s: BTreeMap<Spanned<String>, Spanned<Compact<RateFile>>>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum MarketingFile {
    Yes,
    No,
    #[default]
    Unknown,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DieAreaFile {
    mm2: FigureFile,
    includes: String,
    #[serde(default)]
    alternatives: Vec<AreaReadingFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AreaReadingFile {
    mm2: FigureFile,
    includes: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MemoryFile {
    kind: Option<String>,
    gb: Option<FigureFile>,
    source: Option<Spanned<String>>,
}

/// The `kind` of a device that is known to have no memory of its own.
const NO_MEMORY: &str = "none";

type FigureFile = Spanned<Compact<FigureTable>>;

/// `[value, "source"]`, or `[value, "source", "precision"]`.
struct Triple(f64, Spanned<String>, Precision);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FigureTable {
    value: f64,
    source: Spanned<String>,
    grade: Option<Grade>,
    #[serde(default)]
    precision: Precision,
    note: Option<String>,
    #[serde(default)]
    alternatives: Vec<ReadingFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadingFile {
    value: Spanned<f64>,
    source: Spanned<String>,
    grade: Option<Grade>,
    #[serde(default)]
    precision: Precision,
    note: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RateFile {
    value: Option<f64>,
    source: Spanned<String>,
    grade: Option<Grade>,
    #[serde(default)]
    precision: Precision,
    note: Option<String>,
    unit: Option<String>,
    #[serde(default)]
    sparse: bool,
    cores: Option<u32>,
    ops_per_core_and_cycle: Option<u32>,
    clock_ghz: Option<f64>,
    clock: Option<Clock>,
}

impl From<Triple> for FigureTable {
    fn from(Triple(value, source, precision): Triple) -> Self {
        Self { value, source, precision, grade: None, note: None, alternatives: Vec::new() }
    }
}

impl From<Triple> for RateFile {
    fn from(Triple(value, source, precision): Triple) -> Self {
        Self {
            value: Some(value),
            source,
            precision,
            grade: None,
            note: None,
            unit: None,
            sparse: false,
            cores: None,
            ops_per_core_and_cycle: None,
            clock_ghz: None,
            clock: None,
        }
    }
}

/// A table that may also be written as a [`Triple`].
struct Compact<T>(T);

impl<'de, T: Deserialize<'de> + From<Triple>> Deserialize<'de> for Compact<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Either(PhantomData)).map(Compact)
    }
}

struct Either<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de> + From<Triple>> Visitor<'de> for Either<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("[value, \"source\"], [value, \"source\", \"precision\"] or a table of these")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<T, A::Error> {
        let value = seq.next_element()?.ok_or_else(|| A::Error::invalid_length(0, &self))?;
        let source = seq.next_element()?.ok_or_else(|| A::Error::invalid_length(1, &self))?;
        let precision = seq.next_element()?.unwrap_or_default();
        match seq.next_element::<IgnoredAny>()? {
            Some(_) => Err(A::Error::invalid_length(4, &self)),
            None => Ok(T::from(Triple(value, source, precision))),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

/// Reads sources and devices from the text of a device file.
pub(super) fn parse(text: &str) -> Checked<(Vec<Source>, Vec<Device>)> {
    let file: CatalogueFile = toml::from_str(text).map_err(|error| syntax(text, &error))?;
    let sources = Sources::from_file(file.source)?;
    if file.device.is_empty() {
        return Err(Problem { span: 0..0, problem: "there is no [[device]] in this file".into() });
    }
    let mut seen = BTreeMap::new();
    for device in &file.device {
        for name in std::iter::once(&device.name).chain(&device.aliases) {
            claim(text, &mut seen, name)?;
        }
    }
    let devices = file.device.into_iter().map(|device| sources.device(device));
    let devices = devices.collect::<Checked<_>>()?;
    Ok((sources.0, devices))
}

/// What the TOML reader says, with the line it says it of.
fn syntax(text: &str, error: &toml::de::Error) -> Problem {
    let span = error.span().unwrap_or(0..0);
    let line = text.lines().nth(line_at(text, span.start) - 1).unwrap_or_default().trim();
    let message = error.message().trim_end().replace('\n', ", ");
    let problem = if line.is_empty() { message } else { format!("`{line}`: {message}") };
    Problem { span, problem }
}

/// Takes a name for one device, or says which line has it already.
fn claim(text: &str, seen: &mut BTreeMap<String, usize>, name: &Spanned<String>) -> Checked<()> {
    let wrong = |problem| Err(Problem { span: name.span(), problem });
    let key = normal(name.as_ref());
    if key.is_empty() {
        return wrong("a device or an alias has an empty name".into());
    }
    match seen.insert(key, line_at(text, name.span().start)) {
        Some(line) => wrong(format!("the name `{}` is taken on line {line}", name.as_ref())),
        None => Ok(()),
    }
}

/// The sources of a file, and all that needs them to be read.
struct Sources(Vec<Source>);

impl Sources {
    fn from_file(file: Vec<SourceFile>) -> Checked<Self> {
        let mut sources: Vec<Source> = Vec::new();
        for SourceFile { id, title, url, seen, grade } in file {
            if sources.iter().any(|source| source.id == *id.as_ref()) {
                let problem = format!("the source `{}` appears twice", id.as_ref());
                return Err(Problem { span: id.span(), problem });
            }
            sources.push(Source { id: id.into_inner(), title, url, seen, grade });
        }
        Ok(Self(sources))
    }

    fn device(&self, file: DeviceFile) -> Checked<Device> {
        let name = file.name.as_ref().clone();
        let name_span = file.name.span();
        self.device_unnamed(file, &name_span).map_err(|Problem { span, problem }| Problem {
            span,
            problem: format!("device `{name}`: {problem}"),
        })
    }

    fn device_unnamed(&self, file: DeviceFile, name_span: &Range<usize>) -> Checked<Device> {
        let (memory_kind, memory_gb, no_bandwidth) = self.memory(file.memory)?;
        let bandwidth = self.figure("memory_gb_per_s", file.memory_gb_per_s)?;
        if let (Some(_), Some(_)) = (&bandwidth, &no_bandwidth) {
            let problem = "`memory_gb_per_s` stands beside `memory.kind = \"none\"`".into();
            return Err(Problem { span: name_span.clone(), problem });
        }
        let device = Device {
            name: file.name.into_inner(),
            vendor: file.vendor,
            year: file.year,
            aliases: file.aliases.into_iter().map(Spanned::into_inner).collect(),
            marketing: match file.marketed_for_datacenters {
                MarketingFile::Yes => Marketing::Datacenter,
                MarketingFile::No => Marketing::NotDatacenter,
                MarketingFile::Unknown => Marketing::Unknown,
            },
            rates: self.rates(file.dense_tera_ops_per_s)?,
            die_area: file.die_area.map(|area| self.die_area(area)).transpose()?,
            memory_gb,
            memory_kind,
            memory_bandwidth_gb_per_s: bandwidth.or(no_bandwidth),
            io_bandwidth_gb_per_s: self
                .figure("io_bidirectional_gb_per_s", file.io_bidirectional_gb_per_s)?,
            tdp_w: self.figure("tdp_w", file.tdp_w)?,
            tpp_published: self.figure("tpp_published", file.tpp_published)?,
            notes: file.notes,
        };
        check_tpp(&device).map_err(|problem| Problem { span: name_span.clone(), problem })?;
        Ok(device)
    }

    fn rates(
        &self,
        file: BTreeMap<Spanned<String>, Spanned<Compact<RateFile>>>,
    ) -> Checked<Vec<Rate>> {
        use OperandFormat::{Bf16, Fp16, Fp16Bf16};
        let mut rates = Vec::new();
        for (key, rate) in file {
            let format = format_of(&key)?;
            let path = format!("dense_tera_ops_per_s.{}", format.name());
            let has = |format| rates.iter().any(|rate: &Rate| rate.format == format);
            // Keys come sorted, so the common one is the last of the three.
            if format == Fp16Bf16 && (has(Fp16) || has(Bf16)) {
                let problem =
                    format!("`{path}` is the rate of both, so neither can stand beside it");
                return Err(Problem { span: key.span(), problem });
            }
            rates.push(self.rate(&path, format, rate)?);
        }
        rates.sort_by_key(|rate: &Rate| rate.format);
        Ok(rates)
    }

    fn rate(
        &self,
        path: &str,
        format: OperandFormat,
        file: Spanned<Compact<RateFile>>,
    ) -> Checked<Rate> {
        let span = file.span();
        let Compact(file) = file.into_inner();
        let wrong = |problem: String| Problem { span: span.clone(), problem };
        if file.sparse {
            return Err(wrong(sparse(path)));
        }
        let (value, arithmetic) = match (file.value, factors(&file)) {
            (Some(value), Ok(None)) => (value, None),
            (None, Ok(Some((value, arithmetic)))) => (value, Some(arithmetic)),
            _ => {
                return Err(wrong(format!(
                    "`{path}` needs either `value`, or `cores`, `ops_per_core_and_cycle`, \
                     `clock_ghz` and `clock` all together"
                )));
            }
        };
        let note = match (arithmetic, file.note) {
            (Some(arithmetic), Some(note)) => Some(format!("{arithmetic}; {note}")),
            (arithmetic, note) => arithmetic.or(note),
        };
        let figure = self.checked(path, &span, value, &file.source)?;
        let dense_tera_ops_per_s = Figure {
            grade: file.grade.unwrap_or(figure.grade),
            precision: file.precision,
            note,
            ..figure
        };
        Ok(Rate { format, dense_tera_ops_per_s, unit: file.unit, clock: file.clock })
    }

    fn die_area(&self, file: DieAreaFile) -> Checked<DieArea> {
        let mut mm2 = self.one("die_area.mm2", file.mm2)?;
        for reading in file.alternatives {
            let figure = self.one("die_area.alternatives.mm2", reading.mm2)?;
            mm2.alternatives.push(Figure { note: Some(reading.includes), ..figure });
        }
        Ok(DieArea { mm2, includes: file.includes })
    }

    /// Kind and size of the memory, and the bandwidth of none.
    fn memory(
        &self,
        file: Option<Spanned<MemoryFile>>,
    ) -> Checked<(Option<String>, Option<Figure>, Option<Figure>)> {
        let Some(file) = file else { return Ok((None, None, None)) };
        let span = file.span();
        let MemoryFile { kind, gb, source } = file.into_inner();
        let wrong = |problem: &str| Problem { span: span.clone(), problem: problem.into() };
        match (kind.as_deref() == Some(NO_MEMORY), gb, source) {
            (true, None, Some(source)) => {
                let grade = self.grade(&source)?;
                let zero = Figure::zero(source.into_inner(), grade, "it has no memory of its own");
                Ok((kind, None, Some(zero)))
            }
            (true, ..) => {
                Err(wrong("`memory.kind = \"none\"` needs a `source` and stands without `gb`"))
            }
            (false, _, Some(_)) => Err(wrong("`memory.source` is for `kind = \"none\"` alone")),
            (false, gb, None) => Ok((kind, self.figure("memory.gb", gb)?, None)),
        }
    }

    fn figure(&self, key: &str, file: Option<FigureFile>) -> Checked<Option<Figure>> {
        file.map(|file| self.one(key, file)).transpose()
    }

    fn one(&self, key: &str, file: FigureFile) -> Checked<Figure> {
        let span = file.span();
        let Compact(file) = file.into_inner();
        let figure = self.checked(key, &span, file.value, &file.source)?;
        let mut alternatives = Vec::new();
        for reading in file.alternatives {
            let value = *reading.value.as_ref();
            let key = format!("{key}.alternatives");
            let other = self.checked(&key, &reading.value.span(), value, &reading.source)?;
            alternatives.push(Figure {
                grade: reading.grade.unwrap_or(other.grade),
                precision: reading.precision,
                note: reading.note,
                ..other
            });
        }
        Ok(Figure {
            grade: file.grade.unwrap_or(figure.grade),
            precision: file.precision,
            note: file.note,
            alternatives,
            ..figure
        })
    }

    /// A figure of nothing but a value and its source.
    fn checked(
        &self,
        key: &str,
        span: &Range<usize>,
        value: f64,
        source: &Spanned<String>,
    ) -> Checked<Figure> {
        if !(value > 0.0 && value < LARGEST) {
            let problem = format!("`{key}` must be above 0 and below {LARGEST:e}, but is {value}");
            return Err(Problem { span: span.clone(), problem });
        }
        let grade = self.grade(source).map_err(|Problem { span, problem }| Problem {
            span,
            problem: format!("`{key}`: {problem}"),
        })?;
        Ok(Figure {
            value,
            source: source.as_ref().clone(),
            grade,
            precision: Precision::Stated,
            note: None,
            alternatives: Vec::new(),
        })
    }

    fn grade(&self, id: &Spanned<String>) -> Checked<Grade> {
        let source = self.0.iter().find(|source| source.id == *id.as_ref());
        source.map(|source| source.grade).ok_or_else(|| Problem {
            span: id.span(),
            problem: format!("no [[source]] of this file has the id `{}`", id.as_ref()),
        })
    }
}

/// The format that a key of `dense_tera_ops_per_s` names.
fn format_of(key: &Spanned<String>) -> Checked<OperandFormat> {
    let name = key.as_ref();
    let known = OperandFormat::ALL.into_iter().find(|format| format.name() == name);
    known.ok_or_else(|| {
        let path = format!("dense_tera_ops_per_s.{name}");
        let problem = if name.contains("spars") {
            sparse(&path)
        } else {
            let names = OperandFormat::ALL.map(OperandFormat::name).join(", ");
            format!("`{path}` is of no known format; these are: {names}")
        };
        Problem { span: key.span(), problem }
    })
}

fn sparse(path: &str) -> String {
    format!(
        "`{path}` is a rate with sparsity, which no rule counts; give the dense rate, which is \
         half of it where two of four operands are zero"
    )
}

/// The rate of a processor from its factors, with the arithmetic in words; nothing if none of
/// them is there.
fn factors(file: &RateFile) -> Result<Option<(f64, String)>, ()> {
    match (file.cores, file.ops_per_core_and_cycle, file.clock_ghz, file.clock) {
        (None, None, None, None) => Ok(None),
        (Some(cores), Some(ops), Some(ghz), Some(clock)) => {
            let clock = match clock {
                Clock::Base => "base",
                Clock::Maximum => "maximum",
            };
            let value = f64::from(cores) * f64::from(ops) * ghz / 1e3;
            let arithmetic = format!(
                "{cores} cores x {ops} operations per core and cycle x {ghz} GHz, the {clock} clock"
            );
            Ok(Some((value, arithmetic)))
        }
        _ => Err(()),
    }
}

/// A specification that is far from its maker's own figure has an error in it, most often a rate
/// with sparsity or a factor of two.
fn check_tpp(device: &Device) -> Result<(), String> {
    let (Some(computed), Some(published)) = (device.tpp_computed(), &device.tpp_published) else {
        return Ok(());
    };
    let published = published.value;
    if (computed.value / published - 1.0).abs() <= TPP_TOLERANCE {
        return Ok(());
    }
    Err(format!(
        "`tpp_published` is {published}, but the rates give {} ({}), more than {:.0} % away: one of \
         them is wrong, such as a rate with sparsity, and must be corrected or left out",
        computed.value,
        computed.arithmetic(),
        TPP_TOLERANCE * 100.0
    ))
}
