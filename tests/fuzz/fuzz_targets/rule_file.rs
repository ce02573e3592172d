//! Whatever bytes come in, a rule file is read or refused without a panic, and so is a test; what
//! was read is written as something that is read as the same, and classifies a device.

#![no_main]

use benchinf::classify::facts::Facts;
use benchinf::classify::verdict::{Known, When, verdicts};
use benchinf::classify::{self, load, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(expression) = parse::parse(text) {
        let written = expression.to_string();
        if written.len() <= parse::MAX_LENGTH {
            assert_eq!(parse::parse(&written).as_ref(), Ok(&expression), "{written}");
        }
    }
    if let Ok(set) = load::parse(text, "fuzz.toml") {
        let sets = [set];
        let _ = verdicts(&sets, When::Timeline(classify::today()), &Known::from(Facts::default()), None);
    }
});
