// The key of what was made of a logit; its own if it is infinite or NaN, which arithmetic need not preserve.
fn changed_key(changed: f32, logit: f32) -> u32 {
  return select(key(changed), key(logit), (bitcast<u32>(logit) & 0x7fffffffu) >= 0x7f800000u);
}

// Pair `i` of a list in scratch that begins at float `at`, a multiple of 4: the number, then its index, which is exact as a
// float below 2^24. It has a whole quad: threads that write to components of one may undo each other's writes.
fn store_best(at: u32, i: u32, best: Best) {
  scratch[at / 4u + i] = vec4<f32>(bitcast<f32>(number_bits(best.key)), f32(best.index), 0.0, 0.0);
}
fn load_best(at: u32, i: u32) -> Best {
  let pair = scratch[at / 4u + i];
  return Best(key(pair.x), u32(pair.y));
}
