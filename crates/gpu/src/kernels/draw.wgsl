// The `p.k` best of all candidates, what top-p and min-p leave of them, and one of those by its probability. `embed` is composed
// in draw.rs.
struct Params {
  quads: u32, words: u32, pairs: u32, supers: u32, n_units: u32,
  best: u32, x: u32, ids: u32, position: u32,
  k: u32, min_keep: u32, top_p: f32, log_min_p: f32, sharpness: f32, seed_low: u32, seed_high: u32,
}
var<immediate> p: Params;

// Keys of the infinities.
const LOWEST = 0x007fffffu;
const HIGHEST = 0xff800000u;

// By what top-p goes, and by what is drawn.
var<workgroup> plain_weights: array<f32, MOST>;
var<workgroup> weights: array<f32, MOST>;
var<workgroup> chosen: u32;

fn candidate(i: u32) -> Best { return load_best(p.best, i); }
fn number(key: u32) -> f32 { return bitcast<f32>(number_bits(key)); }
fn finite(key: u32) -> bool { return LOWEST < key && key < HIGHEST; }

// e^((own - top) * sharpness), by keys.
fn weight(own: u32, top: u32, sharpness: f32) -> f32 {
  if (own == top) { return 1.0; }
  if (!finite(own) || !finite(top)) { return 0.0; }
  return exp(max(number(own) - number(top), -1.0e8) * sharpness);
}
// How many of the `n` candidates top-p and min-p leave.
fn n_likely(n: u32) -> u32 {
  var left = n;
  if (p.top_p < 1.0) {
    var total = 0.0;
    for (var i = 0u; i < n; i += 1u) { total += plain_weights[i]; }
    var sum = 0.0;
    for (var i = 0u; i < n; i += 1u) {
      sum += plain_weights[i];
      if (sum >= p.top_p * total && i + 1u >= p.min_keep) {
        left = i + 1u;
        break;
      }
    }
  }
  let top = ordered[0].x;
  let least = select(top, key(max(number(top) + p.log_min_p, -3.0e38)), finite(top));
  while (left > max(p.min_keep, 1u) && ordered[left - 1u].x < least) { left -= 1u; }
  return left;
}
fn choose(n: u32) -> u32 {
  // Nothing but NaN and negative infinities: the first of what there is.
  if (ordered[0].x <= LOWEST) { return coded(ordered[0]).index; }
  let left = n_likely(n);
  var total = 0.0;
  for (var i = 0u; i < left; i += 1u) { total += weights[i]; }
  // Even in (0, 1), and exact.
  let even = (f32(philox(vec4<u32>(0u, p.position, 1u, 0u)).x >> 9u) + 0.5) * 1.1920929e-7;
  var sum = 0.0;
  var i = 0u;
  loop {
    sum += weights[i];
    if (sum >= even * total || i + 1u == left) { break; }
    i += 1u;
  }
  return coded(ordered[i]).index;
}
fn run(wg: u32, t: u32) {
  let k = clamp(p.k, 1u, MOST);
  // The chunks' lists are in order: if their `depth`-th best are `least` or more, then at least k of all are.
  let depth = (k + N_CHUNKS - 1u) / N_CHUNKS;
  var least = 0xffffffffu;
  for (var i = t; i < N_CHUNKS; i += GROUP_THREADS) { least = min(least, candidate(i * k + depth - 1u).key); }
  least = ~group_best(Best(~least, 0u)).key;
  select_best(t, N_CHUNKS * k, k, least);
  if (t < k) {
    plain_weights[t] = weight(ordered[t].x, ordered[0].x, 1.0);
    weights[t] = weight(ordered[t].x, ordered[0].x, p.sharpness);
  }
  workgroupBarrier();
  if (t == 0u) {
    chosen = min(choose(k), N_VOCAB - 1u);
    tokens[p.ids + p.position + 1u] = chosen;
  }
  embed(workgroupUniformLoad(&chosen), t);
}
