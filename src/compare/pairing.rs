//! Which cases belong together: those of the same axes, all of them, but for axes that differ on
//! purpose.

use std::collections::{HashMap, HashSet};

use crate::compare::record::{AxisChange, Nearest, SideName, Unpaired};
use crate::compare::side::{Item, NamedValue, listed};
use crate::error::{Error, LeftOut, Result};

/// Unpaired cases of a side whose nearest one is looked for.
const NEAREST_FOR: usize = 1_000;

/// Axes of cases that are looked at to find the nearest ones of all unpaired.
const MAX_LOOKED_AT: usize = 200_000_000;

/// Pairs, as positions among the items of both sides, and what is left over.
pub(super) struct Pairing {
    pub pairs: Vec<(usize, usize)>,
    pub unpaired: Vec<Unpaired>,
}

/// Pairs items by their axes but for those of `across`.
///
/// # Errors
/// [`Error::AmbiguousPair`] if several cases of a side are alike without the axes of `across`, with
/// `cause`.
pub(super) fn pair(
    base: &[Item],
    new: &[Item],
    across: &[String],
    cause: LeftOut,
) -> Result<Pairing> {
    keyed(base, across, SideName::Base, cause)?;
    let of_new = keyed(new, across, SideName::New, cause)?;
    let mut pairs = Vec::new();
    let mut left = Vec::new();
    // In the order of the base.
    for (base_idx, item) in base.iter().enumerate() {
        match of_new.get(&key(item, across)) {
            Some(new_idx) => pairs.push((base_idx, *new_idx)),
            None => left.push((SideName::Base, base_idx)),
        }
    }
    let mut is_paired = vec![false; new.len()];
    pairs.iter().for_each(|(_, new_idx)| is_paired[*new_idx] = true);
    left.extend((0..new.len()).filter(|idx| !is_paired[*idx]).map(|idx| (SideName::New, idx)));
    let unpaired = unpaired(base, new, across, &left);
    Ok(Pairing { pairs, unpaired })
}

/// What the values of the axes have in common, as one text.
fn key(item: &Item, across: &[String]) -> String {
    let shared = item.axes.iter().filter(|(axis, _)| !across.iter().any(|name| name == axis));
    shared.map(|(_, value)| value.as_str()).collect::<Vec<_>>().join("\u{1f}")
}

fn keyed(
    items: &[Item],
    across: &[String],
    side: SideName,
    cause: LeftOut,
) -> Result<HashMap<String, usize>> {
    let mut known = HashMap::new();
    for (idx, item) in items.iter().enumerate() {
        if let Some(first) = known.insert(key(item, across), idx) {
            return Err(Error::AmbiguousPair {
                side: side.name(),
                first: items[first].id.clone(),
                other: item.id.clone(),
                across: across.join(","),
                cause,
            });
        }
    }
    Ok(known)
}

fn unpaired(
    base: &[Item],
    new: &[Item],
    across: &[String],
    left: &[(SideName, usize)],
) -> Vec<Unpaired> {
    let mut looked_at = 0;
    let mut n_of_side = HashMap::new();
    let describe = |(side, idx): &(SideName, usize)| {
        let (item, others) = match side {
            SideName::Base => (&base[*idx], new),
            SideName::New => (&new[*idx], base),
        };
        let n = n_of_side.entry(side.name()).or_insert(0);
        *n += 1;
        looked_at += others.len() * item.axes.len();
        let nearest = match *n <= NEAREST_FOR && looked_at <= MAX_LOOKED_AT {
            true => nearest(item, others, across, *side),
            false => None,
        };
        let other = match side {
            SideName::Base => SideName::New,
            SideName::New => SideName::Base,
        };
        let reason = format!("no case of the {} side has these axes", other.name());
        Unpaired { side: *side, id: item.id.clone(), reason, nearest }
    };
    left.iter().map(describe).collect()
}

/// The item that differs in the fewest axes, and in which.
fn nearest(item: &Item, others: &[Item], across: &[String], side: SideName) -> Option<Nearest> {
    let is_left_out = |axis: &str| across.iter().any(|name| name == axis);
    let n_unlike = |other: &&Item| {
        let both = item.axes.iter().zip(&other.axes);
        both.filter(|((axis, a), (_, b))| a != b && !is_left_out(axis)).count()
    };
    let other = others.iter().min_by_key(n_unlike)?;
    let change = |((axis, mine), (_, theirs)): (&NamedValue, &NamedValue)| {
        let (base, new) = match side {
            SideName::Base => (mine, theirs),
            SideName::New => (theirs, mine),
        };
        AxisChange { axis: axis.to_string(), base: base.clone(), new: new.clone() }
    };
    let both = item.axes.iter().zip(&other.axes);
    let unlike = both.filter(|((axis, a), (_, b))| a != b && !is_left_out(axis)).map(change);
    Some(Nearest { id: other.id.clone(), differs_in: unlike.collect() })
}

/// Axes that have one value in all of a side, and another one in all of the other.
pub(super) fn constant_changes(base: &[Item], new: &[Item]) -> Vec<String> {
    let names = base.first().into_iter().flat_map(names);
    let differs = |axis: &&str| match (constant(base, axis), constant(new, axis)) {
        (Some(before), Some(after)) => before != after,
        _ => false,
    };
    names.filter(differs).map(str::to_owned).collect()
}

/// Whether cases have an axis of this name.
pub(super) fn has_axis(items: &[Item], axis: &str) -> bool {
    items.first().is_some_and(|item| names(item).any(|name| name == axis))
}

fn names(item: &Item) -> impl Iterator<Item = &str> {
    item.axes.iter().map(|(axis, _)| axis.as_ref())
}

/// The axes that are left out of pairing, with what they are on both sides.
pub(super) fn changes(base: &[Item], new: &[Item], across: &[String]) -> Vec<AxisChange> {
    let change = |axis: &String| AxisChange {
        axis: axis.clone(),
        base: values(base, axis).join(", "),
        new: values(new, axis).join(", "),
    };
    across.iter().map(change).collect()
}

fn values_of<'a>(items: &'a [Item], axis: &str) -> impl Iterator<Item = &'a str> {
    let of_axis = move |item: &'a Item| item.axes.iter().find(|(name, _)| *name == axis);
    items.iter().filter_map(of_axis).map(|(_, value)| value.as_str())
}

/// The value of an axis, if it has only one.
fn constant<'a>(items: &'a [Item], axis: &str) -> Option<&'a str> {
    let mut values = values_of(items, axis);
    let first = values.next()?;
    values.all(|value| value == first).then_some(first)
}

/// The values of an axis, each once, in order of appearance.
fn values<'a>(items: &'a [Item], axis: &str) -> Vec<&'a str> {
    let mut seen = HashSet::new();
    values_of(items, axis).filter(|value| seen.insert(*value)).collect()
}

/// That an axis of this name exists.
///
/// # Errors
/// [`Error::NoSuchAxis`], with the names that do.
pub(super) fn check_axes(items: &[Item], across: &[String]) -> Result<()> {
    let names: Vec<&str> = items.first().into_iter().flat_map(names).collect();
    match across.iter().find(|axis| !names.contains(&axis.as_str())) {
        Some(axis) => {
            Err(Error::NoSuchAxis { axis: axis.clone(), known: listed(names.into_iter(), ", ") })
        }
        None => Ok(()),
    }
}
