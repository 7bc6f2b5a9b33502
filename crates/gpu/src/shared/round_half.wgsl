// Half units of 16 numbers on their way to 8 bits: a thread has half a unit, thread `t ^ 1` the other half; all call it.
struct Half { words: vec4<u32>, scale: f32, sum: f32 }

// A function of its own: naga 30 declares a variable of Metal's twice for an argument that two such products share.
fn sum_of(word: u32) -> i32 { return dot4I8Packed(word, 0x01010101u); }
fn round_half(t: u32, v0: vec4<f32>, v1: vec4<f32>, v2: vec4<f32>, v3: vec4<f32>) -> Half {
  let own = max(max(top_of(v0), top_of(v1)), max(top_of(v2), top_of(v3)));
  let largest = max(own, of_other_half(t, own));
  let by = select(127.0 / max(largest, 1e-36), 0.0, largest < 1e-36);
  let words = vec4<u32>(rounded_word(v0 * by), rounded_word(v1 * by), rounded_word(v2 * by), rounded_word(v3 * by));
  let sum = sum_of(words.x) + sum_of(words.y) + sum_of(words.z) + sum_of(words.w);
  let scale = largest / 127.0;
  return Half(words, scale, scale * f32(sum));
}
// A unit's scale and the sums of its halves, in the thread that has the first half.
fn unit_scales(t: u32, half: Half) -> vec4<f32> {
  return vec4<f32>(half.scale, half.sum, of_other_half(t, half.sum), 0.0);
}
