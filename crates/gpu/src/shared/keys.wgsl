// The best of many numbers: the largest, and among equals the one with the lowest index. Numbers are compared by keys, whole
// numbers in the same order, so that the order is total whatever a compiler makes of NaN: NaN is below everything, -0 equals 0.
struct Best { key: u32, index: u32 }

// What everything is better than.
const NOTHING = Best(0u, 0xffffffffu);

fn key(number: f32) -> u32 {
  let bits = bitcast<u32>(number);
  return select(select(bits | 0x80000000u, ~bits, bits > 0x80000000u), 0u, (bits & 0x7fffffffu) > 0x7f800000u);
}
// The number that has this key; a NaN for the key of NaN.
fn number_bits(key: u32) -> u32 { return select(~key, key ^ 0x80000000u, key >= 0x80000000u); }
fn better(a: Best, b: Best) -> Best {
  let second = b.key > a.key || (b.key == a.key && b.index < a.index);
  return Best(select(a.key, b.key, second), select(a.index, b.index, second));
}
// Of two codes: keys, and behind them indices turned around.
fn above(a: vec2<u32>, b: vec2<u32>) -> bool { return a.x > b.x || (a.x == b.x && a.y > b.y); }
