// 8 bits, signed: byte i of the quads is quant i.
fn quant_words(w: Raw) -> array<vec4<u32>, 2> { return array<vec4<u32>, 2>(w.q0, w.q1); }
