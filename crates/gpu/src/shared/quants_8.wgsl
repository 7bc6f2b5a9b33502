// 8 bits, signed: byte i of the quads is quant i. A byte with its sign turned around is a whole number above -128, which the
// fraction of 2^23 holds without a conversion.
fn bytes(word: u32) -> vec4<f32> { return vec4<f32>(unpack4xI8(word)); }
fn quants(w: Raw) -> array<vec4<f32>, 8> {
  return array<vec4<f32>, 8>(
    bytes(w.q0.x), bytes(w.q0.y), bytes(w.q0.z), bytes(w.q0.w), bytes(w.q1.x), bytes(w.q1.y), bytes(w.q1.z), bytes(w.q1.w));
}
// As in quants_4: the second byte of two stays where it is, and x is divided by what it counts more.
const X_LOW = vec4<f32>(1.0, 256.0, 1.0, 256.0);
const X_HIGH = X_LOW;
fn in_place(word: u32) -> vec4<f32> {
  let upper = word >> 16u;
  let n = vec4<u32>(word & 0xffu, word & 0xff00u, upper & 0xffu, upper & 0xff00u);
  return bitcast<vec4<f32>>(n ^ (vec4<u32>(two_23()) ^ vec4<u32>(0x80u, 0x8000u, 0x80u, 0x8000u))) - (8388608.0 + 128.0 * X_LOW);
}
fn scaled_quants(w: Raw) -> array<vec4<f32>, 8> {
  return array<vec4<f32>, 8>(
    in_place(w.q0.x), in_place(w.q0.y), in_place(w.q0.z), in_place(w.q0.w),
    in_place(w.q1.x), in_place(w.q1.y), in_place(w.q1.z), in_place(w.q1.w));
}
