//! A file as memory.

#![allow(unsafe_code)]

use std::fs::File;
use std::ops::Deref;

/// A file mapped read-only. Pages are read when they are touched and belong to the page cache;
/// dropping the map gives them back.
#[derive(Debug)]
pub struct FileMap {
    map: memmap2::Mmap,
}

impl FileMap {
    /// Maps all of `file`.
    ///
    /// # Errors
    /// What the operating system says, for instance of a pipe.
    pub fn new(file: &File) -> std::io::Result<Self> {
        // SAFETY: the map is read-only and private to this value. Its bytes could change only if
        // somebody wrote to the file or cut it while a run loads from it; every reader treats the
        // bytes as untrusted input, so changed bytes give other weights, and a cut file ends the
        // process by the system's SIGBUS, as with every program that maps its checkpoint.
        let map = unsafe { memmap2::Mmap::map(file)? };
        Ok(Self { map })
    }
}

impl Deref for FileMap {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map
    }
}
