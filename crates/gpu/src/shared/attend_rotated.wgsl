// Rows whose queries are rotated, and whose keys and values are all in the cache.
struct Row { position: u32, table: u32, n_cached: u32 }
fn row_of(i: u32) -> Row {
  let position = tables[p.rows + 4u * i];
  return Row(position, tables[p.rows + 4u * i + 1u], position + 1u);
}
fn load_query(row: Row, wg: vec3<u32>, t: u32) {
  let at = p.q + wg.z * p.stride + wg.x * HEAD_DIM;
  q_low = SCALE * head_quad(at, t % LANES * 2u);
  q_high = SCALE * head_quad(at, t % LANES * 2u + 1u);
}
fn count_own(wg: vec3<u32>, t: u32) {}
