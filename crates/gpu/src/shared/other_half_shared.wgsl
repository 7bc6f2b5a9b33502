fn of_other_half(t: u32, v: f32) -> f32 {
  workgroupBarrier();
  halves_pool[t] = v;
  workgroupBarrier();
  return halves_pool[t ^ 1u];
}
var<workgroup> halves_pool: array<f32, THREADS>;
