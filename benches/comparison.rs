//! How often comparisons are wrong, and what they cost: `cargo bench --no-default-features --bench
//! comparison`. Rounds whose truth is known are made up from a seed, so that the first tables are the
//! same everywhere.

use benchinf::compare::honesty::{Noise, Tally, Trial, tally};
use benchinf::measure::{Clock, MonotonicClock};

const N_FAMILIES: usize = 4_000;

fn main() {
    let clock = MonotonicClock::default();
    let begin_ns = clock.now_ns();
    let trial = Trial { n_families: N_FAMILIES, ..Trial::default() };
    println!(
        "{N_FAMILIES} families of {} cases; rounds have a standard deviation of 1 % unless a spread is \
         given\n",
        trial.n_cases
    );
    let percent = |share: f64| format!("{:.2} %", share * 100.0);

    println!("| no difference | spread | rounds | families called faster or slower | aim |");
    println!("|---|---|---|---|---|");
    for noise in Noise::ALL {
        // With more noise, few cases are shown to be the same, which would hide the others.
        for (spread, n_rounds) in [(0.01, 6), (0.01, 8), (0.1, 6), (0.1, 8)] {
            let found = tally(&Trial { noise, spread, n_rounds, ..trial });
            let share = found.families_with_difference;
            println!(
                "| {} | {spread} | {n_rounds} | {} | {} |",
                noise.name(),
                percent(share),
                aim(share <= 0.05, "≤ 5 %")
            );
        }
    }

    println!(
        "\n| true difference | rounds | called so | called the same | called the opposite | aim |"
    );
    println!("|---|---|---|---|---|---|");
    for (ratio, name) in [(1.05, "+5 %"), (1.0 / 1.05, "−5 %"), (1.03, "+3 %, the margin")] {
        for n_rounds in [6, 8] {
            let Tally { found, same, wrong_direction, .. } =
                tally(&Trial { ratio, n_rounds, ..trial });
            let aim = match (n_rounds, ratio == 1.03) {
                (8, false) => aim(found >= 0.9, "found ≥ 90 %"),
                _ => String::new(),
            };
            let [found, same, wrong] = [found, same, wrong_direction].map(percent);
            println!("| {name} | {n_rounds} | {found} | {same} | {wrong} | {aim} |");
        }
    }

    println!("\n| at the margin | rounds | families with any case called the same | aim |");
    println!("|---|---|---|---|");
    for n_rounds in [6, 8] {
        let share = tally(&Trial { ratio: 1.03, n_rounds, ..trial }).families_with_same;
        println!("| +3 % | {n_rounds} | {} | {} |", percent(share), aim(share <= 0.05, "≤ 5 %"));
    }

    println!("\n| intervals | spread | rounds | hold the true ratio | aim |");
    println!("|---|---|---|---|---|");
    for (noise, spread) in Noise::ALL.into_iter().flat_map(|noise| [(noise, 0.01), (noise, 0.2)]) {
        for n_rounds in [5, 8] {
            let trial = Trial {
                noise,
                spread,
                n_rounds,
                ratio: 1.02,
                n_families: N_FAMILIES / 10,
                ..trial
            };
            let share = tally(&trial).covered;
            let name = noise.name();
            println!(
                "| {name} | {spread} | {n_rounds} | {} | {} |",
                percent(share),
                aim(share >= 0.94, "≥ 94 %")
            );
        }
    }

    println!("\n| rounds | new / base | without a verdict |");
    println!("|---|---|---|");
    for (n_rounds, ratio) in [(3, 1.0), (3, 1.5), (3, 100.0), (1, 2.0)] {
        let trial = Trial { n_rounds, ratio, n_cases: 1, n_families: N_FAMILIES, ..trial };
        println!("| {n_rounds} and {n_rounds} | {ratio} | {} |", percent(tally(&trial).unsure));
    }
    println!("\nmade up and judged in {:.1} s", (clock.now_ns() - begin_ns) as f64 / 1e9);
}

fn aim(met: bool, text: &str) -> String {
    format!("{text}: {}", if met { "met" } else { "MISSED" })
}
