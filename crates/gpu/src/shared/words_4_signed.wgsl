// 4 bits with an offset of 8, as signed bytes: turning the upper bit of a nibble around takes 8 off, and in the upper half of a
// byte it counts 16 times as much, which `QUANT` is about.
fn quant_words(w: Raw) -> array<vec4<u32>, 2> {
  let flip = vec4<u32>(opaque_upper(0x88888888u));
  let upper = vec4<u32>(0xf0f0f0f0u);
  return array<vec4<u32>, 2>(((w.q0 << vec4<u32>(4u)) ^ flip) & upper, (w.q0 ^ flip) & upper);
}
