//! The format as a JSON Schema, generated from the wire types.

use crate::result::file::ResultFile;

/// The JSON Schema (draft 2020-12) of the result file, ending in a newline.
pub fn schema() -> String {
    let mut text = serde_json::to_string_pretty(&schemars::schema_for!(ResultFile))
        .expect("a schema has string keys only");
    text.push('\n');
    text
}
