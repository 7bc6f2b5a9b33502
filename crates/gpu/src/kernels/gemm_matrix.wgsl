// Y = X W^T for many rows of X on matrix units. Constants and decoder are composed in gemm_matrix.rs, the entry point in
// gemm_matrix/steps.rs.
struct Params {
  quads: u32, words: u32, pairs: u32, supers: u32,
  n_units: u32, n_cols: u32, n_groups: u32, n_tokens: u32,
  x: u32, x_stride: u32, y: u32, y_stride: u32, bias: u32, partials: u32,
  kv: u32, rope: u32, rows: u32,
}
var<immediate> p: Params;

// A unit of a row of W; zeros where there is none.
fn stage_unit(w: Raw, place: u32, known: bool) {
  let values = unit_halves(w);
  put_w(place, weights(values[0], known));
  put_w(place + 1u, weights(values[1], known));
  put_w(place + 2u, weights(values[2], known));
  put_w(place + 3u, weights(values[3], known));
  put_w(place + 4u, weights(values[4], known));
  put_w(place + 5u, weights(values[5], known));
  put_w(place + 6u, weights(values[6], known));
  put_w(place + 7u, weights(values[7], known));
}
fn weights(v: vec4<f16>, known: bool) -> vec4<f16> { return select(vec4<f16>(), v, known); }
