// A scale and a minimum a unit. Of x: its scale, and what it sums to.
alias RoundedBy = vec2<f32>;
fn rounded_by(x: vec4<f32>) -> RoundedBy { return vec2<f32>(x.x, x.y + x.z); }
struct Words { a: vec4<u32>, b: vec4<u32>, scale_min: vec2<f32> }
fn unit_words(w: Raw) -> Words {
  let q = quant_words(w);
  return Words(q[0], q[1], scale_min(w));
}
fn product(w: Words, a: vec4<u32>, b: vec4<u32>, x: RoundedBy) -> f32 {
  return (w.scale_min.x * x.x) * f32(dot_words(w.a, a) + dot_words(w.b, b)) - w.scale_min.y * x.y;
}
