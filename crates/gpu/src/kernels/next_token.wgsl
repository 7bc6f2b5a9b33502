// The best of the pairs is the next token. `embed` is composed in next_token.rs.
struct Params {
  quads: u32, words: u32, pairs: u32, supers: u32, n_units: u32,
  best: u32, x: u32, ids: u32, position: u32,
}
var<immediate> p: Params;

fn run(wg: u32, t: u32) {
  var own = NOTHING;
  for (var i = t; i < N_PAIRS; i += GROUP_THREADS) { own = better(own, load_best(p.best, i)); }
  let id = min(group_best(own).index, N_VOCAB - 1u);
  if (t == 0u) { tokens[p.ids + p.position + 1u] = id; }
  embed(id, t);
}
