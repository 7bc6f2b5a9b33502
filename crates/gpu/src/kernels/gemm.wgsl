// Y = X W^T for many rows of X. Constants, decoder and the entry point are composed in gemm.rs.
struct Params {
  quads: u32, words: u32, pairs: u32, supers: u32,
  n_units: u32, n_cols: u32, n_groups: u32, n_tokens: u32,
  x: u32, x_stride: u32, y: u32, y_stride: u32, bias: u32,
}
var<immediate> p: Params;
// One unit of the tile's weights and of its activations: [8 quads along the unit, rows or tokens], in whole quads, since
// WGSL lets the store of one component touch the others.
var<workgroup> staged_w: array<vec4<f32>, 8u * TILE_ROWS>;
var<workgroup> staged_x: array<vec4<f32>, 8u * TILE_TOKENS>;

// Where row `r` stands among the rows of a quad. Threads that stage have neighbouring rows, threads that multiply rows four
// apart; in this order the quads that eight neighbouring threads touch lie in different banks both times. The same is reached
// for token `t` of quad `k` by place `t ^ k`.
fn row_place(r: u32) -> u32 { return r % 4u * (TILE_ROWS / 4u) + ((r / 4u) ^ (r % 4u * 2u)); }

fn x_quad(i: u32) -> vec4<f32> { return scratch[i]; }

fn stage_weights(w: Raw, place: u32) {
  let values = unit_weights(w);
  staged_w[place] = values[0];
  staged_w[place + TILE_ROWS] = values[1];
  staged_w[place + TILE_ROWS * 2u] = values[2];
  staged_w[place + TILE_ROWS * 3u] = values[3];
  staged_w[place + TILE_ROWS * 4u] = values[4];
  staged_w[place + TILE_ROWS * 5u] = values[5];
  staged_w[place + TILE_ROWS * 6u] = values[6];
  staged_w[place + TILE_ROWS * 7u] = values[7];
}
