// 4 bits, as bytes: byte i of the quad holds quant i below and quant i + 16 above.
fn quant_words(w: Raw) -> array<vec4<u32>, 2> { return array<vec4<u32>, 2>(nibbles_low(w.q0), nibbles_high(w.q0)); }
