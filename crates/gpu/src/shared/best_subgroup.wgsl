// The best of a workgroup, for any size of subgroup; every invocation calls it, after `start`.
var<workgroup> partial_best: array<Best, (GROUP_THREADS + 3u) / 4u>;

fn group_best(own: Best) -> Best {
  let top = subgroupMax(own.key);
  let index = subgroupMin(select(NOTHING.index, own.index, own.key == top));
  workgroupBarrier();
  if (lane == 0u) { partial_best[subgroup] = Best(top, index); }
  workgroupBarrier();
  var best = partial_best[0];
  for (var i = 1u; i < n_subgroups; i += 1u) { best = better(best, partial_best[i]); }
  return best;
}
