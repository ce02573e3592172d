//! The only home of `unsafe`. Each block says why it holds.

mod file_map;
mod threads;

pub use file_map::FileMap;
pub use threads::Threads;
