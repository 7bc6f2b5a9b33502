// Norms of each head of Q and K, before it turns: their weights, those of Q first.
var<workgroup> head_norms: array<vec4<f32>, HEAD_DIM / 2u>;
// Quad `i` of the head's query and key, one behind the other, but for the norms' scales.
fn weighted(i: u32) -> vec4<f32> { return head_qkv[i] * head_norms[i]; }
// The norm's scale of the query or key that begins at quad `at`, of which a thread has two.
fn head_scale(at: u32) -> f32 {
  let low = head_qkv[at + t % LANES * 2u];
  let high = head_qkv[at + t % LANES * 2u + 1u];
  return inverseSqrt(team_sum(dot(low, low) + dot(high, high)) / f32(HEAD_DIM) + EPS);
}
