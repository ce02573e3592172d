//! The device catalogue: what specifications say, from a TOML file that is built in or the
//! user's own. It knows no rules and no measurements.
//!
//! ```
//! use benchinf::classify::catalogue::Catalogue;
//!
//! let l4 = Catalogue::embedded().find("NVIDIA L4")?;
//! let tpp = l4.tpp_computed().expect("its rates are known");
//! assert_eq!((tpp.value, tpp.arithmetic().as_str()), (1936.0, "121 x 16 bits (fp16_bf16)"));
//! # Ok::<(), benchinf::Error>(())
//! ```

mod device;
mod figure;
mod file;
mod load;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::Path;
use std::sync::LazyLock;

use crate::classify::read_bounded;
use crate::error::{Error, Result};

/// Bytes of the largest device file that is read.
const MAX_BYTES: usize = 16 << 20;

pub use device::{Clock, Device, DieArea, Marketing, OperandFormat, Rate, Term, Tpp, TppUpper};
pub use figure::{Figure, Grade, Precision, Source};

const EMBEDDED: &str = include_str!("../devices.toml");
const EMBEDDED_PATH: &str = "src/classify/devices.toml";

/// Devices and the sources of their figures.
#[derive(Clone, Debug)]
pub struct Catalogue {
    sources: Vec<Source>,
    devices: Vec<Device>,
    /// Index into `devices` by [`normal`] name and alias.
    by_name: HashMap<String, usize>,
}

impl Catalogue {
    /// The catalogue that is built in. It is read once.
    pub fn embedded() -> &'static Catalogue {
        static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| {
            let parsed = Catalogue::parse(EMBEDDED, Path::new(EMBEDDED_PATH));
            parsed.expect("a test reads the embedded catalogue")
        });
        &CATALOGUE
    }

    /// Reads a device file of 16 MiB at most.
    ///
    /// # Errors
    /// [`Error::Read`] if it cannot be opened, else as [`Catalogue::parse`].
    pub fn read(path: &Path) -> Result<Self> {
        let text = read_bounded(path, MAX_BYTES)?;
        Self::parse(&text, path)
    }

    /// Reads the text of a device file. The path is for messages.
    ///
    /// # Errors
    /// [`Error::DeviceFile`] with line, key and reason if it is not TOML, has unknown keys, values
    /// that no device has, rates with sparsity, names that are taken, sources that are not
    /// there, or a published performance that its rates contradict.
    pub fn parse(text: &str, path: &Path) -> Result<Self> {
        let (sources, devices) = load::parse(text).map_err(|problem| Error::DeviceFile {
            path: path.into(),
            line: problem.line(text),
            problem: problem.problem,
        })?;
        let mut by_name = HashMap::new();
        for (index, device) in devices.iter().enumerate() {
            for name in std::iter::once(&device.name).chain(&device.aliases) {
                by_name.insert(normal(name), index);
            }
        }
        Ok(Self { sources, devices, by_name })
    }

    /// All devices, in the order of the file.
    pub fn devices(&self) -> &[Device] {
        &self.devices
    }

    /// All sources, in the order of the file.
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// The source that a figure of this catalogue names.
    pub fn source(&self, id: &str) -> Option<&Source> {
        self.sources.iter().find(|source| source.id == id)
    }

    /// The device that somebody asks for: by name or alias, whatever the case of its letters. The
    /// maker and what stands in brackets may be left out where only one device is meant.
    ///
    /// # Errors
    /// [`Error::UnknownCatalogueDevice`] or [`Error::AmbiguousDevice`], with the names that may
    /// be meant.
    pub fn find(&self, name: &str) -> Result<&Device> {
        let wanted = normal(name);
        if let Some(index) = self.by_name.get(&wanted) {
            return Ok(&self.devices[*index]);
        }
        let is_meant = |device: &&Device| short_names(device).contains(&wanted);
        let meant: Vec<&Device> = self.devices.iter().filter(is_meant).collect();
        match meant[..] {
            [device] => Ok(device),
            [] => Err(Error::UnknownCatalogueDevice {
                name: name.into(),
                nearest: self.nearest(&wanted),
            }),
            _ => Err(Error::AmbiguousDevice {
                name: name.into(),
                candidates: meant.iter().map(|device| device.name.clone()).collect(),
            }),
        }
    }

    /// The device that a driver or a processor reports under this name. Only a name or alias as
    /// it stands in the catalogue counts, whatever the case of its letters: where a name may mean
    /// several devices, or one that the catalogue lacks, there is no answer.
    pub fn match_device(&self, reported_name: &str) -> Option<&Device> {
        self.by_name.get(&normal(reported_name)).map(|index| &self.devices[*index])
    }

    /// Up to three names that a mistyped one may mean: those that go on from it, else those that
    /// look alike.
    fn nearest(&self, wanted: &str) -> Vec<String> {
        const MOST: usize = 3;
        let starts = |device: &&Device| {
            let mut names = short_names(device).into_iter().chain([normal(&device.name)]);
            !wanted.is_empty() && names.any(|name| name.starts_with(wanted))
        };
        let longer = self.devices.iter().filter(starts).take(MOST);
        let mut nearest: Vec<String> = longer.map(|device| device.name.clone()).collect();
        if nearest.is_empty() {
            let mut alike: Vec<(f64, &Device)> = self
                .devices
                .iter()
                .map(|device| (likeness(wanted, device), device))
                .filter(|(likeness, _)| *likeness > 0.69)
                .collect();
            alike.sort_by(|a, b| b.0.total_cmp(&a.0));
            nearest.extend(alike.iter().take(MOST).map(|(_, device)| device.name.clone()));
        }
        nearest
    }
}

/// How much a name looks like a device's. Makers are left out: they are long, and would make
/// everything of one maker alike.
fn likeness(wanted: &str, device: &Device) -> f64 {
    let wanted = without_vendor(wanted, device);
    let names = short_names(device).into_iter();
    names
        .map(|name| strsim::jaro_winkler(wanted, without_vendor(&name, device)))
        .fold(0.0, f64::max)
}

/// A device's names with its maker, or what stands in brackets, or both left out.
fn short_names(device: &Device) -> Vec<String> {
    let full = normal(&device.name);
    let bare = normal(full.split('(').next().unwrap_or_default());
    let mut names = Vec::new();
    for name in [full, bare] {
        names.push(without_vendor(&name, device).to_owned());
        names.push(name);
    }
    names
}

fn without_vendor<'a>(name: &'a str, device: &Device) -> &'a str {
    let rest = name.strip_prefix(&normal(&device.vendor)).and_then(|rest| rest.strip_prefix(' '));
    rest.filter(|rest| !rest.is_empty()).unwrap_or(name)
}

/// A name without what differs between writers: case, and spaces around or doubled.
fn normal(name: &str) -> String {
    name.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}
