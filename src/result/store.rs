//! Writing a result file whole or not at all, and reading one back.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::case::{Case, Test};
use crate::error::{Error, Result};
use crate::histogram::{self, Buckets};
use crate::measure;
use crate::plan::Plan;
use crate::result::FormatVersion;
use crate::result::file::{CaseFile, LatencyFile, OutcomeFile, ResultFile};
use crate::stats;

/// Where a result file will go.
#[derive(Clone, Debug)]
pub struct Destination {
    path: PathBuf,
    conflict: Conflict,
}

/// What to do if the file is already there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Conflict {
    Refuse,
    Replace,
    /// Take the next free name: `x.json`, `x-2.json`, …
    Number,
}

impl Destination {
    /// The file that the user named. Unless `replace` is set, a file that is already there is an
    /// error.
    ///
    /// # Errors
    /// [`Error::OutputExists`], or [`Error::Write`] for what can never be a result file.
    pub fn named(path: PathBuf, replace: bool) -> Result<Self> {
        let refuse = |why: &str| {
            let source = std::io::Error::other(why.to_owned());
            Err(Error::Write { path: path.clone(), source })
        };
        if path.as_os_str() == "-" {
            return refuse("a result file needs a name (-o json prints it)");
        }
        if path.as_os_str().to_string_lossy().ends_with(std::path::MAIN_SEPARATOR) {
            return refuse("this names a directory");
        }
        if path.file_name().is_none() {
            return refuse("this names a directory");
        }
        match (path.symlink_metadata(), path.metadata()) {
            (Err(e), _) if e.kind() == std::io::ErrorKind::NotFound => {}
            (Err(source), _) => return Err(Error::Write { path, source }),
            (Ok(_), Err(_)) => return refuse("it is a symbolic link that leads nowhere"),
            // Renaming over a device or a pipe would remove it.
            (Ok(_), Ok(target)) if !target.is_file() => return refuse("it is not a regular file"),
            _ if !replace => return Err(Error::OutputExists { path }),
            _ => {}
        }
        // A link is followed, so that the file it leads to is replaced and not the link.
        let path = path.canonicalize().unwrap_or(path);
        let conflict = if replace { Conflict::Replace } else { Conflict::Refuse };
        Ok(Self { path, conflict })
    }

    /// `results/<UTC>-<device>-<model>.json`, numbered if that is taken by the time of writing.
    pub fn default_for(plan: &Plan) -> Self {
        let time = measure::utc_now().strftime("%Y%m%dT%H%M%SZ");
        let device = plan.settings.device.to_string().replace(':', "");
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        let first = plan.models.first().map_or("model", |model| model.label.as_str());
        // A file name has 255 bytes.
        let model: String =
            first.chars().map(|c| if plain(c) { c } else { '_' }).take(100).collect();
        let others = match plan.models.len() {
            0 | 1 => String::new(),
            n => format!("+{}", n - 1),
        };
        let path = PathBuf::from(format!("results/{time}-{device}-{model}{others}.json"));
        Self { path, conflict: Conflict::Number }
    }

    /// The file's path, before any numbering.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes sure that the file can be written, creating its directory.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn prepare(&self) -> Result<()> {
        let directory = directory(&self.path);
        std::fs::create_dir_all(directory).map_err(Error::write(&self.path))?;
        // Dropped at once: only a try shows what permissions, mounts and quotas allow.
        tempfile::NamedTempFile::new_in(directory).map_err(Error::write(&self.path))?;
        Ok(())
    }

    /// Writes `result` beside its place, flushes it to the disk, and renames it into place.
    /// Gives the path it has.
    ///
    /// # Errors
    /// [`Error::Write`], and nothing is left behind; or [`Error::OutputExists`] if a file has
    /// appeared since.
    pub fn write(&self, result: &ResultFile) -> Result<PathBuf> {
        let failed = || Error::write(&self.path);
        let mut builder = tempfile::Builder::new();
        builder.prefix(".benchinf-");
        // A temporary file is private by default; a result is for others to read.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644));
        let mut file = builder.tempfile_in(directory(&self.path)).map_err(failed())?;
        // Through the file itself: the wrapper's errors name the temporary path.
        file.as_file_mut().write_all(to_json(result).as_bytes()).map_err(failed())?;
        file.as_file().sync_all().map_err(failed())?;
        let mut n = 1;
        loop {
            let path = self.path_numbered(n);
            let persisted = match self.conflict {
                Conflict::Replace => file.persist(&path),
                Conflict::Refuse | Conflict::Number => file.persist_noclobber(&path),
            };
            let error = match persisted {
                Ok(_) => return Ok(path),
                Err(error) => error,
            };
            let taken = error.error.kind() == std::io::ErrorKind::AlreadyExists;
            match self.conflict {
                Conflict::Number if taken => n += 1,
                Conflict::Refuse if taken => return Err(Error::OutputExists { path }),
                _ => return Err(failed()(error.error)),
            }
            file = error.file;
        }
    }

    fn path_numbered(&self, n: u32) -> PathBuf {
        match (n, self.path.file_stem()) {
            (2.., Some(stem)) => {
                self.path.with_file_name(format!("{}-{n}.json", stem.to_string_lossy()))
            }
            _ => self.path.clone(),
        }
    }
}

/// One or several files as text, ending in a newline.
pub fn to_json(result: &impl Serialize) -> String {
    let mut json = serde_json::to_string_pretty(result)
        .expect("keys are strings and no type of the wire format can fail to serialise");
    json.push('\n');
    json
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Reads a result file of any version that this build knows.
///
/// # Errors
/// [`Error::Read`] if it cannot be opened, [`Error::ResultFile`] if it is not a result file, is
/// of a newer major version, or contradicts itself.
pub fn read(path: &Path) -> Result<ResultFile> {
    let text = std::fs::read_to_string(path).map_err(Error::read(path))?;
    parse(&text).map_err(|problem| Error::ResultFile { path: path.into(), problem })
}

fn parse(text: &str) -> std::result::Result<ResultFile, String> {
    // The version alone first: a newer file may fail to parse in ways that would only confuse.
    #[derive(Deserialize)]
    struct Head {
        format_version: FormatVersion,
    }
    let head: Head =
        serde_json::from_str(text).map_err(|e| format!("this is not a result file: {e}"))?;
    head.format_version.check_readable()?;
    let file: ResultFile = serde_json::from_str(text)
        .map_err(|e| format!("this result file is damaged or was edited: {e}"))?;
    let mut seen = std::collections::HashSet::new();
    if let Some(case) = file.cases.iter().find(|case| !seen.insert(case.id.as_str())) {
        return Err(format!("case {} appears twice", case.id));
    }
    for case in &file.cases {
        let of = |problem| format!("case {}: {problem}", case.id);
        if !file.plan.models.iter().any(|model| model.label == case.axes.model) {
            return Err(of("it is of a model that the plan does not have".into()));
        }
        check_case(case).map_err(of)?;
    }
    Ok(file)
}

/// What must agree inside a case, whoever wrote it.
fn check_case(case: &CaseFile) -> std::result::Result<(), String> {
    check_axes(case)?;
    let is_measured = case.outcome == OutcomeFile::Measured;
    if is_measured == case.rounds.is_empty() || is_measured == case.latencies.is_empty() {
        return Err(format!(
            "its outcome does not fit its {} rounds and {} latencies",
            case.rounds.len(),
            case.latencies.len()
        ));
    }
    for round in &case.rounds {
        let within = |ns: u64| (round.min_pass_ns..=round.max_pass_ns).contains(&ns);
        if round.passes == 0 || !within(round.total_ns / round.passes) {
            return Err("the mean pass of a round is not between its extremes".into());
        }
    }
    check_throughput(case)?;
    for latency in &case.latencies {
        check_latency(latency).map_err(|problem| format!("{}: {problem}", latency.metric))?;
    }
    Ok(())
}

/// Id, test name and tokens follow from the axes.
fn check_axes(case: &CaseFile) -> std::result::Result<(), String> {
    let axes = &case.axes;
    let test = match (axes.n_prompt, axes.n_gen) {
        (0, 0) => return Err("its axes name no test".into()),
        (n_prompt, 0) => Test::Prefill { n_prompt },
        (0, n_gen) => Test::Decode { n_gen },
        (n_prompt, n_gen) => Test::Generate { n_prompt, n_gen },
    };
    let live = Case {
        model: axes.model.clone(),
        dtype: axes.dtype.parse()?,
        device: axes.device.parse()?,
        n_threads: axes.n_threads,
        test,
        n_depth: axes.n_depth,
        batch_size: axes.batch_size,
    };
    let found = (case.id.as_str(), axes.test.as_str(), case.work.tokens);
    match found == (&live.id(), &live.test_name(), live.tokens_per_pass()) {
        true => Ok(()),
        false => Err("its id, test or tokens are not those of its axes".into()),
    }
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs())
}

fn check_throughput(case: &CaseFile) -> std::result::Result<(), String> {
    let rounds = case.rounds.iter().filter(|round| round.total_ns > 0);
    let rates: Vec<f64> = rounds
        .map(|round| case.work.tokens as f64 * round.passes as f64 / (round.total_ns as f64 / 1e9))
        .collect();
    let all_close =
        |a: &[f64], b: &[f64]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| close(*a, *b));
    let agree = match &case.throughput {
        None => rates.is_empty(),
        Some(throughput) => {
            let stated = [throughput.mean_tokens_per_s, throughput.median_tokens_per_s];
            let found = [stats::mean(&rates), stats::median(&rates)].map(|v| v.unwrap_or(f64::NAN));
            let (stddev, stated_stddev) = (stats::stddev(&rates), throughput.stddev_tokens_per_s);
            all_close(&rates, &throughput.rounds_tokens_per_s)
                && all_close(&stated, &found)
                && stddev.is_some() == stated_stddev.is_some()
                && stddev.zip(stated_stddev).is_none_or(|(a, b)| (a - b).abs() <= 1e-6 * found[0])
        }
    };
    match agree {
        true => Ok(()),
        false => Err("its throughput is not its tokens by the time of its rounds".into()),
    }
}

fn check_latency(latency: &LatencyFile) -> std::result::Result<(), String> {
    if latency.histogram.encoding != histogram::ENCODING {
        return Err(format!("unknown encoding `{}`", latency.histogram.encoding));
    }
    let buckets = Buckets::decode(&latency.histogram.data)?;
    let count = buckets.count();
    if count != latency.count || count == 0 {
        return Err(format!("count is {}, but the histogram holds {count} values", latency.count));
    }
    let (min, max) = (latency.min_ns, latency.max_ns);
    let mean_ns = latency.sum_ns as f64 / count as f64;
    if min > max || !(min..=max).contains(&(latency.sum_ns / count)) {
        return Err("the mean is not between the extremes".into());
    }
    if !close(latency.mean_ns, mean_ns) {
        return Err("the mean is not the sum by the count".into());
    }
    for (name, ns) in &latency.percentiles_ns {
        let q = name.strip_prefix('p').and_then(|p| p.parse::<f64>().ok()).map(|p| p / 100.0);
        let q = q.filter(|q| (0.0..1.0).contains(q));
        let carried = q.filter(|q| count >= stats::min_count_for_quantile(*q));
        if carried.is_none_or(|q| buckets.quantile(q).clamp(min, max) != *ns) {
            return Err(format!(
                "{name} is not {ns} ns by the histogram, or it has too few values"
            ));
        }
    }
    Ok(())
}
