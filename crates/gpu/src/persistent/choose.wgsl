// The best row of all groups, whose index is the row.
var<workgroup> best_keys: array<u32, N_SUBGROUPS>;
var<workgroup> best_rows: array<u32, N_SUBGROUPS>;
// The best of a subgroup, for all of its threads. By shuffles: in this kernel, and as soon as each thread waits for itself, `subgroupMax`
// and `subgroupMin` give what no thread has on an H200 with driver 580, in one geometry of two.
fn subgroup_best(own: Best) -> Best {
  var best = own;
  for (var distance = 1u; distance < SUBGROUP; distance *= 2u) {
    best = better(best, Best(subgroupShuffleXor(best.key, distance), subgroupShuffleXor(best.index, distance)));
  }
  return best;
}
// The best of a workgroup, likewise.
fn group_best(own: Best) -> Best {
  let top = subgroup_best(own);
  if (lane == 0u) {
    best_keys[subgroup] = top.key;
    best_rows[subgroup] = top.index;
  }
  workgroupBarrier();
  var best = NOTHING;
  for (var i = lane; i < N_SUBGROUPS; i += SUBGROUP) { best = better(best, Best(best_keys[i], best_rows[i])); }
  workgroupBarrier();
  return subgroup_best(best);
}
// A key and a row in two words whose lowest bits are free.
fn publish_best(best: Best) {
  publish_word(AT_BEST + 2u * wg, best.key);
  publish_word(AT_BEST + 2u * wg + 1u, (best.index << 2u) | ((best.key & 1u) << 1u));
}
fn taken_best(a: u32, b: u32) -> Best { return Best((a & 0xfffffffeu) | ((b >> 1u) & 1u), b >> 2u); }
