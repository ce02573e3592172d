//! What is asked of a device: a kernel, how many of its blocks, and on which memory.

use std::marker::PhantomData;

use super::program::Variant;

/// A part of a device's memory.
#[derive(Clone, Copy, Debug)]
pub struct Span<'a> {
    address: u64,
    n_bytes: usize,
    of: PhantomData<&'a ()>,
}

impl<'a> Span<'a> {
    /// What lies at an address of the device, for as long as its owner lives.
    pub(super) fn new(address: u64, n_bytes: usize) -> Self {
        Self { address, n_bytes, of: PhantomData }
    }

    /// Its size.
    pub fn n_bytes(self) -> usize {
        self.n_bytes
    }

    pub(super) fn address(self) -> u64 {
        self.address
    }

    /// A part of it.
    ///
    /// # Panics
    /// If it is not inside.
    pub fn part(self, begin: usize, n_bytes: usize) -> Span<'a> {
        assert!(begin <= self.n_bytes && n_bytes <= self.n_bytes - begin, "a part lies inside");
        Span::new(self.address + begin as u64, n_bytes)
    }
}

/// A kernel with all that it is given.
#[derive(Clone, Debug)]
pub struct Launch<'a> {
    /// The compiled source.
    pub variant: Variant,
    /// The kernel in it.
    pub name: &'static str,
    /// Blocks, in three dimensions.
    pub grid: [u32; 3],
    /// Threads of a block, whole warps.
    pub n_threads: u32,
    /// Values of its parameters, each in the low bytes of a word.
    pub(super) arguments: Vec<u64>,
    of: PhantomData<&'a ()>,
}

impl<'a> Launch<'a> {
    pub(super) fn new(
        variant: Variant,
        name: &'static str,
        grid: [usize; 3],
        n_threads: u32,
    ) -> Self {
        let grid = grid.map(|n| u32::try_from(n).expect("a grid has at most 2^32 blocks a side"));
        Self { variant, name, grid, n_threads, arguments: Vec::with_capacity(20), of: PhantomData }
    }

    /// An address, of memory that has at least `n_bytes`.
    ///
    /// # Panics
    /// If it has fewer.
    pub(super) fn span(mut self, span: Span<'a>, n_bytes: usize) -> Self {
        let (name, n_present) = (self.name, span.n_bytes());
        assert!(n_present >= n_bytes, "{name} needs {n_bytes} bytes, and there are {n_present}");
        self.arguments.push(span.address());
        self
    }

    /// An address, or none.
    pub(super) fn optional(self, span: Option<Span<'a>>, n_bytes: usize) -> Self {
        match span {
            Some(span) => self.span(span, n_bytes),
            None => self.word(0),
        }
    }

    pub(super) fn number(self, value: usize) -> Self {
        let value = i32::try_from(value).expect("sizes of rows and caches are below 2^31");
        self.word(u64::from(value as u32))
    }

    pub(super) fn float(self, value: f32) -> Self {
        self.word(u64::from(value.to_bits()))
    }

    /// A number of 64 bits.
    pub(super) fn long(self, value: u64) -> Self {
        self.word(value)
    }

    fn word(mut self, word: u64) -> Self {
        self.arguments.push(word);
        self
    }
}
