// One row, as the projections left it. Its own key and value are made here; the cache has those before it.
struct Row { position: u32, table: u32, n_cached: u32 }
fn row_of(i: u32) -> Row { return Row(p.position, p.table, p.position); }
// Each lane's share of the score of the row's own key.
var<workgroup> own_share: array<f32, LANES>;

// The first team of the last part has the row's own key.
fn has_own(wg: vec3<u32>, t: u32) -> bool { return wg.y + 1u == p.splits && t < LANES; }

fn load_query(row: Row, wg: vec3<u32>, t: u32) {
  let lane = t % LANES;
  let kv_head = wg.x / GROUP;
  let q = p.q + wg.x * HEAD_DIM;
  let k = p.k + kv_head * HEAD_DIM;
  let v = p.v + kv_head * HEAD_DIM;
  let angles = p.rope + row.position * 2u * N_PAIRS;
  let scales = head_scales(q, k, t);
  q_low = SCALE * scales.x * turned(q, 2u * lane, p.q_norm, angles);
  q_high = SCALE * scales.x * turned(q, 2u * lane + 1u, p.q_norm, angles);
  if (has_own(wg, t)) {
    let key = halves(
      scales.y * turned(k, 2u * lane, p.k_norm, angles), scales.y * turned(k, 2u * lane + 1u, p.k_norm, angles));
    let value = halves(head_quad(v, 2u * lane), head_quad(v, 2u * lane + 1u));
    if (wg.x % GROUP == 0u) {
      let at = key_at(row.table, kv_head, row.position) + lane;
      kv[at] = key;
      kv[at + VALUES] = value;
    }
    own_share[lane] = dot_query(key);
    mixed_low = low_half(value);
    mixed_high = high_half(value);
    total = 1.0;
  }
}
// The score of the row's own key becomes the team's first, after a barrier.
fn count_own(wg: vec3<u32>, t: u32) {
  if (has_own(wg, t)) {
    var score = 0.0;
    for (var i = 0u; i < LANES; i += 1u) { score += own_share[i]; }
    top = score;
  }
}
