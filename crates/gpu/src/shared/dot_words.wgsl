// Whole numbers of 8 bits, multiplied four at a time.
fn dot_words(q: vec4<u32>, x: vec4<u32>) -> i32 {
  return dot4I8Packed(q.x, x.x) + dot4I8Packed(q.y, x.y) + dot4I8Packed(q.z, x.z) + dot4I8Packed(q.w, x.w);
}
// A whole number below 2^22, put into the fraction of 1.5 * 2^23: cheaper than a conversion.
fn whole(n: i32) -> f32 { return bitcast<f32>(n + 0x4b400000) - 12582912.0; }
