// Rows whose queries are rotated, and whose keys and values are all in the cache.
struct Row { position: u32, table: u32, n_cached: u32 }
fn row_of(i: u32) -> Row {
  let position = tables[p.rows + 4u * i];
  return Row(position, tables[p.rows + 4u * i + 1u], position + 1u);
}
fn query(row: Row, wg: vec3<u32>, head: u32, t: u32, size: u32) -> Eight {
  let at = p.q + wg.z * p.stride + head * HEAD_DIM;
  let lane = min(t % TEAM, LANES - 1u);
  return Eight(SCALE * head_quad(at, 2u * lane), SCALE * head_quad(at, 2u * lane + 1u));
}
struct Own { key: vec4<u32>, value: vec4<u32> }
fn own_of(row: Row, wg: vec3<u32>, kv_head: u32, t: u32, size: u32) -> Own { return Own(); }
fn begun(wg: vec3<u32>, q: Eight, own: Own, t: u32, size: u32) -> Mix {
  return Mix(vec4<f32>(0.0), vec4<f32>(0.0), 0.0, LOWEST);
}
