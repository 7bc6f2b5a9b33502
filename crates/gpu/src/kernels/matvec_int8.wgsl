// Y = X W^T for a few rows of X, rounded to 8 bits. Constants, decoder, prologue, loop and epilogue are composed in matvec_int8.rs.
struct Params {
  quads: u32, words: u32, pairs: u32, supers: u32, n_units: u32,
  x: u32, x_stride: u32, y: u32, y_stride: u32, norm: u32, bias: u32,
}
var<immediate> p: Params;
// The units of X that are at hand: [N_TOKENS, CHUNK, 2 halves], and [N_TOKENS, CHUNK].
var<workgroup> staged_words: array<vec4<u32>, N_TOKENS * CHUNK * 2u>;
var<workgroup> staged_by: array<RoundedBy, N_TOKENS * CHUNK>;
