//! Reading and writing memory as fast as it goes: what a machine's bandwidth is measured with.

mod buffer;
mod parallel;
mod stream;

pub use buffer::Buffer;
pub use parallel::{copy_parallel, fill_parallel, read_sum_parallel, triad_parallel};
pub use stream::{copy, read_sum, triad};
