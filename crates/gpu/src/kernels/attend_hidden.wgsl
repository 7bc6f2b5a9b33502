// Attention of one row from its hidden state. Composed in attend_hidden.rs and attend_walk.rs.
struct Params {
  quads: u32, words: u32, pairs: u32, supers: u32, n_units: u32,
  out_quads: u32, out_words: u32, out_pairs: u32, out_supers: u32, out_n_units: u32,
  x: u32, norm: u32, bias: u32, out: u32, out_stride: u32,
  kv: u32, rope: u32, q_norm: u32, k_norm: u32,
  position: u32, table: u32, splits: u32,
  ahead: u32, n_ahead: u32, columns: u32, unused: u32,
}
var<immediate> p: Params;
// What quad `i` of x is divided by, since quants count as much more.
fn x_factor(i: u32) -> vec4<f32> { return select(1.0 / X_LOW, 1.0 / X_HIGH, i % 8u >= 4u); }

const HEAD_BLOCKS: u32 = HEAD_DIM / 8u;
// The workgroup's query, key and value, one after another.
var<workgroup> made: array<vec4<f32>, 3u * HEAD_DIM / 4u>;
// The first block of weights of the query, key and value of a head.
fn block_of(which: u32, head: u32) -> u32 {
  let of_group = select(START_K, START_V, which == 2u) / 8u + head / GROUP * HEAD_BLOCKS;
  return select(of_group, head * HEAD_BLOCKS, which == 0u);
}
// Only the last part of the keys has the row's own.
fn has_own(wg: vec3<u32>) -> bool { return wg.y + 1u == splits(); }
fn make(t: u32, head: u32) {
  for (var i = t; i < 3u * HEAD_DIM / 4u; i += THREADS) {
    let row = block_of(i / (2u * HEAD_BLOCKS), head) * 8u + i % (2u * HEAD_BLOCKS) * 4u;
    made[i] = norm_scale() * row_sums(i / 2u, 0u, i % 2u) + bias_quad(row);
  }
}
fn head_quad(at: u32, i: u32) -> vec4<f32> { return made[at / 4u + i]; }
fn query_at(head: u32) -> u32 { return 0u; }
fn own_at(kv_head: u32) -> vec2<u32> { return vec2<u32>(HEAD_DIM, 2u * HEAD_DIM); }
