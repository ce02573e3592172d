//! What figures mean for the rules that control exports: what is proved, what is possible and what
//! is unknown, under every version of the rules. It sees result files, rule sets and device
//! specifications, runs nothing and prints nothing.

pub mod classification;
pub mod evidence;
pub mod expression;
pub mod facts;
pub mod grade;
pub mod interval;
pub mod kleene;
pub mod ladder;
pub mod load;
pub mod metric;
pub mod parse;
pub mod record;
pub mod reference;
pub mod rules;
pub mod specification;
pub mod verdict;

pub use classification::{Classification, DISCLAIMER, Matching, Subject, Terms, classify};
pub use record::{ClassificationRecord, References, record, schema};
