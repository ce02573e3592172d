//! A comparison as text for a terminal, as Markdown, and as JSON.

use std::collections::HashMap;

use comfy_table::{Table, presets};

use crate::compare::Verdict;
use crate::compare::record::{
    AxisChange, Comparison, Difference, Effect, Origin, Pair, Ratio, Sample, Side, SideName, Unit,
    Unpaired,
};
use crate::report::table::{align_right, table};
use crate::units::{bytes_per_s_text, duration_text, flops_per_s_text, significant};

/// Formats of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ComparisonFormat {
    /// For a terminal.
    Text,
    /// For a page or a comment.
    Md,
    /// The record itself.
    Json,
}

/// Columns of the pairs; `benchinf explain` knows each.
pub(super) const COMPARISON_HEADER: [&str; 9] =
    ["case", "base", "new", "new / base", "interval", "p", "p same", "detectable", "verdict"];

/// Unpaired cases, and reasons, that a text names one by one.
const NAMED: usize = 8;
/// Differences of one kind that it shows.
const SHOWN: usize = 3;

/// A comparison in a format, ending in a newline.
pub fn render_comparison(comparison: &Comparison, format: ComparisonFormat) -> String {
    let is_md = match format {
        ComparisonFormat::Text => false,
        ComparisonFormat::Md => true,
        ComparisonFormat::Json => return crate::result::to_json(comparison),
    };
    let words = Words { is_md };
    let differences = words.differences(comparison);
    let unpaired = words.unpaired(comparison).into_iter();
    let unpaired = unpaired.map(|(title, lines)| format!("{title}\n\n{}", words.list(lines)));
    let parts = [
        words.sides(comparison),
        words.table(comparison),
        words.summary(comparison),
        words.list(words.reasons(comparison)),
        words.list(
            differences.into_iter().map(|(kind, text)| format!("{} {text}", words.strong(kind))),
        ),
        unpaired.collect::<Vec<_>>().join("\n\n"),
        words.legend(comparison),
    ];
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    format!("{}\n", parts.join("\n\n"))
}

/// The same words for all kinds of text.
pub(super) struct Words {
    pub(super) is_md: bool,
}

impl Words {
    /// What must not be overlooked.
    fn strong(&self, text: &str) -> String {
        if self.is_md { format!("**{text}**") } else { text.to_owned() }
    }

    /// Text of a file, which may be hostile: nothing that moves a terminal's cursor or turns the
    /// direction of a line, and in Markdown neither cells nor tags.
    fn clean(&self, text: &str) -> String {
        let mut cleaned = String::with_capacity(text.len());
        for c in text.chars() {
            match c {
                '|' if self.is_md => cleaned.push_str("\\|"),
                '<' if self.is_md => cleaned.push_str("&lt;"),
                '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => cleaned.push('\u{fffd}'),
                c if c.is_control() => cleaned.push('\u{fffd}'),
                c => cleaned.push(c),
            }
        }
        cleaned
    }

    fn list(&self, lines: impl IntoIterator<Item = String>) -> String {
        lines.into_iter().map(|line| format!("- {line}")).collect::<Vec<_>>().join("\n")
    }

    fn sides(&self, comparison: &Comparison) -> String {
        let side = |name: &str, side: &Side| {
            let first = &side.files[0];
            let others = match side.files.len() {
                1 => String::new(),
                n => format!(" and {} more", n - 1),
            };
            let runs =
                if side.n_runs == 1 { "1 run".into() } else { format!("{} runs", side.n_runs) };
            let is_imported = side.files.iter().any(|file| file.origin == Origin::Imported);
            let imported = if is_imported { "imported, " } else { "" };
            let machine = first.processor.as_deref().unwrap_or("an unnamed machine");
            let from =
                format!("{}{others} ({imported}{runs}), {}, {machine}", first.path, first.tool);
            format!("{name}: {}", self.clean(&from))
        };
        let mut lines = vec![side("base", &comparison.base), side("new", &comparison.new)];
        lines.extend(self.changes(comparison));
        match self.is_md {
            true => self.list(lines),
            false => lines.join("\n"),
        }
    }

    /// The axes that differ on purpose.
    pub(super) fn changes(&self, comparison: &Comparison) -> Vec<String> {
        let change = |change: &AxisChange| {
            self.clean(&format!("{}: {} → {}", change.axis, change.base, change.new))
        };
        comparison.across.iter().map(change).collect()
    }

    fn table(&self, comparison: &Comparison) -> String {
        let mut lines = table(&COMPARISON_HEADER);
        if !self.is_md {
            lines.load_style(presets::UTF8_FULL_CONDENSED);
        }
        let axes = telling_axes(&comparison.pairs);
        for pair in &comparison.pairs {
            self.row(&mut lines, pair, &axes);
        }
        align_right(&mut lines, &[1, 2, 3, 4, 5, 6, 7]);
        lines.to_string()
    }

    fn row(&self, lines: &mut Table, pair: &Pair, axes: &[&str]) {
        let mut cells = pair_cells(pair, axes);
        cells[0] = self.clean(&cells[0]);
        if pair.verdict == Verdict::Slower {
            cells[8] = self.strong(&cells[8]);
        }
        lines.add_row(cells);
    }

    fn summary(&self, comparison: &Comparison) -> String {
        let (counts, mean) = (counts_text(comparison), self.clean(&mean_text(comparison)));
        match mean.is_empty() {
            true => format!("{}.", self.strong(&counts)),
            false => format!("{}; {mean}.", self.strong(&counts)),
        }
    }

    /// Why cases are unsure, each reason once.
    pub(super) fn reasons(&self, comparison: &Comparison) -> Vec<String> {
        let mut found: Vec<(&str, Vec<&str>)> = Vec::new();
        let mut known = HashMap::new();
        for pair in &comparison.pairs {
            for reason in &pair.reasons {
                let idx = *known.entry(reason.as_str()).or_insert_with(|| {
                    found.push((reason, Vec::new()));
                    found.len() - 1
                });
                found[idx].1.push(&pair.base_id);
            }
        }
        let line = |(reason, ids): &(&str, Vec<&str>)| {
            self.clean(&match ids.len() {
                n if n == comparison.pairs.len() && n > 1 => format!("all cases: {reason}"),
                1 => format!("{}: {reason}", ids[0]),
                n => format!("{} and {} more: {reason}", ids[0], n - 1),
            })
        };
        let mut lines: Vec<String> = found.iter().take(NAMED).map(line).collect();
        if found.len() > NAMED {
            lines.push(format!("and {} more reasons (-o json has all)", found.len() - NAMED));
        }
        lines
    }

    /// What differs between the sides: its kind, and what there is to say of it.
    pub(super) fn differences(&self, comparison: &Comparison) -> Vec<(&'static str, String)> {
        let mut lines = Vec::new();
        let mut by_kind: Vec<(&Difference, usize)> = Vec::new();
        for difference in &comparison.differences {
            let same = |(first, _): &&mut (&Difference, usize)| {
                first.kind == difference.kind && first.effect == difference.effect
            };
            match by_kind.iter_mut().find(same) {
                Some((_, n)) => *n += 1,
                None => by_kind.push((difference, 1)),
            }
        }
        for (first, n) in by_kind {
            let effect = first.effect.name();
            let of_kind = comparison
                .differences
                .iter()
                .filter(|other| other.kind == first.kind && other.effect == first.effect);
            let messages: Vec<&str> =
                of_kind.take(SHOWN).map(|difference| difference.message.as_str()).collect();
            let more = match n.saturating_sub(SHOWN) {
                0 => String::new(),
                more => format!("; and {more} more (-o json has all)"),
            };
            let advice = match first.effect {
                Effect::Allowed => String::new(),
                _ => format!(" {}.", capital(&first.advice)),
            };
            let said = self.clean(&messages.join("; "));
            lines.push((first.kind.name(), format!("({effect}): {said}{more}.{advice}")));
        }
        lines
    }

    /// Cases that have no partner: a line for each side that has any, and lines for some of them.
    pub(super) fn unpaired(&self, comparison: &Comparison) -> Vec<(String, Vec<String>)> {
        let mut parts = Vec::new();
        for side in [SideName::Base, SideName::New] {
            let of_side: Vec<&Unpaired> =
                comparison.unpaired.iter().filter(|unpaired| unpaired.side == side).collect();
            if of_side.is_empty() {
                continue;
            }
            let line = |unpaired: &&Unpaired| match &unpaired.nearest {
                None => self.clean(&unpaired.id),
                Some(nearest) => {
                    let differs: Vec<String> = nearest
                        .differs_in
                        .iter()
                        .map(|change| {
                            format!("{} ({} and {})", change.axis, change.base, change.new)
                        })
                        .collect();
                    self.clean(&format!(
                        "{}; nearest is {}, which differs in {}",
                        unpaired.id,
                        nearest.id,
                        differs.join(", ")
                    ))
                }
            };
            let mut lines: Vec<String> = of_side.iter().take(NAMED).map(line).collect();
            if of_side.len() > NAMED {
                lines.push(format!("and {} more (-o json has all)", of_side.len() - NAMED));
            }
            let title = format!("{} only in the {} side:", n_cases(of_side.len()), side.name());
            parts.push((title, lines));
        }
        parts
    }

    pub(super) fn legend(&self, comparison: &Comparison) -> String {
        let word = comparison.replicate.word(2);
        let family = match comparison.n_tested {
            0 | 1 => String::new(),
            n => format!(" (Holm, {n} cases)"),
        };
        let percent = |share: f64| (share * 1e4).round() / 1e2;
        let mut text = format!(
            "Medians of {word}; new / base by Hodges and Lehmann with the interval that the order of \
             {word} gives{}; p by the exact rank sum{family}: {} % is the limit for slower and faster, \
             and p same for a change below the margin of {} %. Detectable: the smallest change that \
             these {word} would have shown.",
            coverage(comparison),
            percent(comparison.error_rate),
            percent(comparison.margin),
        );
        if comparison.replicate == crate::compare::record::Replicate::Round {
            text += " One run on each side: what differs from run to run is not in the interval; \
                     `benchinf ab` measures it.";
        }
        text
    }
}

/// The cells of a pair, under [`COMPARISON_HEADER`].
pub(super) fn pair_cells(pair: &Pair, axes: &[&str]) -> [String; 9] {
    let absent = || "–".to_owned();
    let p = |value: Option<f64>| value.map_or_else(absent, p_text);
    [
        case_name(pair, axes),
        value_text(&pair.base, pair.unit),
        value_text(&pair.new, pair.unit),
        pair.ratio.map_or_else(absent, |ratio| ratio_text(ratio.estimate)),
        pair.ratio.map_or_else(absent, |ratio| interval_text(&ratio)),
        p(pair.p_adjusted),
        p(pair.p_same_adjusted),
        pair.smallest_detectable.map_or_else(absent, |share| format!("{:.1} %", share * 100.0)),
        pair.verdict.name().to_owned(),
    ]
}

/// How many cases have which verdict.
pub(super) fn counts_text(comparison: &Comparison) -> String {
    let counts = &comparison.counts;
    let verdicts = [
        (counts.slower, Verdict::Slower),
        (counts.faster, Verdict::Faster),
        (counts.same, Verdict::Same),
        (counts.unsure, Verdict::Unsure),
    ];
    let all = verdicts.iter().filter(|(n, _)| *n > 0);
    all.map(|(n, verdict)| format!("{n} {}", verdict.name())).collect::<Vec<_>>().join(", ")
}

/// The geometric mean, and what is to be said of it; empty without one.
pub(super) fn mean_text(comparison: &Comparison) -> String {
    let Some(overall) = &comparison.overall else { return String::new() };
    let Some(ratio) = &overall.ratio else {
        return format!("no geometric mean of new / base: {}", overall.reasons.join("; "));
    };
    let mean = format!("geometric mean of new / base {}", mean_ratio_text(ratio));
    match overall.reasons.is_empty() {
        true => mean,
        false => format!("{mean}, which is no verdict: {}", overall.reasons.join("; ")),
    }
}

/// Coverage of the intervals, if all have the same.
fn coverage(comparison: &Comparison) -> String {
    let mut all = comparison.pairs.iter().filter_map(|pair| pair.ratio).map(|r| r.coverage);
    let Some(first) = all.next() else { return String::new() };
    let least = all.clone().fold(first, f64::min);
    match all.all(|other| other == first) {
        true => format!(" ({:.1} %)", first * 100.0),
        false => format!(" ({:.1} % at least)", least * 100.0),
    }
}

fn n_cases(n: usize) -> String {
    if n == 1 { "1 case is".into() } else { format!("{n} cases are") }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// The interval, where there is one: two single values have none.
fn interval_text(ratio: &Ratio) -> String {
    match ratio.coverage > 0.0 {
        true => format!("[{}, {}]", ratio_text(ratio.lower), ratio_text(ratio.upper)),
        false => "–".into(),
    }
}

/// A ratio as people read it; what is far from 1 has an exponent.
fn ratio_text(ratio: f64) -> String {
    match ratio {
        r if (0.001..1e4).contains(&r) => format!("{r:.3}"),
        r => format!("{r:.2e}"),
    }
}

/// The geometric mean with its interval and what that covers.
fn mean_ratio_text(ratio: &Ratio) -> String {
    let estimate = ratio_text(ratio.estimate);
    match ratio.coverage > 0.0 {
        true => format!("{estimate} {} ({:.1} %)", interval_text(ratio), ratio.coverage * 100.0),
        false => estimate,
    }
}

fn p_text(p: f64) -> String {
    match p {
        p if p < 0.0001 => "<0.0001".into(),
        p if p < 0.1 => format!("{p:.4}"),
        p => format!("{p:.2}"),
    }
}

fn value_text(sample: &Sample, unit: Unit) -> String {
    let Some(median) = sample.median else { return "–".into() };
    match unit {
        Unit::TokensPerS => format!("{} t/s", significant(median)),
        Unit::PassesPerS => format!("{} /s", significant(median)),
        Unit::FlopsPerS => flops_per_s_text(median),
        Unit::BytesPerS => bytes_per_s_text(median),
        Unit::Ns => duration_text(median.round() as u64),
    }
}

/// The axes that tell cases from each other.
pub(super) fn telling_axes(pairs: &[Pair]) -> Vec<&str> {
    let Some(first) = pairs.first() else { return Vec::new() };
    let differs = |idx: &usize| {
        pairs.iter().any(|pair| pair.axes.get(*idx).is_none_or(|axis| *axis != first.axes[*idx]))
    };
    (0..first.axes.len()).filter(differs).map(|idx| first.axes[idx].axis.as_str()).collect()
}

/// The test's name, which every case has, and the axes that tell it from the others.
fn case_name(pair: &Pair, telling: &[&str]) -> String {
    let value = |name: &str| {
        pair.axes.iter().find(|axis| axis.axis == name).map(|axis| axis.value.as_str())
    };
    let test = match (value("n_prompt"), value("n_gen")) {
        (Some(p), Some("0")) => format!("pp{p}"),
        (Some("0"), Some(g)) => format!("tg{g}"),
        (Some(p), Some(g)) => format!("pp{p}+tg{g}"),
        // Another tool's name of it; without that, and of a probe, the id says it.
        _ => match value("test") {
            Some(test) => test.to_owned(),
            None => return pair.base_id.clone(),
        },
    };
    let mut name = test;
    for axis in telling.iter().filter(|axis| !["n_prompt", "n_gen", "test"].contains(axis)) {
        let value = value(axis).unwrap_or_default();
        name += &match *axis {
            "n_depth" => format!(" @ d{value}"),
            "batch_size" => format!(" b{value}"),
            "n_threads" => format!(" t{value}"),
            _ => format!(" {value}"),
        };
    }
    name
}
