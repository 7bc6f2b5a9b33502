// One f16 scale a unit, as `pair`. Of x: its scale.
alias RoundedBy = f32;
fn rounded_by(x: vec4<f32>) -> RoundedBy { return x.x; }
struct Words { a: vec4<u32>, b: vec4<u32>, scale: f32 }
fn unit_words(w: Raw) -> Words {
  let q = quant_words(w);
  return Words(q[0], q[1], unpack2x16float(pair(w)).x * QUANT);
}
fn product(w: Words, a: vec4<u32>, b: vec4<u32>, x: RoundedBy) -> f32 {
  return (w.scale * x) * f32(dot_words(w.a, a) + dot_words(w.b, b));
}
