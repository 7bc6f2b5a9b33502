// 3 bits, as bytes: the lower two as in words_2, bit i of w2 is the upper bit of quant i.
fn quant_words(w: Raw) -> array<vec4<u32>, 2> {
  return array<vec4<u32>, 2>(
    centred(pairs_apart(w.w0) | (bits_apart(w.w2) << vec4<u32>(2u))),
    centred(pairs_apart(w.w1) | (bits_apart(w.w2 >> 16u) << vec4<u32>(2u))));
}
