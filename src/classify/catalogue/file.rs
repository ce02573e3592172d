//! The format of device files: tables and keys as they stand in the TOML, before anything is
//! checked that takes more than one key.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use toml::Spanned;

use super::device::Clock;
use super::figure::{Grade, Precision};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CatalogueFile {
    #[serde(default)]
    pub(super) source: Vec<SourceFile>,
    #[serde(default)]
    pub(super) device: Vec<DeviceFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SourceFile {
    pub(super) id: Spanned<String>,
    pub(super) title: String,
    pub(super) url: Option<String>,
    pub(super) seen: Option<String>,
    pub(super) grade: Grade,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeviceFile {
    pub(super) name: Spanned<String>,
    pub(super) vendor: String,
    pub(super) year: Option<u16>,
    #[serde(default)]
    pub(super) aliases: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) marketed_for_datacenters: MarketingFile,
    pub(super) die_area: Option<DieAreaFile>,
    pub(super) memory: Option<Spanned<MemoryFile>>,
    pub(super) memory_gb_per_s: Option<FigureFile>,
    pub(super) io_bidirectional_gb_per_s: Option<FigureFile>,
    pub(super) tdp_w: Option<FigureFile>,
    pub(super) tpp_published: Option<FigureFile>,
    pub(super) notes: Option<String>,
    #[serde(default)]
    pub(super) dense_tera_ops_per_s: RatesFile,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum MarketingFile {
    Yes,
    No,
    #[default]
    Unknown,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DieAreaFile {
    pub(super) mm2: FigureFile,
    pub(super) includes: String,
    #[serde(default)]
    pub(super) alternatives: Vec<AreaReadingFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AreaReadingFile {
    pub(super) mm2: FigureFile,
    pub(super) includes: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MemoryFile {
    pub(super) kind: Option<String>,
    pub(super) gb: Option<FigureFile>,
    pub(super) source: Option<Spanned<String>>,
}

/// The `kind` of a device that is known to have no memory of its own.
pub(super) const NO_MEMORY: &str = "none";

/// Rates by the name of their format.
pub(super) type RatesFile = BTreeMap<Spanned<String>, Spanned<Compact<RateFile>>>;

pub(super) type FigureFile = Spanned<Compact<FigureTable>>;

/// `[value, "source"]`, or `[value, "source", "precision"]`.
struct Triple(f64, Spanned<String>, Precision);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FigureTable {
    pub(super) value: f64,
    pub(super) source: Spanned<String>,
    pub(super) grade: Option<Grade>,
    #[serde(default)]
    pub(super) precision: Precision,
    pub(super) note: Option<String>,
    #[serde(default)]
    pub(super) alternatives: Vec<ReadingFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReadingFile {
    pub(super) value: Spanned<f64>,
    pub(super) source: Spanned<String>,
    pub(super) grade: Option<Grade>,
    #[serde(default)]
    pub(super) precision: Precision,
    pub(super) note: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RateFile {
    pub(super) value: Option<f64>,
    pub(super) source: Spanned<String>,
    pub(super) grade: Option<Grade>,
    #[serde(default)]
    pub(super) precision: Precision,
    pub(super) note: Option<String>,
    pub(super) unit: Option<String>,
    #[serde(default)]
    pub(super) sparse: bool,
    pub(super) cores: Option<u32>,
    pub(super) ops_per_core_and_cycle: Option<u32>,
    pub(super) clock_ghz: Option<f64>,
    pub(super) clock: Option<Clock>,
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
pub(super) struct Compact<T>(pub(super) T);

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
