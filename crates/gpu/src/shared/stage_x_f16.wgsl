@group(2) @binding(3) var<storage, read_write> scratch_halves: array<vec4<f16>>;
fn stage_x(place: u32, v: vec4<f16>) { put_x(place, v); }
// Zero past the end of a row, of which the quad has columns `k` and on: what lies behind belongs to others.
fn masked(v: vec4<f16>, k: u32) -> vec4<f16> {
  return select(vec4<f16>(), v, vec4<u32>(k) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(p.n_cols));
}
