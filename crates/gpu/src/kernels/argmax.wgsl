// The best of each chunk of logits. `prepare`, `changed` and `jitter` are composed in argmax.rs.
struct Params {
  logits: u32, best: u32, ids: u32, position: u32,
  window: u32, repeat: f32, frequency: f32, presence: f32,
  temperature: f32, seed_low: u32, seed_high: u32,
  never_0: u32, never_1: u32, never_2: u32, never_3: u32,
}
var<immediate> p: Params;

fn rated(score: f32, logit: f32, index: u32) -> Best {
  let inside = index < N_VOCAB;
  let key = permitted(changed_key(score, logit), index);
  return Best(select(NOTHING.key, key, inside), select(NOTHING.index, index, inside));
}
fn run(wg: u32, t: u32) {
  let quad = wg * GROUP_THREADS + t;
  let logits = scratch[p.logits / 4u + min(quad, (N_VOCAB - 1u) / 4u)];
  prepare(t, wg * CHUNK);
  let scores = changed(logits, 4u * t) + jitter(quad);
  let first = better(rated(scores.x, logits.x, 4u * quad), rated(scores.y, logits.y, 4u * quad + 1u));
  let second = better(rated(scores.z, logits.z, 4u * quad + 2u), rated(scores.w, logits.w, 4u * quad + 3u));
  let best = group_best(better(first, second));
  if (t == 0u) { store_best(p.best, wg, best); }
}
