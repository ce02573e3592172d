//! A device of the catalogue, or of a user's file, as the rules look at it.

use crate::classify::catalogue::{
    Catalogue, Clock, Device, Figure, Grade, Marketing, OperandFormat, Precision, Rate, TppUpper,
};
use crate::classify::interval::{Basis, BasisKind, End, Interval};
use crate::classify::kleene::Truth;
use crate::classify::metric::Flag;
use crate::classify::specification::{PeakRate, Specification};

/// The device as a specification. `origin` is `catalogue` or the file it stands in.
pub fn specification(catalogue: &Catalogue, device: &Device, origin: &str) -> Specification {
    let of = Describing { catalogue, origin };
    let figure = |figure: &Option<Figure>| {
        figure.as_ref().map_or_else(Interval::default, |f| of.interval(f, None))
    };
    Specification {
        name: device.name.clone(),
        origin: origin.to_owned(),
        tpp: of.tpp(device),
        die_area_mm2: device.die_area.as_ref().map_or_else(Interval::default, |area| {
            of.interval(&area.mm2, Some(&format!("die area of {}", area.includes)))
        }),
        dram_bandwidth: figure(&device.memory_bandwidth_gb_per_s),
        io_bandwidth: figure(&device.io_bandwidth_gb_per_s),
        fp64_tera_ops_per_s: of.fp64(device),
        flags: of.flags(device),
        rates: device.rates.iter().filter_map(peak).collect(),
        year: device.year.map(u32::from),
        note: device.notes.clone(),
    }
}

struct Describing<'a> {
    catalogue: &'a Catalogue,
    origin: &'a str,
}

impl Describing<'_> {
    /// All readings of a figure. One that is only bounded leaves the other end open.
    fn interval(&self, figure: &Figure, what: Option<&str>) -> Interval {
        let readings = || std::iter::once(figure).chain(&figure.alternatives);
        let is_any = |precision| readings().any(|reading| reading.precision == precision);
        let (low, high) = figure.range();
        let basis = |value: f64| {
            let reading = readings().find(|reading| reading.value == value).unwrap_or(figure);
            self.basis(BasisKind::Specified, reading, what)
        };
        let end = |value: f64| End::new(value, basis(value));
        Interval {
            lower: end(low).filter(|_| !is_any(Precision::AtMost)),
            upper: end(high).filter(|_| !is_any(Precision::AtLeast)),
            ..Interval::default()
        }
    }

    fn basis(&self, kind: BasisKind, figure: &Figure, what: Option<&str>) -> Basis {
        let source = self.catalogue.source(&figure.source).map_or(&*figure.source, |s| &*s.title);
        let precision = match figure.precision {
            Precision::Stated => "",
            Precision::Rough => "an estimate, ",
            Precision::AtMost => "at most, ",
            Precision::AtLeast => "at least, ",
        };
        let what = what.or(figure.note.as_deref()).map_or_else(String::new, |w| format!("{w}; "));
        let text = format!("{}: {what}{precision}{source}", self.origin);
        Basis { kind, text, grade: Some(figure.grade) }
    }

    /// What the maker publishes; else from below what the rates give, and from above the most that
    /// they allow. The two are never averaged.
    fn tpp(&self, device: &Device) -> Interval {
        if let Some(published) = &device.tpp_published {
            let basis = self.basis(BasisKind::Published, published, Some("TPP as published"));
            let end = End::new(published.value, basis);
            return match published.precision {
                Precision::Stated | Precision::Rough => Interval::point(end),
                Precision::AtLeast => Interval { lower: end, ..Interval::default() },
                Precision::AtMost => Interval { upper: end, ..Interval::default() },
            };
        }
        let Some(computed) = device.tpp_computed() else { return Interval::default() };
        let is_any = |precision| {
            let mut rates = device.rates.iter();
            rates.any(|rate| rate.dense_tera_ops_per_s.precision == precision)
        };
        let basis = |arithmetic: &str, grade: Grade, is_rough: bool| {
            let rough = if is_rough { ", an estimate" } else { "" };
            let text = format!("{}: {arithmetic}{rough}", self.origin);
            Basis { kind: BasisKind::Computed, text, grade: Some(grade.max(Grade::Calculated)) }
        };
        let end = |tpp: &crate::classify::catalogue::Tpp| {
            End::new(tpp.value, basis(&tpp.arithmetic(), tpp.grade(), tpp.is_rough()))
        };
        let upper = match device.tpp_upper() {
            Some(TppUpper::Computed(upper)) => end(&upper),
            _ => None,
        };
        let lower = end(&computed).filter(|_| !is_any(Precision::AtMost));
        Interval { lower, upper, ..Interval::default() }
    }

    fn fp64(&self, device: &Device) -> Interval {
        let Some(rate) = device.rate(OperandFormat::Fp64) else { return Interval::default() };
        let interval = self.interval(&rate.dense_tera_ops_per_s, Some("64-bit TFLOPS"));
        let may_run_faster = rate.clock == Some(Clock::Base);
        Interval { upper: interval.upper.filter(|_| !may_run_faster), ..interval }
    }

    fn flags(&self, device: &Device) -> Vec<(Flag, Truth, Basis)> {
        let basis = |text: String| Basis {
            kind: BasisKind::Specified,
            text: format!("{}: {text}", self.origin),
            grade: None,
        };
        let mut flags = Vec::new();
        let datacenter = match device.marketing {
            Marketing::Datacenter => Some(true),
            Marketing::NotDatacenter => Some(false),
            Marketing::Unknown => None,
        };
        if let Some(is) = datacenter {
            let text = "how its maker presents it; no rule defines it".to_owned();
            flags.push((Flag::Datacenter, is.into(), basis(text)));
        }
        if let Some(kind) = &device.memory_kind {
            let text = format!("its memory is {kind}");
            flags.push((Flag::HasHbm, has_hbm(kind), basis(text)));
        }
        if !device.rates.is_empty() {
            let text = "it multiplies, so it is not memory".to_owned();
            flags.push((Flag::IsHbm, Truth::False, basis(text)));
        }
        if let Some(is) = is_cpu(device) {
            flags.push((Flag::Cpu, is.into(), basis("by its name".to_owned())));
        }
        match device.year {
            Some(year @ ..=2025) => {
                let text = format!("it came out in {year}");
                flags.push((Flag::MarketedAfter2026Start, Truth::False, basis(text)));
            }
            Some(year @ 2027..) => {
                let text = format!("it came out in {year}");
                flags.push((Flag::MarketedAfter2026Start, Truth::True, basis(text)));
            }
            _ => {}
        }
        flags
    }
}

/// Whether memory of this kind, in its maker's words, has stacks of HBM.
fn has_hbm(kind: &str) -> Truth {
    let kind = kind.to_uppercase();
    match ["HBM", "DDR", "SRAM"].into_iter().find(|known| kind.contains(known)) {
        Some("HBM") => Truth::True,
        Some(_) => Truth::False,
        None => Truth::Unknown,
    }
}

/// Whether it is a general-purpose processor, where its name tells.
fn is_cpu(device: &Device) -> Option<bool> {
    let named = |words: &[&str]| words.iter().any(|word| device.name.contains(word));
    match device.vendor.as_str() {
        "Intel" | "AMD" if named(&["Xeon", "EPYC", "Ryzen", "Core"]) => Some(true),
        _ if named(&["CPU", "Grace", "Kunpeng", "Axion"]) => None,
        "Intel" if !named(&["Gaudi", "Max"]) => None,
        "AMD" if !named(&["MI"]) => None,
        "Intel" | "AMD" | "NVIDIA" | "Google" | "Huawei" | "Cambricon" | "Biren" => Some(false),
        _ => None,
    }
}

/// A rate that bounds from above; absent where the device may be faster.
fn peak(rate: &Rate) -> Option<PeakRate> {
    let figure = &rate.dense_tera_ops_per_s;
    let may_be_exceeded = rate.clock == Some(Clock::Base) || figure.precision == Precision::AtLeast;
    (!may_be_exceeded).then(|| PeakRate {
        format: rate.format.name(),
        bits: rate.format.bits(),
        tera_ops_per_s: figure.range().1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(lines: &str) -> Specification {
        let source = "[[source]]\nid = \"s\"\ntitle = \"S\"\ngrade = \"secondary\"\n";
        let text = format!("{source}[[device]]\nname = \"X\"\nvendor = \"V\"\n{lines}");
        let catalogue = Catalogue::parse(&text, std::path::Path::new("mine.toml")).unwrap();
        specification(&catalogue, &catalogue.devices()[0], "mine.toml")
    }

    #[test]
    fn a_published_bound_bounds_one_end() {
        for (words, ends) in [
            ("", (4700.0, 4700.0)),
            (", \"at_least\"", (4700.0, f64::INFINITY)),
            (", \"at_most\"", (0.0, 4700.0)),
        ] {
            let tpp = described(&format!("tpp_published = [4700, \"s\"{words}]")).tpp;
            assert_eq!((tpp.at_least(), tpp.at_most()), ends, "{words}");
        }
    }

    #[test]
    fn stacks_are_known_by_their_name_however_it_is_written() {
        for (kind, wanted) in [
            ("HBM3e", Truth::True),
            ("hbm3", Truth::True),
            ("4x HBM3", Truth::True),
            ("LPDDR5X + HBM3", Truth::True),
            ("GDDR7", Truth::False),
            ("8ch DDR5-4800", Truth::False),
            ("192 MB SRAM", Truth::False),
            ("stacked", Truth::Unknown),
        ] {
            assert_eq!(has_hbm(kind), wanted, "{kind}");
        }
    }
}
