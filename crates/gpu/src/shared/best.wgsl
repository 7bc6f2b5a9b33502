// The best of many numbers: the largest, and among equals the one with the lowest index. Numbers are compared by keys, whole
// numbers in the same order, so that the order is total whatever a compiler makes of NaN: NaN is below everything, -0 equals 0.
struct Best { key: u32, index: u32 }

// What everything is better than.
const NOTHING = Best(0u, 0xffffffffu);

fn key(number: f32) -> u32 {
  let bits = bitcast<u32>(number);
  return select(select(bits | 0x80000000u, ~bits, bits > 0x80000000u), 0u, (bits & 0x7fffffffu) > 0x7f800000u);
}
// The key of what was made of a logit; its own if it is infinite or NaN, which arithmetic need not preserve.
fn changed_key(changed: f32, logit: f32) -> u32 {
  return select(key(changed), key(logit), (bitcast<u32>(logit) & 0x7fffffffu) >= 0x7f800000u);
}
// The number that has this key; a NaN for the key of NaN.
fn number_bits(key: u32) -> u32 { return select(~key, key ^ 0x80000000u, key >= 0x80000000u); }
fn better(a: Best, b: Best) -> Best {
  let second = b.key > a.key || (b.key == a.key && b.index < a.index);
  return Best(select(a.key, b.key, second), select(a.index, b.index, second));
}

// Pair `i` of a list in scratch that begins at float `at`, a multiple of 4: the number, then its index, which is exact as a
// float below 2^24. It has a whole quad: threads that write to components of one may undo each other's writes.
fn store_best(at: u32, i: u32, best: Best) {
  scratch[at / 4u + i] = vec4<f32>(bitcast<f32>(number_bits(best.key)), f32(best.index), 0.0, 0.0);
}
fn load_best(at: u32, i: u32) -> Best {
  let pair = scratch[at / 4u + i];
  return Best(key(pair.x), u32(pair.y));
}
