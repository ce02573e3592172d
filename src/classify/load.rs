//! Reading rule files. Whatever is wrong is said with line, key and reason, and the whole file is
//! refused.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::civil::Date;
use serde::{Deserialize, Deserializer};
use toml::Spanned;

use crate::classify::catalogue::Grade;
use crate::classify::expression::{Expression, Leaf};
use crate::classify::facts::Facts;
use crate::classify::interval::{Basis, End, Interval};
use crate::classify::kleene::Truth;
use crate::classify::metric::{Flag, Metric, nearest_word};
use crate::classify::parse;
use crate::classify::read_bounded;
use crate::classify::rules::{
    Circuit, Enforcement, Kind, Paragraph, Period, Role, RuleSet, Span, Vector, sort,
};
use crate::error::{Error, Result};

/// Bytes of a rule file at most.
const MAX_BYTES: usize = 1 << 20;

/// Reads the rule sets of a file, or of every `.toml` file of a directory.
///
/// # Errors
/// [`Error::Read`] or [`Error::RuleFile`].
pub fn read(path: &Path) -> Result<Vec<RuleSet>> {
    let mut paths = vec![path.to_path_buf()];
    if path.is_dir() {
        let entries = std::fs::read_dir(path).map_err(Error::read(path))?;
        let entries = entries.map(|e| e.map(|e| e.path())).collect::<std::io::Result<Vec<_>>>();
        paths = entries.map_err(Error::read(path))?;
        paths.retain(|path| path.extension().is_some_and(|e| e == "toml"));
        paths.sort();
        if paths.is_empty() {
            return Err(refused(
                &path.display().to_string(),
                0,
                "",
                "there is no .toml file in it",
            ));
        }
    }
    let one = |path: &std::path::PathBuf| {
        let text = read_bounded(path, MAX_BYTES)?;
        parse(&text, &path.display().to_string())
    };
    let sets = paths.iter().map(one).collect::<Result<Vec<_>>>()?;
    for (i, set) in sets.iter().enumerate() {
        if sets[..i].iter().any(|other| other.id == set.id) {
            let origin = path.display().to_string();
            return Err(refused(&origin, 0, "id", &format!("two files are of `{}`", set.id)));
        }
    }
    Ok(sets)
}

/// Adds rule sets to others; one of the same id takes the other's place.
pub fn add(sets: &mut Vec<RuleSet>, more: Vec<RuleSet>) {
    for set in more {
        sets.retain(|known| known.id != set.id);
        sets.push(set);
    }
    sort(sets);
}

fn refused(origin: &str, line: usize, key: &str, problem: &str) -> Error {
    Error::RuleFile {
        origin: origin.to_owned(),
        line,
        key: key.to_owned(),
        problem: problem.to_owned(),
    }
}

/// Reads one rule set. `origin` is what errors call the text.
///
/// # Errors
/// [`Error::RuleFile`].
pub fn parse(text: &str, origin: &str) -> Result<RuleSet> {
    if text.len() > MAX_BYTES {
        let problem = format!("it has {} bytes; {MAX_BYTES} are allowed", text.len());
        return Err(refused(origin, 0, "", &problem));
    }
    let file: RuleFile = toml::from_str(text).map_err(|e| {
        let at = e.span().map_or(0, |span| span.start);
        refused(origin, line_of(text, at), &key_on_line(text, at), e.message())
    })?;
    let source = Source { text, origin };
    source.rule_set(file)
}

fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes()[..at.min(text.len())].iter().filter(|b| **b == b'\n').count() + 1
}

/// The key that a line gives, if it gives one.
fn key_on_line(text: &str, at: usize) -> String {
    let line = text.lines().nth(line_of(text, at) - 1).unwrap_or_default();
    match line.split_once('=') {
        Some((key, _)) => key.trim().to_owned(),
        None => line.trim().trim_matches(['[', ']']).to_owned(),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleFile {
    id: Spanned<String>,
    title: String,
    jurisdiction: Spanned<String>,
    kind: KindFile,
    #[serde(default)]
    optional: bool,
    citation: String,
    source: String,
    grade: Grade,
    #[serde(default)]
    integrated_circuit: CircuitFile,
    #[serde(default = "yes")]
    rungs: bool,
    note: Option<String>,
    #[serde(default)]
    period: Vec<Spanned<PeriodFile>>,
    #[serde(default)]
    paragraph: Vec<Spanned<ParagraphFile>>,
    #[serde(default)]
    vector: Vec<Spanned<VectorFile>>,
}

fn yes() -> bool {
    true
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum KindFile {
    ExportControl,
    Letter,
    Tariff,
    Bill,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum CircuitFile {
    #[default]
    Package,
    Board,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PeriodFile {
    #[serde(deserialize_with = "date")]
    from: Date,
    #[serde(default, deserialize_with = "maybe_date")]
    to: Option<Date>,
    status: StatusFile,
    note: Option<String>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StatusFile {
    Enforced,
    NotEnforced,
    UnpublishedLetter,
    Bill,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ParagraphFile {
    id: Spanned<String>,
    part_of: Option<Spanned<String>>,
    title: String,
    #[serde(default)]
    role: RoleFile,
    #[serde(default, deserialize_with = "maybe_date")]
    from: Option<Date>,
    #[serde(default, deserialize_with = "maybe_date")]
    to: Option<Date>,
    test: Spanned<String>,
    unless: Option<Spanned<String>>,
    grade: Option<Grade>,
    note: Option<String>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RoleFile {
    #[default]
    Control,
    Exception,
    Review,
    Presumption,
    RedFlag,
    Tariff,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VectorFile {
    paragraph: Spanned<String>,
    facts: BTreeMap<Spanned<String>, Spanned<ValueFile>>,
    verdict: VerdictFile,
}

/// A number for a metric, yes or no for a flag.
enum ValueFile {
    Number(f64),
    Truth(bool),
}

impl<'de> Deserialize<'de> for ValueFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = ValueFile;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a number, true or false")
            }
            fn visit_bool<E>(self, value: bool) -> std::result::Result<ValueFile, E> {
                Ok(ValueFile::Truth(value))
            }
            fn visit_i64<E>(self, value: i64) -> std::result::Result<ValueFile, E> {
                Ok(ValueFile::Number(value as f64))
            }
            fn visit_f64<E>(self, value: f64) -> std::result::Result<ValueFile, E> {
                Ok(ValueFile::Number(value))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum VerdictFile {
    Reached,
    NotReached,
    Undetermined,
}

fn date<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Date, D::Error> {
    use serde::de::Error as _;
    let read = toml::value::Datetime::deserialize(deserializer)?;
    match (read.date, read.time) {
        (Some(day), None) => {
            let field = |value: u8| i8::try_from(value).map_err(D::Error::custom);
            let year = i16::try_from(day.year).map_err(D::Error::custom)?;
            Date::new(year, field(day.month)?, field(day.day)?).map_err(D::Error::custom)
        }
        _ => Err(D::Error::custom("a date such as 2023-11-17 is wanted")),
    }
}

fn maybe_date<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Option<Date>, D::Error> {
    date(deserializer).map(Some)
}

/// A file's text, for errors that say where.
struct Source<'a> {
    text: &'a str,
    origin: &'a str,
}

impl Source<'_> {
    fn error<T>(&self, at: &Spanned<T>, key: &str, problem: impl AsRef<str>) -> Error {
        refused(self.origin, line_of(self.text, at.span().start), key, problem.as_ref())
    }

    fn rule_set(&self, file: RuleFile) -> Result<RuleSet> {
        self.id(&file.id, "id")?;
        self.id(&file.jurisdiction, "jurisdiction")?;
        if file.period.is_empty() {
            return Err(self.error(
                &file.id,
                "period",
                "it has no [[period]], so it never applies",
            ));
        }
        if file.paragraph.is_empty() {
            return Err(self.error(&file.id, "paragraph", "it has no [[paragraph]]"));
        }
        let mut set = RuleSet {
            id: file.id.into_inner(),
            title: file.title,
            jurisdiction: file.jurisdiction.into_inner(),
            kind: match file.kind {
                KindFile::ExportControl => Kind::ExportControl,
                KindFile::Letter => Kind::Letter,
                KindFile::Tariff => Kind::Tariff,
                KindFile::Bill => Kind::Bill,
            },
            is_optional: file.optional,
            citation: file.citation,
            source: file.source,
            grade: file.grade,
            circuit: match file.integrated_circuit {
                CircuitFile::Package => Circuit::Package,
                CircuitFile::Board => Circuit::Board,
            },
            makes_rungs: file.rungs,
            note: file.note,
            periods: self.periods(file.period)?,
            paragraphs: Vec::new(),
            vectors: Vec::new(),
        };
        for paragraph in file.paragraph {
            let read = self.paragraph(&paragraph, &set)?;
            set.paragraphs.push(read);
        }
        for vector in &file.vector {
            let read = self.vector(vector, &set)?;
            set.vectors.push(read);
        }
        for (i, paragraph) in set.paragraphs.iter().enumerate() {
            if !set.vectors.iter().any(|vector| vector.paragraph_idx == i) {
                let problem =
                    format!("paragraph {} has no [[vector]] that shows its test", paragraph.id);
                return Err(refused(self.origin, 0, "vector", &problem));
            }
        }
        Ok(set)
    }

    /// Ids are short and plain: they become keys and column names.
    fn id(&self, id: &Spanned<String>, key: &str) -> Result<()> {
        let text = id.as_ref();
        let is_plain = text.chars().all(|c| c.is_alphanumeric() || " .-_()§/".contains(c));
        match !text.is_empty() && text.chars().count() <= 80 && is_plain {
            true => Ok(()),
            false => Err(self.error(
                id,
                key,
                "1 to 80 letters, digits, spaces and . - _ ( ) § / are wanted",
            )),
        }
    }

    fn periods(&self, files: Vec<Spanned<PeriodFile>>) -> Result<Vec<Period>> {
        let mut periods: Vec<Period> = Vec::new();
        for file in files {
            let PeriodFile { from, to, .. } = *file.as_ref();
            self.check_order(&file, from, to)?;
            if let Some(last) = periods.last() {
                let problem = match last.span.to {
                    None => Some("the period before it never ends, so the two overlap".to_owned()),
                    Some(end) if end >= from => Some(format!(
                        "it begins on {from}, but the period before it ends on {end}: they overlap"
                    )),
                    Some(_) => None,
                };
                if let Some(problem) = problem {
                    return Err(self.error(&file, "period.from", problem));
                }
            }
            let file = file.into_inner();
            let enforcement = match file.status {
                StatusFile::Enforced => Enforcement::Enforced,
                StatusFile::NotEnforced => Enforcement::NotEnforced,
                StatusFile::UnpublishedLetter => Enforcement::UnpublishedLetter,
                StatusFile::Bill => Enforcement::Bill,
            };
            periods.push(Period { span: Span { from, to }, enforcement, note: file.note });
        }
        Ok(periods)
    }

    fn check_order<T>(&self, at: &Spanned<T>, from: Date, to: Option<Date>) -> Result<()> {
        match to.filter(|to| *to < from) {
            None => Ok(()),
            Some(to) => {
                Err(self.error(at, "to", format!("it ends on {to}, before it begins on {from}")))
            }
        }
    }

    fn paragraph(&self, file: &Spanned<ParagraphFile>, set: &RuleSet) -> Result<Paragraph> {
        let paragraph = file.as_ref();
        self.id(&paragraph.id, "paragraph.id")?;
        let id = paragraph.id.as_ref();
        let span = self.paragraph_span(file, set)?;
        let same_id = set.paragraphs.iter().filter(|other| other.id == *id);
        for other in same_id {
            let (first, second) =
                if other.span.from <= span.from { (other.span, span) } else { (span, other.span) };
            if first.to.is_none_or(|to| to >= second.from) {
                let problem = format!("there are two tests of {id} for {}", second.from);
                return Err(self.error(&paragraph.id, "paragraph.id", problem));
            }
        }
        if let Some(whole) = &paragraph.part_of {
            let is_there = set.paragraphs.iter().any(|other| other.id == *whole.as_ref());
            if !is_there {
                let problem = format!("there is no paragraph {} above this one", whole.as_ref());
                return Err(self.error(whole, "paragraph.part_of", problem));
            }
        }
        let unless = paragraph.unless.as_ref();
        let test = self.expression(&paragraph.test, "paragraph.test")?;
        let out = unless.map(|text| self.expression(text, "paragraph.unless")).transpose()?;
        let is_unsettled =
            |expression: &Expression| expression.leaves().contains(&&Leaf::Unsettled);
        let is_any_unsettled = is_unsettled(&test) || out.as_ref().is_some_and(is_unsettled);
        if is_any_unsettled && paragraph.note.is_none() {
            let problem = "`unsettled` needs a note that says what is open";
            return Err(self.error(&paragraph.test, "paragraph.note", problem));
        }
        Ok(Paragraph {
            id: id.clone(),
            part_of: paragraph.part_of.as_ref().map(|whole| whole.as_ref().clone()),
            title: paragraph.title.clone(),
            role: match paragraph.role {
                RoleFile::Control => Role::Control,
                RoleFile::Exception => Role::Exception,
                RoleFile::Review => Role::Review,
                RoleFile::Presumption => Role::Presumption,
                RoleFile::RedFlag => Role::RedFlag,
                RoleFile::Tariff => Role::Tariff,
            },
            span,
            test,
            unless: out,
            grade: paragraph.grade.unwrap_or(set.grade),
            note: paragraph.note.clone(),
        })
    }

    /// A paragraph applies as long as its rule set, or during the part of that time it names.
    fn paragraph_span(&self, file: &Spanned<ParagraphFile>, set: &RuleSet) -> Result<Span> {
        let (paragraph, whole) = (file.as_ref(), set.span());
        let span =
            Span { from: paragraph.from.unwrap_or(whole.from), to: paragraph.to.or(whole.to) };
        self.check_order(file, span.from, span.to)?;
        let ends_later = match (span.to, whole.to) {
            (Some(own), Some(whole)) => own > whole,
            _ => false,
        };
        if span.from < whole.from || ends_later {
            let problem = "it applies when its rule set does not, by the periods above";
            return Err(self.error(file, "paragraph.from", problem));
        }
        Ok(span)
    }

    fn expression(&self, text: &Spanned<String>, key: &str) -> Result<Expression> {
        parse::parse(text.as_ref()).map_err(|problem| self.error(text, key, problem))
    }

    fn vector(&self, file: &Spanned<VectorFile>, set: &RuleSet) -> Result<Vector> {
        let vector = file.as_ref();
        let id = vector.paragraph.as_ref();
        let Some(paragraph_idx) = set.paragraphs.iter().position(|p| p.id == *id) else {
            let problem = format!("there is no paragraph {id} in this file");
            return Err(self.error(&vector.paragraph, "vector.paragraph", problem));
        };
        let mut facts = Facts::default();
        for (name, value) in &vector.facts {
            self.fact(name, value, &mut facts)?;
        }
        let truth = match vector.verdict {
            VerdictFile::Reached => Truth::True,
            VerdictFile::NotReached => Truth::False,
            VerdictFile::Undetermined => Truth::Unknown,
        };
        // Wherever the same id has another test at another time, one of them must agree.
        let mut candidates = set.paragraphs.iter().enumerate().filter(|(_, p)| p.id == *id);
        let agreeing = candidates.find(|(_, paragraph)| paragraph.truth(&facts) == truth);
        match agreeing {
            Some((paragraph_idx, _)) => Ok(Vector { paragraph_idx, facts, truth }),
            None => {
                let found = set.paragraphs[paragraph_idx].truth(&facts);
                let problem = format!(
                    "{id} is {} with these facts, not {}: test and vector contradict each other",
                    super::verdict::word(found),
                    super::verdict::word(truth)
                );
                Err(self.error(&vector.paragraph, "vector.verdict", problem))
            }
        }
    }

    fn fact(
        &self,
        name: &Spanned<String>,
        value: &Spanned<ValueFile>,
        facts: &mut Facts,
    ) -> Result<()> {
        let key = format!("vector.facts.{}", name.as_ref());
        let basis = || Basis::declared("an example of the rule file");
        match (Metric::from_name(name.as_ref()), Flag::from_name(name.as_ref()), value.as_ref()) {
            (Some(metric), _, ValueFile::Number(number)) => {
                let end = End::new(*number, basis()).ok_or_else(|| {
                    self.error(value, &key, format!("{number} is not a number of 0 at least"))
                })?;
                facts.set_metric(metric, Interval::point(Some(end)));
                Ok(())
            }
            (_, Some(flag), ValueFile::Truth(truth)) => {
                facts.set_flag(flag, Truth::from(*truth), basis());
                Ok(())
            }
            (Some(_), ..) => Err(self.error(value, &key, "a number is wanted")),
            (_, Some(_), _) => Err(self.error(value, &key, "true or false is wanted")),
            (None, None, _) => {
                let hint = nearest_word(name.as_ref())
                    .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
                let problem = format!("this is neither a metric nor a flag{hint}");
                Err(self.error(name, &key, problem))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"id = "T-1"
title = "t"
jurisdiction = "X"
kind = "export_control"
citation = "c"
source = "s"
grade = "official"
[[period]]
from = 2020-01-01
to = 2020-12-31
status = "enforced"
[[paragraph]]
id = "p"
title = "t"
test = "tpp >= 10 and datacenter"
[[vector]]
paragraph = "p"
facts = { tpp = 10, datacenter = true }
verdict = "reached"
"#;

    #[test]
    fn a_good_file_is_read() {
        let set = parse(GOOD, "good.toml").unwrap();
        assert_eq!((set.paragraphs.len(), set.vectors.len()), (1, 1));
        assert_eq!(set.span().to, Some(Date::constant(2020, 12, 31)));
        assert_eq!(set.circuit, Circuit::Package);
    }

    /// Each with what is changed in the good file, and what is said: line, key, reason.
    #[test]
    fn bad_files_are_refused_with_line_key_and_reason() {
        let more = |text: &str| format!("verdict = \"reached\"\n{text}");
        let second_period =
            "[[period]]\nfrom = 2020-06-01\nstatus = \"enforced\"\n[[paragraph]]\nid";
        let twin = more("[[paragraph]]\nid = \"p\"\ntitle = \"t\"\ntest = \"tpp >= 11\"\n");
        let orphan = more("[[paragraph]]\nid = \"q\"\ntitle = \"t\"\ntest = \"tpp >= 11\"\n");
        let part =
            more("[[paragraph]]\nid = \"q\"\npart_of = \"z\"\ntitle = \"t\"\ntest = \"tpp > 1\"\n");
        let early = "test = \"tpp >= 10 and datacenter\"\nfrom = 2019-01-01";
        let deep = format!("test = \"{}tpp > 1{}\"", "(".repeat(99), ")".repeat(99));
        for (from, to, words) in [
            ("kind = \"export_control\"", "kind = \"advice\"", "t.toml:4: kind: unknown variant"),
            ("citation = \"c\"", "citattion = \"c\"", "t.toml:5: citattion: unknown field"),
            ("title = \"t\"\njurisdiction", "jurisdiction", "missing field `title`"),
            ("id = \"T-1\"", "id = \"T\\u001b\"", "t.toml:1: id: 1 to 80 letters"),
            ("id = \"T-1\"", "id = ", "t.toml:1: id: "),
            ("from = 2020-01-01", "from = 2020-13-01", "t.toml:9: from: "),
            ("from = 2020-01-01", "from = \"2020-01-01\"", "t.toml:9: from: "),
            ("from = 2020-01-01", "from = 2020-01-01T00:00:00", "a date such as 2023-11-17"),
            (
                "from = 2020-01-01",
                "from = 2021-01-01",
                "t.toml:8: to: it ends on 2020-12-31, before it begins on 2021-01-01",
            ),
            (
                "[[paragraph]]\nid",
                second_period,
                "t.toml:12: period.from: it begins on 2020-06-01, but the period before it ends on 2020-12-31: they overlap",
            ),
            (
                "tpp >= 10 and",
                "unsettled or tpp >= 10 or not",
                "t.toml:15: paragraph.note: `unsettled` needs a note that says what is open",
            ),
            ("tpp >= 10 and", "tpp >= 10 und", "t.toml:15: paragraph.test: character 11"),
            ("tpp >= 10 and", "top >= 10 and", "`top` is not a metric; did you mean `tpp`?"),
            ("test = \"tpp >= 10 and datacenter\"", &deep, "more than 16 parentheses"),
            (
                "test = \"tpp >= 10 and datacenter\"",
                early,
                "t.toml:12: paragraph.from: it applies when its rule set does not",
            ),
            (
                "verdict = \"reached\"",
                "verdict = \"not_reached\"",
                "t.toml:17: vector.verdict: p is reached with these facts, not not_reached: test and vector contradict",
            ),
            ("tpp = 10,", "tpp = 9.99,", "test and vector contradict each other"),
            ("tpp = 10,", "tpp = nan,", "vector.facts.tpp: NaN is not a number of 0 at least"),
            ("tpp = 10,", "tpp = -1,", "-1 is not a number of 0 at least"),
            ("tpp = 10,", "tpp = true,", "vector.facts.tpp: a number is wanted"),
            (
                "tpp = 10,",
                "tppp = 10,",
                "t.toml:18: vector.facts.tppp: this is neither a metric nor a flag; did you mean `tpp`?",
            ),
            ("datacenter = true", "datacenter = 1", "true or false is wanted"),
            ("paragraph = \"p\"", "paragraph = \"q\"", "there is no paragraph q in this file"),
            (
                "verdict = \"reached\"\n",
                &twin,
                "paragraph.id: there are two tests of p for 2020-01-01",
            ),
            (
                "verdict = \"reached\"\n",
                &orphan,
                "paragraph q has no [[vector]] that shows its test",
            ),
            ("verdict = \"reached\"\n", &part, "paragraph.part_of: there is no paragraph z above"),
        ] {
            assert!(GOOD.contains(from), "{from}");
            let text = GOOD.replacen(from, to, 1);
            let problem = parse(&text, "t.toml").err().map(|e| e.to_string()).unwrap_or_default();
            assert!(problem.contains(words), "{words}: {problem}");
        }
        let nothing = GOOD.split("[[period]]").next().unwrap();
        assert!(parse(nothing, "t").unwrap_err().to_string().contains("it has no [[period]]"));
        let bare = GOOD.split("[[paragraph]]").next().unwrap();
        assert!(parse(bare, "t").unwrap_err().to_string().contains("it has no [[paragraph]]"));
        let large = format!("{GOOD}#{}", " ".repeat(MAX_BYTES));
        assert!(parse(&large, "t").unwrap_err().to_string().contains("are allowed"));
    }

    #[test]
    fn a_period_that_never_ends_overlaps_the_next() {
        let text = GOOD.replacen("to = 2020-12-31\n", "", 1).replacen(
            "[[paragraph]]",
            "[[period]]\nfrom = 2030-01-01\nstatus = \"enforced\"\n[[paragraph]]",
            1,
        );
        let problem = parse(&text, "t.toml").unwrap_err().to_string();
        assert!(problem.contains("the period before it never ends"), "{problem}");
    }

    #[test]
    fn a_directory_adds_and_replaces() {
        let directory = tempfile::tempdir().unwrap();
        assert!(read(directory.path()).unwrap_err().to_string().contains("no .toml file"));
        std::fs::write(directory.path().join("a.toml"), GOOD).unwrap();
        std::fs::write(directory.path().join("b.toml"), GOOD.replace("T-1", "US-2023-11-17"))
            .unwrap();
        std::fs::write(directory.path().join("README.md"), "not a rule").unwrap();
        let mut sets = crate::classify::rules::embedded().unwrap();
        let n = sets.len();
        add(&mut sets, read(directory.path()).unwrap());
        assert_eq!(sets.len(), n + 1);
        let replaced = sets.iter().find(|set| set.id == "US-2023-11-17").unwrap();
        assert_eq!(replaced.paragraphs.len(), 1);
        std::fs::write(directory.path().join("c.toml"), GOOD).unwrap();
        assert!(read(directory.path()).unwrap_err().to_string().contains("two files are of `T-1`"));
    }
}
