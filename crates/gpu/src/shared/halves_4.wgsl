// Four bits without a minimum: two at a time, a nibble put into the fraction of 1024 being a whole number without a conversion.
// Only the last product is rounded, as it would be coming from f32.
fn nibble_halves(word: u32, d: f16) -> vec4<f16> {
  let even = vec2<f16>(unpack2x16float((word & 0x000f000fu) | opaque(0x64006400u)));
  let odd = vec2<f16>(unpack2x16float(((word >> 8u) & 0x000f000fu) | opaque(0x64006400u)));
  return (quad_of(even, odd) - vec4<f16>(f16(1024.0 + OFFSET))) * d;
}
fn unit_halves(w: Raw) -> array<vec4<f16>, 8> {
  let d = f16(unpack2x16float(pair(w)).x);
  return array<vec4<f16>, 8>(
    nibble_halves(w.q0.x, d), nibble_halves(w.q0.y, d), nibble_halves(w.q0.z, d), nibble_halves(w.q0.w, d),
    nibble_halves(w.q0.x >> 4u, d), nibble_halves(w.q0.y >> 4u, d), nibble_halves(w.q0.z >> 4u, d),
    nibble_halves(w.q0.w >> 4u, d));
}
