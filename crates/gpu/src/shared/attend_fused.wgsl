// One row, as the projections left it. Its own key and value are made here; the cache has those before it.
struct Row { position: u32, table: u32, n_cached: u32 }
fn row_of(i: u32) -> Row { return Row(p.position, p.table, p.position); }
fn angles_of(row: Row) -> u32 { return p.rope + row.position * 2u * N_PAIRS; }

// Elements of the head at float `at`, turned, times `scale` and what its norm says.
fn turned_eight(row: Row, at: u32, norm: u32, scale: f32, t: u32, size: u32) -> Eight {
  let lane = min(t % TEAM, LANES - 1u);
  let low = turned(at, 2u * lane, norm, angles_of(row));
  let high = turned(at, 2u * lane + 1u, norm, angles_of(row));
  let by = scale * head_scale(at, t, size);
  return Eight(by * low, by * high);
}
fn query(row: Row, wg: vec3<u32>, head: u32, t: u32, size: u32) -> Eight {
  return turned_eight(row, query_at(head), p.q_norm, SCALE, t, size);
}

// The row's own key and value.
struct Own { key: vec4<u32>, value: vec4<u32> }
fn own_of(row: Row, wg: vec3<u32>, kv_head: u32, t: u32, size: u32) -> Own {
  let lane = min(t % TEAM, LANES - 1u);
  let k = turned_eight(row, own_at(kv_head).x, p.k_norm, 1.0, t, size);
  let v = own_at(kv_head).y;
  let own = Own(halves(k.low, k.high), halves(head_quad(v, 2u * lane), head_quad(v, 2u * lane + 1u)));
  // The last part of each key head's first workgroup appends them.
  if (wg.x * SHARED % GROUP == 0u && wg.y + 1u == splits() && share == 0u && t < LANES) {
    let at = key_at(row.table, kv_head, row.position) + lane;
    kv[at] = own.key;
    kv[at + VALUES] = own.value;
  }
  return own;
}
// The first team of the last part begins with the row's own key, the others with nothing.
fn begun(wg: vec3<u32>, q: Eight, own: Own, t: u32, size: u32) -> Mix {
  let score = team_sum(t, size, vec4<f32>(times(q, own.key, t), 0.0, 0.0, 0.0)).x;
  let has = wg.y + 1u == splits() && t < TEAM;
  return Mix(
    select(vec4<f32>(0.0), low_half(own.value), has), select(vec4<f32>(0.0), high_half(own.value), has),
    select(0.0, 1.0, has), select(LOWEST, score, has));
}
