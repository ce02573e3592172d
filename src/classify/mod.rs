//! What figures mean for the rules that control exports: so far the catalogue of devices.

pub mod catalogue;
