// Sums and maxima over a workgroup, without subgroup operations. Every invocation calls `start` first, and the others in
// uniform flow.
var<workgroup> partial: array<f32, GROUP_THREADS>;
var<private> thread: u32;

fn start(invocation: u32, subgroup_lane: u32, subgroup_size: u32) { thread = invocation; }
fn group_sum(value: f32) -> f32 {
  workgroupBarrier();
  partial[thread] = value;
  workgroupBarrier();
  var n = GROUP_THREADS;
  while (n > 1u) {
    let half = (n + 1u) / 2u;
    if (thread + half < n) { partial[thread] += partial[thread + half]; }
    workgroupBarrier();
    n = half;
  }
  return partial[0];
}
fn group_max(value: f32) -> f32 {
  workgroupBarrier();
  partial[thread] = value;
  workgroupBarrier();
  var n = GROUP_THREADS;
  while (n > 1u) {
    let half = (n + 1u) / 2u;
    if (thread + half < n) { partial[thread] = max(partial[thread], partial[thread + half]); }
    workgroupBarrier();
    n = half;
  }
  return partial[0];
}
