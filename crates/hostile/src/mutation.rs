//! Ways to damage good input.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

/// No input grows beyond this, in bytes.
const MOST_BYTES: usize = 256 * 1024;

/// Numbers at or near limits.
const NUMBERS: [u64; 16] = [
    0,
    1,
    2,
    7,
    0x7f,
    0x80,
    0xff,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_fffe,
    0xffff_ffff,
    0x1_0000_0000,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    u64::MAX,
];

/// Pieces of text that have a meaning in one of the formats.
const WORDS: [&[u8]; 32] = [
    b"(",
    b")",
    b"%(",
    b"((((((((((((((((((((((((((((((((((((((((",
    b"))))))))))))))))))))",
    b"%(A %(A %(A %(A %(A %(A %(A %(A %(A %(A ",
    b"\"",
    b"\\",
    b"\"\"",
    b"{0}\r\n",
    b"{3+}\r\nabc",
    b"{4294967296}\r\n",
    b"{18446744073709551616+}\r\n",
    b"%{default 0000000000000000000000000000000000000000 3}\r\nabc",
    b"NIL",
    b" ",
    b"\t",
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b"\xff",
    b"\xc3\xa4",
    b"\x1f",
    b"-1",
    b"-9223372036854775808",
    b"9223372036854775808",
    b"18446744073709551615",
    b"99999999999999999999999999",
    b"-0x-8000000000000000",
    b"1:*,4294967295:1",
    b"../../../etc/passwd",
];

/// One piece of damage. Places are taken modulo the input's length.
#[derive(Debug, Clone)]
pub(crate) enum Mutation {
    /// One bit changes.
    Flip(Index, u8),
    /// One byte changes.
    Set(Index, u8),
    /// A big-endian number of this many bytes, at a multiple of four.
    Number(Index, usize, u64),
    /// The same relative to the input's length.
    Length(Index, usize, i8),
    /// The rest is cut off.
    Truncate(Index),
    /// Some bytes are removed.
    Delete(Index, usize),
    /// Bytes of one place are copied to another: inserted, or over what was there.
    Copy(Index, usize, Index, bool),
    /// The same with bytes of another seed.
    Splice(Index, Index, usize, Index, bool),
    /// A word is inserted.
    Word(Index, Index),
    /// Random bytes are inserted.
    Insert(Index, Vec<u8>),
    /// Some bytes are repeated many times.
    Repeat(Index, usize, usize),
}

/// How an input is made.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Which seed is damaged.
    seed: Index,
    /// How much of it is used; `None` is all of it.
    head: Option<usize>,
    /// The damage.
    mutations: Vec<Mutation>,
    /// The bytes after it.
    tail: Vec<u8>,
    /// Whether checksums are recomputed.
    pub(crate) repaired: bool,
}

/// Any plan: nine of ten damage a seed, the others are random bytes behind a few good ones.
pub(crate) fn plans() -> impl Strategy<Value = Plan> {
    let damaged = (any::<Index>(), vec(mutations(), 1..8), any::<bool>()).prop_map(
        |(seed, mutations, repaired)| Plan {
            seed,
            head: None,
            mutations,
            tail: Vec::new(),
            repaired,
        },
    );
    let rubbish = (
        any::<Index>(),
        prop_oneof![Just(0usize), 0usize..200],
        vec(bytes(), 0..60),
        any::<bool>(),
    )
        .prop_map(|(seed, head, tail, repaired)| Plan {
            seed,
            head: Some(head),
            mutations: Vec::new(),
            tail: tail.concat(),
            repaired,
        });
    prop_oneof![9 => damaged, 1 => rubbish]
}

/// Some bytes: random ones or a word.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 1..9),
        proptest::sample::select(WORDS.to_vec()).prop_map(<[u8]>::to_vec),
    ]
}

fn mutations() -> impl Strategy<Value = Mutation> {
    let width = || proptest::sample::select(vec![2usize, 4, 8]);
    let len = || prop_oneof![1usize..16, 1usize..2000];
    let at = any::<Index>;
    prop_oneof![
        3 => (at(), 0u8..8).prop_map(|(at, bit)| Mutation::Flip(at, bit)),
        2 => (at(), any::<u8>()).prop_map(|(at, byte)| Mutation::Set(at, byte)),
        4 => (at(), width(), proptest::sample::select(NUMBERS.to_vec()))
            .prop_map(|(at, width, number)| Mutation::Number(at, width, number)),
        2 => (at(), width(), -9i8..9).prop_map(|(at, width, by)| Mutation::Length(at, width, by)),
        1 => at().prop_map(Mutation::Truncate),
        2 => (at(), len()).prop_map(|(at, len)| Mutation::Delete(at, len)),
        2 => (at(), len(), at(), any::<bool>())
            .prop_map(|(from, len, to, over)| Mutation::Copy(from, len, to, over)),
        1 => (at(), at(), len(), at(), any::<bool>())
            .prop_map(|(seed, from, len, to, over)| Mutation::Splice(seed, from, len, to, over)),
        4 => (at(), at()).prop_map(|(at, word)| Mutation::Word(at, word)),
        1 => (at(), vec(any::<u8>(), 1..20)).prop_map(|(at, bytes)| Mutation::Insert(at, bytes)),
        1 => (at(), 1usize..40, 2usize..3000)
            .prop_map(|(at, len, times)| Mutation::Repeat(at, len, times)),
    ]
}

impl Plan {
    /// The input itself, with the checksums as the damage left them.
    #[must_use]
    pub(crate) fn input(&self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut input = seeds.get(self.seed.index(seeds.len())).cloned().unwrap_or_default();
        if let Some(head) = self.head {
            input.truncate(head);
        }
        for mutation in &self.mutations {
            mutation.apply(&mut input, seeds);
            input.truncate(MOST_BYTES);
        }
        input.extend_from_slice(&self.tail);
        input
    }
}

impl Mutation {
    fn apply(&self, input: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        // A place from the input's start to just after its end.
        let length = input.len();
        let place = |index: &Index| index.index(length + 1);
        match self {
            Mutation::Flip(at, bit) => {
                let at = place(at);
                input.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << bit);
            }
            Mutation::Set(at, new) => {
                let at = place(at);
                input.iter_mut().skip(at).take(1).for_each(|byte| *byte = *new);
            }
            Mutation::Number(at, width, number) => put(input, place(at), *width, *number),
            Mutation::Length(at, width, by) => {
                put(input, place(at), *width, (length as u64).wrapping_add_signed(i64::from(*by)));
            }
            Mutation::Truncate(at) => input.truncate(place(at)),
            Mutation::Delete(at, len) => {
                let at = place(at);
                input.drain(at..at.saturating_add(*len).min(input.len()));
            }
            Mutation::Copy(from, len, to, over) => {
                let piece = piece(input, place(from), *len);
                insert(input, place(to), piece, *over);
            }
            Mutation::Splice(seed, from, len, to, over) => {
                let other = seeds.get(seed.index(seeds.len())).map_or(&[][..], Vec::as_slice);
                let piece = piece(other, from.index(other.len() + 1), *len);
                insert(input, place(to), piece, *over);
            }
            Mutation::Word(at, word) => {
                let word = WORDS.get(word.index(WORDS.len())).map_or(&[][..], |word| *word);
                insert(input, place(at), word.to_vec(), false);
            }
            Mutation::Insert(at, bytes) => insert(input, place(at), bytes.clone(), false),
            Mutation::Repeat(at, len, times) => {
                let at = place(at);
                let piece = piece(input, at, *len).repeat(*times);
                insert(input, at, piece, false);
            }
        }
    }
}

fn piece(bytes: &[u8], from: usize, len: usize) -> Vec<u8> {
    bytes.iter().skip(from).take(len).copied().collect()
}

fn insert(input: &mut Vec<u8>, at: usize, piece: Vec<u8>, over: bool) {
    let end = if over { at.saturating_add(piece.len()).min(input.len()) } else { at };
    input.splice(at..end, piece);
}

/// Writes a number's low bytes at a multiple of four.
fn put(input: &mut [u8], at: usize, width: usize, number: u64) {
    let bytes = number.to_be_bytes();
    let low = bytes.get(bytes.len().saturating_sub(width)..).unwrap_or_default();
    input.iter_mut().skip(at / 4 * 4).zip(low).for_each(|(to, from)| *to = *from);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    #[test]
    fn plans_repeat_themselves_and_differ_from_the_seed() {
        let seeds = vec![b"a seed of some length".to_vec(), b"another".to_vec()];
        let inputs = || -> Vec<Vec<u8>> {
            let mut runner = TestRunner::new(crate::config(1));
            let plan = |_| plans().new_tree(&mut runner).unwrap().current().input(&seeds);
            (0..200).map(plan).collect()
        };
        let first = inputs();
        assert_eq!(first, inputs());
        let changed = first.iter().filter(|input| !seeds.contains(input)).count();
        assert!(changed > 150, "only {changed} of 200 differ");
        assert!(first.iter().all(|input| input.len() <= MOST_BYTES + 2000));
    }
}
