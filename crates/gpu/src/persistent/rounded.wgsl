// x of a product rounded to 8 bits: four numbers a word, two quads a unit, and a scale for each unit.
var<workgroup> rounded: array<vec4<u32>, LONGEST / 16u>;
var<workgroup> rounded_scales: array<f32, LONGEST / 32u>;
fn numbers(words: vec4<u32>) -> vec4<f32> { return bitcast<vec4<f32>>(words & vec4<u32>(0xfffffffeu)); }
// Four words of a lane and of the lanes 8, 16 and 24 away from it, turned: word `c` of lane `8 g + l` is word `g` of lane `8 c + l`.
fn turned(v: vec4<u32>) -> vec4<u32> {
  let odd = (lane & 8u) != 0u;
  let a = subgroupShuffleXor(select(v.yw, v.xz, odd), 8u);
  let w = select(vec4<u32>(v.x, a.x, v.z, a.y), vec4<u32>(a.x, v.y, a.y, v.w), odd);
  let high = (lane & 16u) != 0u;
  let b = subgroupShuffleXor(select(w.zw, w.xy, high), 16u);
  return select(vec4<u32>(w.xy, b), vec4<u32>(b, w.zw), high);
}
// Four `i` of x, if it is `on`. A unit's eight fours are in eight lanes, and all of a subgroup call it.
fn stage_rounded(i: u32, v: vec4<f32>, on: bool) {
  var largest = top_of(v);
  largest = max(largest, subgroupShuffleXor(largest, 1u));
  largest = max(largest, subgroupShuffleXor(largest, 2u));
  largest = max(largest, subgroupShuffleXor(largest, 4u));
  let by = select(127.0 / max(largest, 1e-36), 0.0, largest < 1e-36);
  // Four lanes have four bytes each, byte `j` of lane `i` for byte `i` of word `j`: turned as well, pairs and then pairs of pairs.
  let own = rounded_word(v * by);
  let beside = subgroupShuffleXor(own, 1u);
  let two = select((own & 0x00ff00ffu) | ((beside & 0x00ff00ffu) << 8u),
    ((beside >> 8u) & 0x00ff00ffu) | (own & 0xff00ff00u), (i & 1u) != 0u);
  let across = subgroupShuffleXor(two, 2u);
  let word = select((two & 0xffffu) | (across << 16u), (across >> 16u) | (two & 0xffff0000u), (i & 2u) != 0u);
  if (on) {
    rounded[i / 8u * 2u + i % 4u / 2u][i % 2u * 2u + i % 8u / 4u] = word;
    if (i % 8u == 0u) { rounded_scales[i / 8u] = largest / 127.0; }
  }
}
// Unit `u` of x times 32 weights. Q4_0: byte i of a quad holds quant i below and quant i + 16 above. Turning the upper bit of a
// nibble around takes 8 off, and in the upper half of a byte it counts 16 times as much.
fn dot_rounded_q4_0(w: vec4<u32>, u: u32) -> f32 {
  let flip = vec4<u32>(0x88888888u);
  let upper = vec4<u32>(0xf0f0f0f0u);
  let low = dot_words(((w << vec4<u32>(4u)) ^ flip) & upper, rounded[2u * u]);
  let high = dot_words((w ^ flip) & upper, rounded[2u * u + 1u]);
  return whole(low + high) * (0.0625 * rounded_scales[u]);
}
// Q8_0: byte i of two quads is quant i.
fn dot_rounded_q8_0(w: vec4<u32>, v: vec4<u32>, u: u32) -> f32 {
  return whole(dot_words(w, rounded[2u * u]) + dot_words(v, rounded[2u * u + 1u])) * rounded_scales[u];
}
