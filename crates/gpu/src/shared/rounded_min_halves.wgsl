// A scale and a minimum a half unit. Of x: its scale, and what its halves sum to.
alias RoundedBy = vec4<f32>;
fn rounded_by(x: vec4<f32>) -> RoundedBy { return x; }
struct Words { a: vec4<u32>, b: vec4<u32>, scales: vec4<f32> }
fn unit_words(w: Raw) -> Words {
  let q = quant_words(w);
  return Words(q[0], q[1], scales(w));
}
fn product(w: Words, a: vec4<u32>, b: vec4<u32>, x: RoundedBy) -> f32 {
  let sum = w.scales.x * f32(dot_words(w.a, a)) + w.scales.y * f32(dot_words(w.b, b));
  return sum * x.x - (w.scales.z * x.y + w.scales.w * x.z);
}
