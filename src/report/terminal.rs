//! The Markdown of a result as a terminal shows it: the same words with colours, and bars for shares.
//! Whoever writes it leaves the colours out where they are not wanted.

use anstyle::{AnsiColor, Style};

/// Cells of a bar.
const WIDTH: usize = 10;

const HEADER: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const PROVED: Style = AnsiColor::Green.on_default().bold();
const DOUBT: Style = AnsiColor::Yellow.on_default().bold();
const INVALID: Style = AnsiColor::Red.on_default().bold();

/// A share of 0 to 1 as a bar, exact to an eighth of a cell; blank where there is none.
pub(super) fn bar(share: Option<f64>) -> String {
    const EIGHTHS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
    let share = share.filter(|share| share.is_finite()).unwrap_or(0.0).clamp(0.0, 1.0);
    let eighths = (share * (WIDTH * 8) as f64).round() as usize;
    let mut cells = vec!['█'; eighths / 8];
    // A full bar has no room for the eighths of the next cell, which are none.
    cells.push(EIGHTHS[eighths % 8]);
    cells.resize(WIDTH, ' ');
    cells.into_iter().collect()
}

/// The text with the styles of a terminal in it. What stands between asterisks is painted instead.
pub(super) fn paint(markdown: &str) -> String {
    let lines: Vec<&str> = markdown.lines().collect();
    let mut text = String::new();
    for (i, line) in lines.iter().enumerate() {
        let is_rule = |line: &&str| line.starts_with("|--");
        let is_header = line.starts_with('|') && lines.get(i + 1).is_some_and(is_rule);
        text += &match line {
            line if is_header => styled(HEADER, line),
            line if is_rule(line) => styled(DIM, line),
            line => remark(line),
        };
        text.push('\n');
    }
    text
}

/// A line outside of tables.
fn remark(line: &str) -> String {
    let word = line.strip_prefix("**").and_then(|rest| rest.split_once("**"));
    if let Some((word, rest)) = word {
        let is_worse =
            matches!(word, "Altered" | "Without digests" | "Debug build" | "above_rating");
        return styled(if is_worse { INVALID } else { DOUBT }, word) + rest;
    }
    if let Some((first, rest)) = line.split_once(": ")
        && (first == "Proved, at least" || first.starts_with("Tiers proved"))
    {
        return format!("{}: {rest}", styled(PROVED, first));
    }
    match line.split_once("INVALID") {
        Some((before, after)) => format!("{before}{}{after}", styled(INVALID, "INVALID")),
        None => line.to_owned(),
    }
}

fn styled(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_exact_to_an_eighth() {
        for (share, expected) in [
            (None, "          "),
            (Some(0.0), "          "),
            (Some(0.0125), "▏         "),
            (Some(0.5), "█████     "),
            (Some(0.77), "███████▊  "),
            (Some(1.0), "██████████"),
            (Some(7.0), "██████████"),
            (Some(f64::NAN), "          "),
        ] {
            assert_eq!(bar(share), expected, "{share:?}");
        }
    }

    #[test]
    fn painting_changes_no_word() {
        let markdown = "benchinf 0.1.0\n\n| test | t/s |\n|------|-----|\n| pp8  |  12 |\n\n\
                        - x: INVALID: at 3 times what it is rated for\n\nProved, at least: TPP 1.\n\n\
                        **noisy** in x: so it is; do that.\n\n**Debug build**: say nothing.\n";
        let painted = paint(markdown);
        let stripped = anstream::adapter::strip_str(&painted).to_string();
        assert_eq!(stripped, markdown.replace("**", ""));
        for (style, word) in [
            (HEADER, "| test | t/s |"),
            (DIM, "|------|-----|"),
            (INVALID, "INVALID"),
            (PROVED, "Proved, at least"),
            (DOUBT, "noisy"),
            (INVALID, "Debug build"),
        ] {
            assert!(painted.contains(&styled(style, word)), "{word}: {painted:?}");
        }
    }
}
