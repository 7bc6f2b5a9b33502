// A scale a half unit. Of x: its scale.
alias RoundedBy = f32;
fn rounded_by(x: vec4<f32>) -> RoundedBy { return x.x; }
struct Words { a: vec4<u32>, b: vec4<u32>, scales: vec2<f32> }
fn unit_words(w: Raw) -> Words {
  let q = quant_words(w);
  return Words(q[0], q[1], scales(w) * QUANT);
}
fn product(w: Words, a: vec4<u32>, b: vec4<u32>, x: RoundedBy) -> f32 {
  return (w.scales.x * f32(dot_words(w.a, a)) + w.scales.y * f32(dot_words(w.b, b))) * x;
}
