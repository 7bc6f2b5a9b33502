// 2 bits, as bytes: bits 2 i and 2 i + 1 of w0 (w1) are quant i (i + 16).
fn quant_words(w: Raw) -> array<vec4<u32>, 2> {
  return array<vec4<u32>, 2>(pairs_apart(w.w0), pairs_apart(w.w1));
}
