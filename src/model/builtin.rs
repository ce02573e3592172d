//! The model shapes of `models/`, embedded at build time.

/// The model of a run that names none.
pub const DEFAULT: &str = "smollm2-135m";

/// A shape that is built in.
#[derive(Clone, Copy, Debug)]
pub struct Builtin {
    /// The name that `--model` takes.
    pub name: &'static str,
    /// Its configuration, in Hugging Face's `config.json` format.
    pub config_json: &'static str,
}

macro_rules! builtins {
    ($($name:literal),* $(,)?) => {
        &[$(Builtin {
            name: $name,
            config_json: include_str!(concat!("../../models/", $name, ".json")),
        }),*]
    };
}

/// All built-in shapes, from small to large.
pub const ALL: &[Builtin] = builtins![
    "tiny",
    "smollm2-135m",
    "qwen2.5-0.5b",
    "qwen3-0.6b",
    "llama-3.2-1b",
    "llama-3.1-8b",
];

/// The built-in shape of that name.
pub fn find(name: &str) -> Option<&'static Builtin> {
    ALL.iter().find(|builtin| builtin.name.eq_ignore_ascii_case(name))
}

/// The built-in name closest to a mistyped one, if any is close enough to be meant.
pub fn nearest(name: &str) -> Option<&'static str> {
    ALL.iter()
        .map(|builtin| (strsim::jaro_winkler(&name.to_lowercase(), builtin.name), builtin.name))
        .filter(|(similarity, _)| *similarity > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistyped_names() {
        for (typed, meant) in [
            ("smolm2-135m", Some("smollm2-135m")),
            ("llama-3.2-1B", Some("llama-3.2-1b")),
            ("llama3.1-8b", Some("llama-3.1-8b")),
            ("qwen3", Some("qwen3-0.6b")),
            ("resnet50", None),
        ] {
            assert_eq!(nearest(typed), meant, "{typed}");
        }
        assert!(find("Tiny").is_some() && find("tin").is_none());
    }
}
