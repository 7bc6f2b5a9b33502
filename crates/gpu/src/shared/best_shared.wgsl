// The best of a workgroup, without subgroup operations; every invocation calls it, after `start`.
var<workgroup> partial_best: array<Best, GROUP_THREADS>;

fn group_best(own: Best) -> Best {
  workgroupBarrier();
  partial_best[thread] = own;
  workgroupBarrier();
  var n = GROUP_THREADS;
  while (n > 1u) {
    let half = (n + 1u) / 2u;
    if (thread + half < n) { partial_best[thread] = better(partial_best[thread], partial_best[thread + half]); }
    workgroupBarrier();
    n = half;
  }
  return partial_best[0];
}
