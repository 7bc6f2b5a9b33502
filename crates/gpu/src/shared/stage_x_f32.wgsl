fn stage_x(place: u32, v: vec4<f32>) { put_x(place, vec4<f16>(clamp(v, vec4<f32>(-65504.0), vec4<f32>(65504.0)))); }
// Zero past the end of a row, of which the quad has columns `k` and on: what lies behind belongs to others.
fn masked(v: vec4<f32>, k: u32) -> vec4<f32> {
  return select(vec4<f32>(), v, vec4<u32>(k) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(p.n_cols));
}
