// gate = silu(gate) * up; see silu_mul.rs.
struct Params { gate: u32, up: u32, stride: u32 }
var<immediate> p: Params;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) t: u32) {
  let i = wg.x * THREADS + t;
  if (i >= N_QUADS) { return; }
  let at = p.gate / 4u + wg.y * (p.stride / 4u) + i;
  let gate = scratch[at];
  let up = scratch[p.up / 4u + wg.y * (p.stride / 4u) + i];
  let k = vec4<u32>(4u * i) + vec4<u32>(0u, 1u, 2u, 3u);
  // The bound keeps the exponential finite; the result is zero to any precision there.
  let gated = gate / (1.0 + exp(-max(gate, vec4<f32>(-80.0)))) * up;
  scratch[at] = select(vec4<f32>(), gated, k < vec4<u32>(N_COLS));
}
