// The `p.k` best of each chunk of logits, in order. `prepare` and `penalised` are composed in top_candidates.rs.
struct Params {
  logits: u32, best: u32, k: u32, ids: u32, position: u32,
  window: u32, repeat: f32, frequency: f32, presence: f32,
  never_0: u32, never_1: u32, never_2: u32, never_3: u32,
}
var<immediate> p: Params;
var<private> chunk: u32;

fn candidate(i: u32) -> Best {
  let index = chunk * CHUNK + i;
  let logit = load_float(p.logits + min(index, N_VOCAB - 1u));
  // Ids past the end are worse than NaN, whose indices are lower.
  let key = permitted(changed_key(penalised(logit, i), logit), index);
  return Best(select(0u, key, index < N_VOCAB), index);
}
fn run(wg: u32, t: u32) {
  chunk = wg;
  let k = clamp(p.k, 1u, MOST);
  prepare(t, wg * CHUNK);
  select_best(t, CHUNK, k, 0u);
  if (t < k) { store_best(p.best, wg * k + t, coded(ordered[t])); }
}
