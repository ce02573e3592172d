//! What one timed iteration is. Nothing here knows of files or statistics.

mod inference;
mod tokens;

pub use inference::{Inference, Session, last_logits};
pub use tokens::TokenStream;
