// 8 bits, signed: byte i of the quads is quant i.
fn bytes(word: u32) -> vec4<f32> { return vec4<f32>(unpack4xI8(word)); }
fn quants(w: Raw) -> array<vec4<f32>, 8> {
  return array<vec4<f32>, 8>(
    bytes(w.q0.x), bytes(w.q0.y), bytes(w.q0.z), bytes(w.q0.w), bytes(w.q1.x), bytes(w.q1.y), bytes(w.q1.z), bytes(w.q1.w));
}
