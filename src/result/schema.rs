//! The format as a JSON Schema, generated from the wire types.

use schemars::SchemaGenerator;

use crate::result::file::ResultFile;
use crate::result::imported::ImportedFile;

/// The JSON Schema (draft 2020-12) of result files, measured ones and imported ones, ending in a
/// newline.
pub fn schema() -> String {
    let mut generator = SchemaGenerator::default();
    let measured = generator.subschema_for::<ResultFile>();
    let imported = generator.subschema_for::<ImportedFile>();
    let schema = serde_json::json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A result file of benchinf",
        "anyOf": [measured, imported],
        "$defs": generator.take_definitions(true),
    });
    let mut text = serde_json::to_string_pretty(&schema).expect("a schema has string keys only");
    text.push('\n');
    text
}
