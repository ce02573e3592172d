//! What the loader takes, and what it refuses with which words.

use super::*;

#[test]
fn takes_what_the_format_allows() {
    let text = one_device(
        "year = 2026\naliases = [\"x one\"]\nmarketed_for_datacenters = \"no\"\n\
         die_area = { mm2 = [100, \"data\", \"rough\"], includes = \"all\", alternatives = [{ mm2 = [80, \"data\"], includes = \"one\" }] }\n\
         memory = { kind = \"none\", source = \"data\" }\n\
         io_bidirectional_gb_per_s = { value = 64, source = \"data\", grade = \"unverified\", note = \"PCIe\", alternatives = [{ value = 32, source = \"data\" }] }\n\
         tdp_w = [1.5, \"data\"]\n[device.dense_tera_ops_per_s]\n\
         fp16 = { value = 10, source = \"data\", sparse = false }\nbf16 = [11, \"data\", \"at_least\"]\n\
         int8 = { cores = 2, ops_per_core_and_cycle = 500, clock_ghz = 3, clock = \"maximum\", source = \"data\", unit = \"other\" }",
    );
    let catalogue = parse(&text).unwrap_or_else(|error| panic!("{error}"));
    let device = catalogue.match_device("X One").expect("its alias is known");
    assert_eq!((device.year, device.marketing), (Some(2026), Marketing::NotDatacenter));
    let area = device.die_area.as_ref().unwrap();
    assert_eq!((area.mm2.range(), area.mm2.precision), ((80.0, 100.0), Precision::Rough));
    assert_eq!(area.mm2.alternatives[0].note.as_deref(), Some("one"));
    let bandwidth = device.memory_bandwidth_gb_per_s.as_ref().unwrap();
    assert_eq!((bandwidth.value, bandwidth.grade), (0.0, Grade::Official));
    let io = device.io_bandwidth_gb_per_s.as_ref().unwrap();
    assert_eq!((io.grade, io.range()), (Grade::Unverified, (32.0, 64.0)));
    let tpp = device.tpp_computed().unwrap();
    assert_eq!(tpp.arithmetic(), "11 x 16 bits (bf16) + 3 x 8 bits (int8)");
    assert_eq!((tpp.value, tpp.grade(), tpp.is_rough()), (200.0, Grade::Official, true));
    assert_eq!(device.tpp_upper(), None, "11 is at least");
    let int8 = device.rate(OperandFormat::Int8).unwrap();
    assert_eq!(
        int8.dense_tera_ops_per_s.note.as_deref(),
        Some("2 cores x 500 operations per core and cycle x 3 GHz, the maximum clock")
    );
    assert_eq!(device.rate(OperandFormat::Fp16).unwrap().dense_tera_ops_per_s.value, 10.0);
}

/// Lines of a device, and what the file is refused with. The device's first line is line 8.
const REFUSED: &[(&str, &str)] = &[
    (
        "tdp = [1, \"data\"]",
        "mine.toml:8: `tdp = [1, \"data\"]`: unknown field `tdp`, expected one of \
         `name`, `vendor`, `year`, `aliases`, `marketed_for_datacenters`, `die_area`, \
         `memory`, `memory_gb_per_s`, `io_bidirectional_gb_per_s`, `tdp_w`, \
         `tpp_published`, `notes`, `dense_tera_ops_per_s`",
    ),
    (
        "tdp_w = 700",
        "mine.toml:8: `tdp_w = 700`: invalid type: integer `700`, expected [value, \
         \"source\"], [value, \"source\", \"precision\"] or a table of these",
    ),
    (
        "tdp_w = [700]",
        "mine.toml:8: `tdp_w = [700]`: invalid length 1, expected [value, \"source\"], \
         [value, \"source\", \"precision\"] or a table of these",
    ),
    (
        "tdp_w = [\"fast\", \"data\"]",
        "mine.toml:8: `tdp_w = [\"fast\", \"data\"]`: invalid type: string \"fast\", \
         expected f64",
    ),
    (
        "tdp_w = [700, \"data\", \"rougly\"]",
        "mine.toml:8: `tdp_w = [700, \"data\", \"rougly\"]`: unknown variant `rougly`, \
         expected one of `stated`, `rough`, `at_most`, `at_least`",
    ),
    (
        "tdp_w = [700, \"data\", \"rough\", 3]",
        "mine.toml:8: `tdp_w = [700, \"data\", \"rough\", 3]`: invalid length 4, \
         expected [value, \"source\"], [value, \"source\", \"precision\"] or a table of \
         these",
    ),
    ("tdp_w = { value = 700 }", "mine.toml:8: `tdp_w = { value = 700 }`: missing field `source`"),
    (
        "tdp_w = { value = 700, source = \"data\", unit = \"W\" }",
        "mine.toml:8: `tdp_w = { value = 700, source = \"data\", unit = \"W\" }`: \
         unknown field `unit`, expected one of `value`, `source`, `grade`, `precision`, \
         `note`, `alternatives`",
    ),
    (
        "tdp_w = [0, \"data\"]",
        "mine.toml:8: device `X`: `tdp_w` must be above 0 and below 1e12, but is 0",
    ),
    (
        "\ntdp_w = [-5, \"data\"]",
        "mine.toml:9: device `X`: `tdp_w` must be above 0 and below 1e12, but is -5",
    ),
    (
        "tdp_w = [nan, \"data\"]",
        "mine.toml:8: device `X`: `tdp_w` must be above 0 and below 1e12, but is NaN",
    ),
    (
        "tdp_w = [inf, \"data\"]",
        "mine.toml:8: device `X`: `tdp_w` must be above 0 and below 1e12, but is inf",
    ),
    (
        "tdp_w = [700, \"brochure\"]",
        "mine.toml:8: device `X`: `tdp_w`: no [[source]] of this file has the id \
         `brochure`",
    ),
    (
        "tdp_w = { value = 7, source = \"data\", alternatives = [{ value = 0, source = \"data\" }] }",
        "mine.toml:8: device `X`: `tdp_w.alternatives` must be above 0 and below 1e12, \
         but is 0",
    ),
    ("aliases = [\"Y\", \"x\"]", "mine.toml:8: the name `x` is taken on line 6"),
    ("aliases = [\" \"]", "mine.toml:8: a device or an alias has an empty name"),
    ("year = -1", "mine.toml:8: `year = -1`: invalid value: integer `-1`, expected u16"),
    (
        "marketed_for_datacenters = true",
        "mine.toml:8: `marketed_for_datacenters = true`: wanted string or table",
    ),
    (
        "marketed_for_datacenters = \"maybe\"",
        "mine.toml:8: `marketed_for_datacenters = \"maybe\"`: unknown variant `maybe`, \
         expected one of `yes`, `no`, `unknown`",
    ),
    (
        "memory = { kind = \"none\" }",
        "mine.toml:8: device `X`: `memory.kind = \"none\"` needs a `source` and stands \
         without `gb`",
    ),
    (
        "memory = { kind = \"HBM3\", source = \"data\" }",
        "mine.toml:8: device `X`: `memory.source` is for `kind = \"none\"` alone",
    ),
    (
        "memory = { kind = \"none\", source = \"data\" }\nmemory_gb_per_s = [1, \"data\"]",
        "mine.toml:6: device `X`: `memory_gb_per_s` stands beside `memory.kind = \
         \"none\"`",
    ),
    (
        "die_area = { mm2 = [814, \"data\"] }",
        "mine.toml:8: `die_area = { mm2 = [814, \"data\"] }`: missing field `includes`",
    ),
    (
        "tpp_published = [15840, \"data\"]\n[device.dense_tera_ops_per_s]\nfp8 = [3958, \"data\"]",
        "mine.toml:6: device `X`: `tpp_published` is 15840, but the rates give 31664 \
         (3958 x 8 bits (fp8)), more than 6 % away: one of them is wrong, such as a rate \
         with sparsity, and must be corrected or left out",
    ),
    (
        "[device.dense_tera_ops_per_s]\nfp9 = [1, \"data\"]",
        "mine.toml:9: device `X`: `dense_tera_ops_per_s.fp9` is of no known format; \
         these are: fp64, fp32, tf32, fp16, bf16, fp16_bf16, fp8, fp6, fp4, int8, int4",
    ),
    (
        "[device.dense_tera_ops_per_s]\nfp8_sparse = [3958, \"data\"]",
        "mine.toml:9: device `X`: `dense_tera_ops_per_s.fp8_sparse` is a rate with \
         sparsity, which no rule counts; give the dense rate, which is half of it where \
         two of four operands are zero",
    ),
    (
        "[device.dense_tera_ops_per_s]\nfp8 = { value = 3958, source = \"data\", sparse = true }",
        "mine.toml:9: device `X`: `dense_tera_ops_per_s.fp8` is a rate with sparsity, \
         which no rule counts; give the dense rate, which is half of it where two of \
         four operands are zero",
    ),
    (
        "[device.dense_tera_ops_per_s]\nfp8 = [-1, \"data\"]",
        "mine.toml:9: device `X`: `dense_tera_ops_per_s.fp8` must be above 0 and below \
         1e12, but is -1",
    ),
    (
        "[device.dense_tera_ops_per_s]\nfp16 = [1, \"data\"]\nfp16_bf16 = [1, \"data\"]",
        "mine.toml:10: device `X`: `dense_tera_ops_per_s.fp16_bf16` is the rate of both, \
         so neither can stand beside it",
    ),
    (
        "[device.dense_tera_ops_per_s]\nfp8 = { cores = 4, source = \"data\" }",
        "mine.toml:9: device `X`: `dense_tera_ops_per_s.fp8` needs either `value`, or \
         `cores`, `ops_per_core_and_cycle`, `clock_ghz` and `clock` all together",
    ),
    (
        "[device.dense_tera_ops_per_s]\nfp8 = { value = 1, cores = 4, ops_per_core_and_cycle = 1, clock_ghz = 1.0, clock = \"base\", source = \"data\" }",
        "mine.toml:9: device `X`: `dense_tera_ops_per_s.fp8` needs either `value`, or \
         `cores`, `ops_per_core_and_cycle`, `clock_ghz` and `clock` all together",
    ),
    (
        "[device.dense_tera_ops_per_s]\nfp8 = { cores = 4, ops_per_core_and_cycle = 1, clock_ghz = nan, clock = \"base\", source = \"data\" }",
        "mine.toml:9: device `X`: `dense_tera_ops_per_s.fp8` must be above 0 and below \
         1e12, but is NaN",
    ),
    (
        "[device.dense_tera_ops_per_s]\nfp8 = [1, \"data\"]\nfp8 = [2, \"data\"]",
        "mine.toml:10: `fp8 = [2, \"data\"]`: duplicate key",
    ),
    (
        "tpp = 15840",
        "mine.toml:8: `tpp = 15840`: unknown field `tpp`, expected one of `name`, \
         `vendor`, `year`, `aliases`, `marketed_for_datacenters`, `die_area`, `memory`, \
         `memory_gb_per_s`, `io_bidirectional_gb_per_s`, `tdp_w`, `tpp_published`, \
         `notes`, `dense_tera_ops_per_s`",
    ),
    (
        "tdp_w = [700, \"data\"",
        "mine.toml:8: `tdp_w = [700, \"data\"`: unclosed array, expected `]`",
    ),
];

#[test]
fn refuses_what_it_must() {
    let refused = |text: &str| match parse(text) {
        Ok(_) => "taken".to_owned(),
        Err(error) => error.to_string(),
    };
    for (lines, message) in REFUSED {
        assert_eq!(refused(&one_device(lines)), *message, "{lines}");
    }
    for (text, message) in [
        ("", "mine.toml:1: there is no [[device]] in this file"),
        ("device = 3", "mine.toml:1: `device = 3`: invalid type: integer `3`, expected a sequence"),
        ("[[device]]\nname = \"X\"", "mine.toml:1: `[[device]]`: missing field `vendor`"),
        (
            "[[source]]\nid = \"a\"\ntitle = \"A\"",
            "mine.toml:1: `[[source]]`: missing field `grade`",
        ),
        (
            "[[source]]\nid = \"a\"\ntitle = \"A\"\ngrade = \"good\"",
            "mine.toml:4: `grade = \"good\"`: unknown variant `good`, expected one of \
         `official`, `quoted`, `secondary`, `calculated`, `unverified`",
        ),
    ] {
        assert_eq!(refused(text), message, "{text}");
    }
}

proptest! {
    /// A device file with any stretch of bytes replaced is read or refused, with a line that it has.
    #[test]
    fn a_damaged_file_never_panics(
        at in 0..EMBEDDED.len(),
        length in 0..60_usize,
        patch in "[ -~\\n]{0,12}",
    ) {
        let start = EMBEDDED.floor_char_boundary(at);
        let end = EMBEDDED.floor_char_boundary(at + length);
        let text = format!("{}{patch}{}", &EMBEDDED[..start], &EMBEDDED[end..]);
        if let Err(error) = parse(&text) {
            let Error::DeviceFile { line, problem, .. } = error else { panic!("{error}") };
            prop_assert!((1..=text.lines().count() + 1).contains(&line));
            prop_assert!(!problem.is_empty());
        }
    }
}
