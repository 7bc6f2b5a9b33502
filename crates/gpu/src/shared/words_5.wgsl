// 5 bits, as bytes: the lower four as in words_4, bit i of w0 is the upper bit of quant i.
fn quant_words(w: Raw) -> array<vec4<u32>, 2> {
  return array<vec4<u32>, 2>(
    centred(nibbles_low(w.q0) | (bits_apart(w.w0) << vec4<u32>(4u))),
    centred(nibbles_high(w.q0) | (bits_apart(w.w0 >> 16u) << vec4<u32>(4u))));
}
