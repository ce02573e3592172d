//! The only home of `unsafe`. Each block says why it holds.

mod file_map;
mod gemm;
mod instructions;
pub mod memory;
mod threads;

pub use file_map::FileMap;
pub use gemm::{Element, Gemm, GemmShape};
pub use instructions::Instructions;
pub use threads::Threads;
