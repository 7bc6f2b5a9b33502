// The `p.k` best of all candidates, and one of them. `embed` is composed in draw.rs.
struct Params {
  quads: u32, words: u32, pairs: u32, supers: u32, n_units: u32,
  best: u32, x: u32, ids: u32, position: u32,
  k: u32, min_keep: u32, top_p: f32, log_min_p: f32, sharpness: f32, seed_low: u32, seed_high: u32,
}
var<immediate> p: Params;

var<workgroup> shares: array<vec2<f32>, MOST>;
var<workgroup> share_sums: array<vec2<f32>, MOST>;
var<workgroup> chosen: u32;

fn candidate(i: u32) -> Best { return load_best(p.best, i); }
fn share(i: u32) -> vec2<f32> { return shares[i]; }
fn put_share(i: u32, v: vec2<f32>) { shares[i] = v; }
fn share_sum(i: u32) -> vec2<f32> { return share_sums[i]; }
fn put_share_sum(i: u32, v: vec2<f32>) { share_sums[i] = v; }
fn ordered_code(i: u32) -> vec2<u32> { return ordered[i]; }
fn index_of(code: vec2<u32>) -> u32 { return coded(code).index; }
fn run(wg: u32, t: u32) {
  let k = clamp(p.k, 1u, MOST);
  // The chunks' lists are in order: if their `depth`-th best are `least` or more, then at least k of all are.
  let depth = (k + N_CHUNKS - 1u) / N_CHUNKS;
  var least = 0xffffffffu;
  for (var i = t; i < N_CHUNKS; i += GROUP_THREADS) { least = min(least, candidate(i * k + depth - 1u).key); }
  least = ~group_best(Best(~least, 0u)).key;
  select_best(t, N_CHUNKS * k, k, least);
  let drawn = min(draw_one(t, k, even_number(p.position)), N_VOCAB - 1u);
  if (t == 0u) {
    chosen = drawn;
    tokens[p.ids + p.position + 1u] = drawn;
  }
  embed(workgroupUniformLoad(&chosen), t);
}
