// x of a product rounded to 8 bits in blocks of 8 numbers: two words a block, 16 numbers a quad, and behind them a scale for each
// block.
const SCALES: u32 = LONGEST / 16u;
var<workgroup> rounded: array<vec4<u32>, N_ROUNDED>;
fn put_rounded(i: u32, word: u32) { rounded[i / 4u][i % 4u] = word; }
fn rounded_scales(u: u32) -> vec4<f32> { return bitcast<vec4<f32>>(rounded[SCALES + u]); }

// Numbers are rounded where they are made. A block of them is three words in the exchange, side by side: two of numbers, and the
// scale; and a fourth before a norm, the sum of the squares of what it is to be made of. A word's lowest bit is its tag, so of every
// four numbers the first is rounded to an even one.
const SCALE_WORD: u32 = 2u;
fn octet_sum(v: f32) -> f32 {
  var sum = v + subgroupShuffleXor(v, 1u);
  sum += subgroupShuffleXor(sum, 2u);
  return sum + subgroupShuffleXor(sum, 4u);
}
// A block of which each thread of eight has a number: its word for each half, and the scale. All of a subgroup call it. Added to
// 1.5 * 2^23, a number is rounded to a whole one, whose lower byte is that of the sum; added to twice as much, to an even one.
fn rounded_block(v: f32) -> vec2<u32> {
  var largest = max(abs(v), subgroupShuffleXor(abs(v), 1u));
  largest = max(largest, subgroupShuffleXor(largest, 2u));
  largest = max(largest, subgroupShuffleXor(largest, 4u));
  let n = v * select(127.0 / max(largest, 1e-36), 0.0, largest < 1e-36);
  let even = bitcast<u32>(clamp(n, -126.0, 126.0) + 25165824.0) << 1u;
  let whole = bitcast<u32>(n + 12582912.0);
  var word = (select(whole, even, r % 4u == 0u) & 0xffu) << (r % 4u * 8u);
  word |= subgroupShuffleXor(word, 1u);
  word |= subgroupShuffleXor(word, 2u);
  return vec2<u32>(word, bitcast<u32>(largest / 127.0) & 0xfffffffeu);
}
// Block `block` at `at`, for those to take who wait for it; all of a subgroup call it, and those that are `on` tell.
fn publish_block(at: u32, block: u32, v: f32, squares: f32, n_words: u32, on: bool) {
  let made = rounded_block(v);
  let numbers = select(subgroupShuffleXor(made.x, 4u), made.x, r == 0u);
  let rest = select(bitcast<u32>(squares), made.y, r == SCALE_WORD);
  if (on && r < n_words) { publish_word(at + n_words * block + r, select(rest, numbers, r < SCALE_WORD)); }
}
// Word `w` of a vector's block, on its way to a product; `by` is what takes back what the weights count too much there.
fn stage_word(block: u32, w: u32, word: u32, by: f32) {
  let own = word & 0xfffffffeu;
  let scales = w == SCALE_WORD;
  if (w > SCALE_WORD) {
    square += bitcast<f32>(own);
  } else {
    put_rounded(
      select(2u * block + w, 4u * SCALES + block, scales), select(own, bitcast<u32>(by * bitcast<f32>(own)), scales));
  }
}
// Number `i` of x, likewise, if it was not rounded yet and is `on`. All of a subgroup call it.
fn stage_number(i: u32, v: f32, by: f32, on: bool) {
  let made = rounded_block(v);
  let block = i / 8u;
  if (on) {
    if (r % 4u == 0u) { put_rounded(2u * block + r / 4u, made.x); }
    if (r == 1u) { put_rounded(4u * SCALES + block, bitcast<u32>(by * bitcast<f32>(made.y))); }
  }
}

// A whole number below 2^22, put into the fraction of 1.5 * 2^23. Products of few rows convert plainly, which is 1 to 2 % faster there; here
// that was not tried.
fn whole(n: i32) -> f32 { return bitcast<f32>(n + 0x4b400000) - 12582912.0; }
// Weights of unit `u`, four to a word, times x: the sums of its blocks.
fn block_sums(low: vec4<u32>, high: vec4<u32>, u: u32) -> vec4<f32> {
  let x = rounded[2u * u];
  let y = rounded[2u * u + 1u];
  return vec4<f32>(
    whole(dot4I8Packed(low.x, x.x) + dot4I8Packed(low.y, x.y)), whole(dot4I8Packed(low.z, x.z) + dot4I8Packed(low.w, x.w)),
    whole(dot4I8Packed(high.x, y.x) + dot4I8Packed(high.y, y.y)), whole(dot4I8Packed(high.z, y.z) + dot4I8Packed(high.w, y.w)));
}
// Unit `u` of x times 32 weights. Q4_0: byte i of a quad holds quant i below and quant i + 16 above. Turning the upper bit of a
// nibble around takes 8 off, and in the upper half of a byte it counts 16 times as much.
const BY_Q4_0: f32 = 0.0625;
fn dot_rounded_q4_0(w: vec4<u32>, u: u32) -> f32 {
  let flip = vec4<u32>(opaque_upper(0x88888888u));
  let upper = vec4<u32>(0xf0f0f0f0u);
  return dot(rounded_scales(u), block_sums(((w << vec4<u32>(4u)) ^ flip) & upper, (w ^ flip) & upper, u));
}
// Q8_0: byte i of two quads is quant i.
const BY_Q8_0: f32 = 1.0;
fn dot_rounded_q8_0(w: vec4<u32>, v: vec4<u32>, u: u32) -> f32 { return dot(rounded_scales(u), block_sums(w, v, u)); }
