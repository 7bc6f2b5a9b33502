// Numbers rounded to 8 bits as the CPU engine does it: q = round(x * 127 / largest of a unit), x = q * largest / 127.
fn top_of(v: vec4<f32>) -> f32 {
  let size = abs(v);
  return max(max(size.x, size.y), max(size.z, size.w));
}
// Added to 1.5 * 2^23, a number is rounded to a whole one, to even in the middle, whose lower byte is that of the sum.
fn rounded_word(v: vec4<f32>) -> u32 {
  let n = bitcast<vec4<u32>>(v + vec4<f32>(12582912.0)) & vec4<u32>(0xffu);
  return n.x | (n.y << 8u) | (n.z << 16u) | (n.w << 24u);
}
