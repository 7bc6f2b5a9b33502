// y = W x for one row. Constants, decoder, prologue, loop and epilogue are composed in matvec.rs.
struct Params {
  quads: u32, words: u32, pairs: u32, supers: u32, n_units: u32,
  x: u32, y: u32, norm: u32, bias: u32, partials: u32, partial_stride: u32,
}
var<immediate> p: Params;
// What quad `i` of x is divided by, since quants count as much more.
fn x_factor(i: u32) -> vec4<f32> { return select(1.0 / X_LOW, 1.0 / X_HIGH, i % 8u >= 4u); }
