//! What a kernel needs of an instruction set: 16 lanes, whatever registers hold them.
//!
//! A kernel is written once, over this trait, and compiled for each instruction set. Every operation is defined to the bit,
//! sums across lanes included, so that the instruction set changes no bit of a result.

/// Lanes of every vector: rows of a weight group, positions of a key vector, elements of a value vector.
pub(crate) const LANES: usize = 16;
/// Bytes of a line of weights, four a lane.
pub(crate) const LINE: usize = 64;

/// A function that is compiled for each instruction set.
pub(crate) trait Kernel {
    type Output;

    /// Must be `inline(always)`, and so must whatever it calls with `s`: what stays a function of its own is not compiled for the
    /// instruction set.
    fn call<S: Simd>(self, s: S) -> Self::Output;
}

/// One instruction set. A value of the type is the proof that the processor has it.
pub(crate) trait Simd: Copy {
    /// One f32 a lane.
    type Floats: Copy;
    /// One i32 a lane.
    type Ints: Copy;
    /// Four bytes a lane.
    type Bytes: Copy;
    /// A sum of dot products that is not finished: what lets AVX2 add in 16 bits for a while.
    type Sum: Copy;

    /// The instruction set, as the load line names it.
    const NAME: &'static str;
    /// Tokens that a tile has room for: 1, 2 or 4.
    const TOKENS: usize;
    /// Whether there are registers for two weight groups, or several queries, at once.
    const IS_WIDE: bool;
    /// Whether [`dot_wide`](Self::dot_wide) takes bytes as signed.
    const SIGNED_BYTES: bool;
    /// Whether weights that meet several tiles are unpacked once for all of them.
    const UNPACKS: bool = false;
    /// Whether dot products of two tokens are faster together: [`dot_pair`](Self::dot_pair) is used then, and
    /// [`carry`](Self::carry) does nothing.
    const PAIRS: bool = false;

    /// Names the instruction set.
    ///
    /// # Safety
    /// The processor has it.
    #[allow(unsafe_code, reason = "a promise is asked for, nothing is done with it here")]
    unsafe fn assume() -> Self;

    /// Runs `kernel` as code of this instruction set.
    fn run<K: Kernel>(self, kernel: K) -> K::Output;

    fn splat(self, value: f32) -> Self::Floats;
    fn load(self, from: &[f32; LANES]) -> Self::Floats;
    fn store(self, value: Self::Floats, to: &mut [f32; LANES]);
    fn load_f16(self, from: &[u16; LANES]) -> Self::Floats;
    /// To the nearest f16, ties to even.
    fn store_f16(self, value: Self::Floats, to: &mut [u16; LANES]);
    fn load_bf16(self, from: &[u16; LANES]) -> Self::Floats;
    fn load_i8(self, from: &[i8; LANES]) -> Self::Floats;
    /// Whole numbers from -128 to 127; gives their sum.
    fn store_i8(self, value: Self::Floats, to: &mut [i8; LANES]) -> i32;

    fn add(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    fn sub(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    fn mul(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    fn div(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// a * b + c, rounded once.
    fn mul_add(self, a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats;
    /// a where it is greater than b, else b: NaN in a is passed over.
    fn max(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    fn abs(self, a: Self::Floats) -> Self::Floats;
    /// `then` where x is less than y, else `otherwise`.
    fn select_less(
        self,
        x: Self::Floats,
        y: Self::Floats,
        then: Self::Floats,
        otherwise: Self::Floats,
    ) -> Self::Floats;
    fn any_greater(self, a: Self::Floats, b: Self::Floats) -> bool;
    /// Adds the low bits of `steps`, as a whole number, to the exponent of `a`.
    fn scale_by_low_bits(self, a: Self::Floats, steps: Self::Floats) -> Self::Floats;
    /// The largest lane; none of them NaN.
    fn largest(self, a: Self::Floats) -> f32;
    /// Lane i + 8 to lane i, then 4, 2, 1.
    fn sum(self, a: Self::Floats) -> f32;

    fn splat_int(self, value: i32) -> Self::Ints;
    fn shift_left(self, a: Self::Ints, bits: u32) -> Self::Ints;
    fn to_floats(self, a: Self::Ints) -> Self::Floats;

    fn load_bytes(self, from: &[u8; LINE]) -> Self::Bytes;
    fn or(self, a: Self::Bytes, b: Self::Bytes) -> Self::Bytes;
    /// Each byte, shifted right (left where `right` is negative) and masked. No bit of a neighbour gets past the mask.
    fn shift_mask(self, a: Self::Bytes, right: i32, mask: u8) -> Self::Bytes;
    /// Flips the bits that are set in `mask`.
    fn flip(self, a: Self::Bytes, mask: u8) -> Self::Bytes;

    fn start(self, value: Self::Ints) -> Self::Sum;
    /// Adds the dot product of each lane's four unsigned bytes of up to 6 bits with `x`.
    fn dot(self, sum: Self::Sum, bytes: Self::Bytes, x: [i8; 4]) -> Self::Sum;
    /// As [`dot`](Self::dot), for bytes of 8 bits.
    fn dot_wide(self, sum: Self::Sum, bytes: Self::Bytes, x: [i8; 4]) -> Self::Sum;
    /// Makes room for more: to be called before the bytes added since the last call sum up to more than 128.
    fn carry(self, sum: Self::Sum) -> Self::Sum;
    /// After a last [`carry`](Self::carry).
    fn total(self, sum: Self::Sum) -> Self::Ints;

    /// Sums of two tokens, in the form that [`dot_pair`](Self::dot_pair) adds to.
    #[inline(always)]
    fn join(self, sums: [Self::Sum; 2]) -> [Self::Sum; 2] {
        sums
    }

    /// For two tokens at once: adds the dot product of each lane's eight bytes, four in either of `bytes`, with the token's `x`.
    /// They are signed, or unsigned of up to 6 bits.
    #[inline(always)]
    fn dot_pair(self, sums: [Self::Sum; 2], bytes: [Self::Bytes; 2], x: [&[i8; 8]; 2]) -> [Self::Sum; 2] {
        dots_apart(self, sums, bytes, x)
    }

    /// The two tokens' sums again.
    #[inline(always)]
    fn part(self, sums: [Self::Sum; 2]) -> [Self::Sum; 2] {
        sums
    }

    /// Asks for the line at `address` to be brought into the second-level cache; any address will do.
    fn prefetch(self, address: *const u8);

    /// The same into the first-level cache.
    #[inline(always)]
    fn prefetch_near(self, address: *const u8) {
        self.prefetch(address);
    }
}

/// [`Simd::dot_pair`] as dot products of one token after the other.
#[inline(always)]
pub(super) fn dots_apart<S: Simd>(
    s: S,
    sums: [S::Sum; 2],
    bytes: [S::Bytes; 2],
    x: [&[i8; 8]; 2],
) -> [S::Sum; 2] {
    let [[a, b], [c, d]] = [halves(x[0]), halves(x[1])];
    [s.dot(s.dot(sums[0], bytes[0], a), bytes[1], b), s.dot(s.dot(sums[1], bytes[0], c), bytes[1], d)]
}

#[inline(always)]
fn halves(x: &[i8; 8]) -> [[i8; 4]; 2] {
    [[x[0], x[1], x[2], x[3]], [x[4], x[5], x[6], x[7]]]
}

/// Four bytes in the order of memory. Without the closures of `map`, which are functions of their own where inlining ends early.
#[inline(always)]
pub(super) fn word([a, b, c, d]: [i8; 4]) -> i32 {
    i32::from_ne_bytes([a.cast_unsigned(), b.cast_unsigned(), c.cast_unsigned(), d.cast_unsigned()])
}
