//! Random numbers that are the same on every machine: splitmix64, by Sebastiano Vigna (public domain).

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// Number `index` of the sequence with this seed.
pub(crate) fn nth(seed: u64, index: u64) -> u64 {
    let mut z = seed.wrapping_add(index.wrapping_add(1).wrapping_mul(GOLDEN));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// One number made of several.
pub(crate) fn mix(parts: &[u64]) -> u64 {
    parts.iter().fold(0, |mixed, part| nth(mixed ^ part.rotate_left(23), *part))
}

/// A sequence of random numbers.
#[derive(Debug, Clone)]
pub(crate) struct Random {
    seed: u64,
    next: u64,
}

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random { seed, next: 0 }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.next += 1;
        nth(self.seed, self.next)
    }

    /// A number below this one; 0 if that is 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    /// True so many times of a hundred.
    pub(crate) fn percent(&mut self, of_hundred: usize) -> bool {
        self.below(100) < of_hundred
    }
}
