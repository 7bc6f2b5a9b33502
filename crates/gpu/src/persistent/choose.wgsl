// The best row of all groups, whose index is the row.
var<workgroup> best_keys: array<u32, N_SUBGROUPS>;
var<workgroup> best_rows: array<u32, N_SUBGROUPS>;
// The best of a workgroup, for all of its threads.
fn group_best(own: Best) -> Best {
  let top = subgroupMax(own.key);
  let row = subgroupMin(select(NOTHING.index, own.index, own.key == top));
  if (lane == 0u) {
    best_keys[subgroup] = top;
    best_rows[subgroup] = row;
  }
  workgroupBarrier();
  var best = NOTHING;
  for (var i = lane; i < N_SUBGROUPS; i += SUBGROUP) { best = better(best, Best(best_keys[i], best_rows[i])); }
  workgroupBarrier();
  let key = subgroupMax(best.key);
  return Best(key, subgroupMin(select(NOTHING.index, best.index, best.key == key)));
}
// A key and a row in two words whose lowest bits are free.
fn publish_best(best: Best) {
  publish_word(AT_BEST + 2u * wg, best.key);
  publish_word(AT_BEST + 2u * wg + 1u, (best.index << 2u) | ((best.key & 1u) << 1u));
}
fn taken_best(a: u32, b: u32) -> Best { return Best((a & 0xfffffffeu) | ((b >> 1u) & 1u), b >> 2u); }
