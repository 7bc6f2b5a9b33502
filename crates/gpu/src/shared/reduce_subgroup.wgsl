// Sums and maxima over a workgroup, for any size of subgroup. Every invocation calls `start` first, and the others in
// uniform flow. The order of additions is fixed by the device.
var<workgroup> partial: array<f32, (GROUP_THREADS + 3u) / 4u>;
var<private> lane: u32;
var<private> subgroup: u32;
var<private> n_subgroups: u32;

fn start(invocation: u32, subgroup_lane: u32, subgroup_size: u32) {
  lane = subgroup_lane;
  subgroup = invocation / subgroup_size;
  n_subgroups = (GROUP_THREADS + subgroup_size - 1u) / subgroup_size;
}
fn group_sum(value: f32) -> f32 {
  let own = subgroupAdd(value);
  workgroupBarrier();
  if (lane == 0u) { partial[subgroup] = own; }
  workgroupBarrier();
  var total = partial[0];
  for (var i = 1u; i < n_subgroups; i += 1u) { total += partial[i]; }
  return total;
}
fn group_max(value: f32) -> f32 {
  let own = subgroupMax(value);
  workgroupBarrier();
  if (lane == 0u) { partial[subgroup] = own; }
  workgroupBarrier();
  var top = partial[0];
  for (var i = 1u; i < n_subgroups; i += 1u) { top = max(top, partial[i]); }
  return top;
}
