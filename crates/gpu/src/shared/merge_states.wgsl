// States of attention over parts of the keys, [N_HEADS, splits, STATE] quads from float `at` on: what was mixed, and in the last
// quad the top score and the sum of weights relative to it. An empty part has LOWEST and 0.
fn merged_head_quad(at: u32, splits: u32, head: u32, i: u32) -> vec4<f32> {
  let first = at / 4u + head * splits * STATE;
  var top = LOWEST;
  var total = 0.0;
  var sum = vec4<f32>(0.0);
  // Four at a time, so that their loads are under way together.
  for (var s = 0u; s < splits; s += 4u) {
    let parts = vec4<u32>(s) + vec4<u32>(0u, 1u, 2u, 3u);
    let places = vec4<u32>(first) + min(parts, vec4<u32>(splits - 1u)) * STATE;
    let m0 = scratch[places.x + STATE - 1u];
    let m1 = scratch[places.y + STATE - 1u];
    let m2 = scratch[places.z + STATE - 1u];
    let m3 = scratch[places.w + STATE - 1u];
    let o0 = scratch[places.x + i];
    let o1 = scratch[places.y + i];
    let o2 = scratch[places.z + i];
    let o3 = scratch[places.w + i];
    let tops = vec4<f32>(m0.x, m1.x, m2.x, m3.x);
    let high = max(max(top, max(m0.x, m1.x)), max(m2.x, m3.x));
    let w = select(vec4<f32>(0.0), weights(tops - high), parts < vec4<u32>(splits));
    let fade = weight(top - high);
    total = total * fade + dot(w, vec4<f32>(m0.y, m1.y, m2.y, m3.y));
    sum = sum * fade + w.x * o0 + w.y * o1 + w.z * o2 + w.w * o3;
    top = high;
  }
  return sum / total;
}
fn merged_float(at: u32, splits: u32, e: u32) -> f32 {
  let quad = merged_head_quad(at, splits, min(e / HEAD_DIM, N_HEADS - 1u), e % HEAD_DIM / 4u);
  return select(0.0, quad[e % HEAD_DIM % 4u], e < WIDTH);
}
// Quad `i` of the attended vector [N_HEADS * HEAD_DIM], zeros past its end.
fn merged_quad(at: u32, splits: u32, i: u32) -> vec4<f32> {
  if (HEAD_DIM % 4u == 0u) {
    let head = 4u * i / HEAD_DIM;
    let quad = merged_head_quad(at, splits, min(head, N_HEADS - 1u), 4u * i % HEAD_DIM / 4u);
    return select(vec4<f32>(0.0), quad, head < N_HEADS);
  }
  return vec4<f32>(
    merged_float(at, splits, 4u * i), merged_float(at, splits, 4u * i + 1u),
    merged_float(at, splits, 4u * i + 2u), merged_float(at, splits, 4u * i + 3u));
}
