// Quants as signed bytes, four in a word: what `quant_words` of a format is made of. Quad 0 is the first half of a unit.
fn nibbles_low(q: vec4<u32>) -> vec4<u32> { return q & vec4<u32>(0x0f0f0f0fu); }
fn nibbles_high(q: vec4<u32>) -> vec4<u32> { return (q >> vec4<u32>(4u)) & vec4<u32>(0x0f0f0f0fu); }
// Sixteen numbers of 2 bits, a byte each.
fn pairs_apart(bits: u32) -> vec4<u32> {
  let n = (vec4<u32>(bits) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(0xffu);
  let two = (n | (n << vec4<u32>(12u))) & vec4<u32>(0x000f000fu);
  return (two | (two << vec4<u32>(6u))) & vec4<u32>(0x03030303u);
}
// Sixteen bits, a byte each.
fn bits_apart(bits: u32) -> vec4<u32> {
  let n = (vec4<u32>(bits) >> vec4<u32>(0u, 4u, 8u, 12u)) & vec4<u32>(0xfu);
  return (n * vec4<u32>(0x00204081u)) & vec4<u32>(0x01010101u);
}
// Numbers below 128 without their offset.
fn centred(q: vec4<u32>) -> vec4<u32> {
  if (OFFSET == 0.0) { return q; }
  let sign = vec4<u32>(0x80808080u);
  return ((q | sign) - vec4<u32>(u32(OFFSET) * 0x01010101u)) ^ sign;
}
