// Rows of the embedding to x: a workgroup a row. The decoder and `id_place` are composed in embed.rs.
struct Params {
  quads: u32, words: u32, pairs: u32, supers: u32, n_units: u32,
  x: u32, stride: u32, rows: u32, ids: u32, position: u32, first: u32, n_rows: u32,
}
var<immediate> p: Params;

@compute @workgroup_size(GROUP_THREADS)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) t: u32) {
  let id = min(tokens[id_place(wg.x)], N_VOCAB - 1u);
  // Ids before `first` wrap around to large numbers.
  if (id - p.first < p.n_rows) { gather(id - p.first, (p.x + wg.x * p.stride) / 4u, t); }
}
