// A row of the embedding to scratch, from quad `at` on, by all threads of a workgroup. Units are 32 weights, so what lies behind
// the last weight up to a multiple of 32 floats is written, too, with the zeros that the layout has there.
fn gather(row: u32, at: u32, t: u32) {
  for (var u = t; u < p.n_units; u += GROUP_THREADS) {
    let w = unit_weights(load_unit(row / 32u, u, row % 32u));
    let first = at + 8u * u;
    scratch[first] = w[0];
    scratch[first + 1u] = w[1];
    scratch[first + 2u] = w[2];
    scratch[first + 3u] = w[3];
    scratch[first + 4u] = w[4];
    scratch[first + 5u] = w[5];
    scratch[first + 6u] = w[6];
    scratch[first + 7u] = w[7];
  }
}
// The decoder's dot products, which are not used here, are about some x.
fn x_quad(i: u32) -> vec4<f32> { return vec4<f32>(); }
