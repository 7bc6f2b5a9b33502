// Attention of rows whose queries are in scratch. Composed in attend.rs and attend_walk.rs.
struct Params {
  q: u32, k: u32, v: u32, stride: u32, out: u32, out_stride: u32,
  kv: u32, rope: u32, q_norm: u32, k_norm: u32,
  rows: u32, position: u32, table: u32, splits: u32,
  ahead: u32, n_ahead: u32, columns: u32, unused: u32,
}
var<immediate> p: Params;
