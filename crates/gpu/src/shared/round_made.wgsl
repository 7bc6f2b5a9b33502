// What the threads of a workgroup have made, whole units, on its way to 8 bits: thread `t` has half unit `t`; all call it.
var<workgroup> made: array<vec4<f32>, MADE>;
fn round_made(t: u32) -> Half {
  workgroupBarrier();
  let at = 4u * min(t, MADE / 4u - 1u);
  return round_half(t, made[at], made[at + 1u], made[at + 2u], made[at + 3u]);
}
