// 6 bits, as bytes: the lower four as in words_4, bits 2 i and 2 i + 1 of w0 (w1) are the upper bits of quant i (i + 16).
fn quant_words(w: Raw) -> array<vec4<u32>, 2> {
  return array<vec4<u32>, 2>(
    centred(nibbles_low(w.q0) | (pairs_apart(w.w0) << vec4<u32>(4u))),
    centred(nibbles_high(w.q0) | (pairs_apart(w.w1) << vec4<u32>(4u))));
}
