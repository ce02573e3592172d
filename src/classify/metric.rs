//! The words that a rule may use: metrics, which are numbers, and flags, which are yes or no.

use std::fmt;

/// A number that rules compare. Each is 0 at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(usize)]
pub enum Metric {
    /// Total processing performance: 2 × MacTOPS × bits of the multiply's wider input, dense, of
    /// one integrated circuit (Technical Note to ECCN 3A090.a and .b).
    Tpp,
    /// TPP by mm² of logic dies made on a node with non-planar transistors (the same note).
    PerformanceDensity,
    /// All memory attached to or packaged with the circuit, GB/s.
    DramBandwidth,
    /// Links between devices, both directions added up, GB/s, as makers quote it.
    IoBandwidth,
    /// All inputs and outputs to circuits other than volatile memories, both directions added up,
    /// GB/s: the links and everything beside them.
    IoBandwidthAll,
    /// Bandwidth of a stack or package of high-bandwidth memory by its area, GB/s/mm².
    MemoryBandwidthDensity,
    /// Adjusted peak performance, weighted TeraFLOPS (WT), of one computer.
    AppWt,
    /// Transistors of the finished package.
    Transistors,
    /// One link outwards, one direction, GB/s.
    LinkBandwidth,
    /// Operations that a model was trained with.
    TrainingOperations,
    /// TPP shipped to one consignee in one calendar year, all items added up.
    ConsigneeTpp,
}

impl Metric {
    /// How many there are.
    pub const COUNT: usize = 11;

    /// Every metric, in the order of [`Metric::index`].
    pub const ALL: [Metric; Metric::COUNT] = [
        Metric::Tpp,
        Metric::PerformanceDensity,
        Metric::DramBandwidth,
        Metric::IoBandwidth,
        Metric::IoBandwidthAll,
        Metric::MemoryBandwidthDensity,
        Metric::AppWt,
        Metric::Transistors,
        Metric::LinkBandwidth,
        Metric::TrainingOperations,
        Metric::ConsigneeTpp,
    ];

    /// Its place in [`Metric::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }

    /// The word of rule files and of the output.
    pub fn name(self) -> &'static str {
        match self {
            Metric::Tpp => "tpp",
            Metric::PerformanceDensity => "performance_density",
            Metric::DramBandwidth => "dram_bandwidth",
            Metric::IoBandwidth => "io_bandwidth",
            Metric::IoBandwidthAll => "io_bandwidth_all",
            Metric::MemoryBandwidthDensity => "memory_bandwidth_density",
            Metric::AppWt => "app_wt",
            Metric::Transistors => "transistors",
            Metric::LinkBandwidth => "link_bandwidth",
            Metric::TrainingOperations => "training_operations",
            Metric::ConsigneeTpp => "consignee_tpp",
        }
    }

    /// In what it is counted; empty for TPP, which has no unit of its own.
    pub fn unit(self) -> &'static str {
        match self {
            Metric::Tpp | Metric::ConsigneeTpp => "",
            Metric::PerformanceDensity => "TPP/mm²",
            Metric::DramBandwidth
            | Metric::IoBandwidth
            | Metric::IoBandwidthAll
            | Metric::LinkBandwidth => "GB/s",
            Metric::MemoryBandwidthDensity => "GB/s/mm²",
            Metric::AppWt => "WT",
            Metric::Transistors => "transistors",
            Metric::TrainingOperations => "operations",
        }
    }

    /// As people call it.
    pub fn title(self) -> &'static str {
        match self {
            Metric::Tpp => "TPP",
            Metric::PerformanceDensity => "performance density",
            Metric::DramBandwidth => "memory bandwidth",
            Metric::IoBandwidth => "interconnect bandwidth",
            Metric::IoBandwidthAll => "bandwidth of all inputs and outputs",
            Metric::MemoryBandwidthDensity => "memory bandwidth density",
            Metric::AppWt => "APP",
            Metric::Transistors => "transistor count",
            Metric::LinkBandwidth => "bandwidth of a link",
            Metric::TrainingOperations => "training operations",
            Metric::ConsigneeTpp => "TPP per consignee and year",
        }
    }

    /// The metric of a word.
    pub fn from_name(name: &str) -> Option<Self> {
        Metric::ALL.into_iter().find(|metric| metric.name() == name)
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A fact that no run can show. It is declared, comes from a specification, or is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(usize)]
pub enum Flag {
    /// Designed or marketed for data centres.
    Datacenter,
    /// Its package holds high-bandwidth memory.
    HasHbm,
    /// The item itself is high-bandwidth memory, and not logic that is packaged with it.
    IsHbm,
    /// A general-purpose processor rather than an accelerator.
    Cpu,
    /// Though a general-purpose processor, made to do a graphics processor's work.
    GpuLike,
    /// A logic circuit of 16/14 nm or below, or with non-planar transistors.
    AdvancedLogic,
    /// The exporter made the wafer or packaged it for others.
    FabricatorExport,
    /// An approved or authorised designer attests its TPP and performance density.
    DesignerAttested,
    /// It was packaged by the fabricator outside Macau and D:5, or by an approved company.
    ApprovedPackaging,
    /// It was finished in 2027.
    CompletedIn2027,
    /// It was finished in 2029 or later.
    CompletedIn2029OrLater,
    /// It was first marketed after 1 January 2026.
    MarketedAfter2026Start,
    /// The weights of the model are published.
    PublishedWeights,
    /// A vector processor in the sense of adjusted peak performance, which then weighs 0.9.
    VectorProcessor,
}

impl Flag {
    /// How many there are.
    pub const COUNT: usize = 14;

    /// Every flag, in the order of [`Flag::index`].
    pub const ALL: [Flag; Flag::COUNT] = [
        Flag::Datacenter,
        Flag::HasHbm,
        Flag::IsHbm,
        Flag::Cpu,
        Flag::GpuLike,
        Flag::AdvancedLogic,
        Flag::FabricatorExport,
        Flag::DesignerAttested,
        Flag::ApprovedPackaging,
        Flag::CompletedIn2027,
        Flag::CompletedIn2029OrLater,
        Flag::MarketedAfter2026Start,
        Flag::PublishedWeights,
        Flag::VectorProcessor,
    ];

    /// Its place in [`Flag::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }

    /// The word of rule files and of the output.
    pub fn name(self) -> &'static str {
        match self {
            Flag::Datacenter => "datacenter",
            Flag::HasHbm => "has_hbm",
            Flag::IsHbm => "is_hbm",
            Flag::Cpu => "cpu",
            Flag::GpuLike => "gpu_like",
            Flag::AdvancedLogic => "advanced_logic",
            Flag::FabricatorExport => "fabricator_export",
            Flag::DesignerAttested => "designer_attested",
            Flag::ApprovedPackaging => "approved_packaging",
            Flag::CompletedIn2027 => "completed_in_2027",
            Flag::CompletedIn2029OrLater => "completed_in_2029_or_later",
            Flag::MarketedAfter2026Start => "marketed_after_2026_start",
            Flag::PublishedWeights => "published_weights",
            Flag::VectorProcessor => "vector_processor",
        }
    }

    /// What it says, as the end of a sentence that begins with "whether".
    pub fn question(self) -> &'static str {
        match self {
            Flag::Datacenter => "it is designed or marketed for data centres",
            Flag::HasHbm => "its package holds high-bandwidth memory",
            Flag::IsHbm => "the item is high-bandwidth memory itself",
            Flag::Cpu => "it is a general-purpose processor",
            Flag::GpuLike => "it is made to do a graphics processor's work",
            Flag::AdvancedLogic => "it is logic of 16/14 nm or below, or non-planar",
            Flag::FabricatorExport => "its fabricator or packager exports it",
            Flag::DesignerAttested => "an approved or authorised designer attests its figures",
            Flag::ApprovedPackaging => "it was packaged where and by whom the note asks for",
            Flag::CompletedIn2027 => "it was finished in 2027",
            Flag::CompletedIn2029OrLater => "it was finished in 2029 or later",
            Flag::MarketedAfter2026Start => "it was first marketed after 1 January 2026",
            Flag::PublishedWeights => "the model's weights are published",
            Flag::VectorProcessor => "it is a vector processor",
        }
    }

    /// The flag of a word.
    pub fn from_name(name: &str) -> Option<Self> {
        Flag::ALL.into_iter().find(|flag| flag.name() == name)
    }
}

impl fmt::Display for Flag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The word nearest to one that is none, if one is near.
pub fn nearest_word(word: &str) -> Option<&'static str> {
    let names = Metric::ALL.map(Metric::name).into_iter().chain(Flag::ALL.map(Flag::name));
    names
        .map(|name| (strsim::jaro_winkler(word, name), name))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_has_its_place_and_means_one_thing() {
        for (i, metric) in Metric::ALL.into_iter().enumerate() {
            assert_eq!((metric.index(), Metric::from_name(metric.name())), (i, Some(metric)));
            assert_eq!(Flag::from_name(metric.name()), None);
        }
        for (i, flag) in Flag::ALL.into_iter().enumerate() {
            assert_eq!((flag.index(), Flag::from_name(flag.name())), (i, Some(flag)));
        }
        assert_eq!(nearest_word("tppp"), Some("tpp"));
        assert_eq!(nearest_word("data_center"), Some("datacenter"));
        assert_eq!(nearest_word("zzzz"), None);
    }
}
