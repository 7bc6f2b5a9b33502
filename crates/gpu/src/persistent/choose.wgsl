// The best row of all groups: the largest logit, and among equals the first. Logits are compared by keys, whole numbers in the
// same order: NaN is below everything, -0 equals 0.
var<workgroup> best_keys: array<u32, N_SUBGROUPS>;
var<workgroup> best_rows: array<u32, N_SUBGROUPS>;
struct Best { key: u32, row: u32 }
const NOTHING = Best(0u, 0xffffffffu);

fn key(logit: f32) -> u32 {
  let bits = bitcast<u32>(logit);
  return select(select(bits | 0x80000000u, ~bits, bits > 0x80000000u), 0u, (bits & 0x7fffffffu) > 0x7f800000u);
}
fn better(a: Best, b: Best) -> Best {
  let second = b.key > a.key || (b.key == a.key && b.row < a.row);
  return Best(select(a.key, b.key, second), select(a.row, b.row, second));
}
// The best of a workgroup, for all of its threads.
fn group_best(own: Best) -> Best {
  let top = subgroupMax(own.key);
  let row = subgroupMin(select(NOTHING.row, own.row, own.key == top));
  if (lane == 0u) {
    best_keys[subgroup] = top;
    best_rows[subgroup] = row;
  }
  workgroupBarrier();
  var best = NOTHING;
  for (var i = lane; i < N_SUBGROUPS; i += SUBGROUP) { best = better(best, Best(best_keys[i], best_rows[i])); }
  workgroupBarrier();
  let key = subgroupMax(best.key);
  return Best(key, subgroupMin(select(NOTHING.row, best.row, best.key == key)));
}
// A key and a row in two words whose lowest bits are free.
fn publish_best(best: Best) {
  publish_word(AT_BEST + 2u * wg, best.key);
  publish_word(AT_BEST + 2u * wg + 1u, (best.row << 2u) | ((best.key & 1u) << 1u));
}
fn taken_best(a: u32, b: u32) -> Best { return Best((a & 0xfffffffeu) | ((b >> 1u) & 1u), b >> 2u); }
