// What top-p and min-p leave of the best candidates, and one of those by its probability, by all threads of a workgroup. The kernel
// gives `ordered_code(i)`, of MOST candidates at most, the best first, of whose codes x is a key, `index_of(code)`, options in `p`, and
// room for MOST pairs: shares, by which top-p goes and by which is drawn (`share`, `put_share`), and what they sum to, from the best one
// on to each (`share_sum`, `put_share_sum`).

// Keys of the infinities.
const LOWEST_KEY = 0x007fffffu;
const HIGHEST_KEY = 0xff800000u;

// How many top-p leaves, how many min-p does, and the first whose sum is large enough.
var<workgroup> n_within: atomic<u32>;
var<workgroup> n_likely: atomic<u32>;
var<workgroup> first_large: atomic<u32>;

fn number_of(key: u32) -> f32 { return bitcast<f32>(number_bits(key)); }
fn finite(key: u32) -> bool { return LOWEST_KEY < key && key < HIGHEST_KEY; }

// e^((own - top) * sharpness), by keys.
fn weight_of(own: u32, top: u32, sharpness: f32) -> f32 {
  if (own == top) { return 1.0; }
  if (!finite(own) || !finite(top)) { return 0.0; }
  return exp(max(number_of(own) - number_of(top), -1.0e8) * sharpness);
}
// A position's random number: even in (0, 1), and exact.
fn even_number(position: u32) -> f32 {
  return (f32(philox(vec4<u32>(0u, position, 1u, 0u)).x >> 9u) + 0.5) * 1.1920929e-7;
}
// One of the first `n`, 1 or more, by a random number.
fn draw_one(t: u32, n: u32, even: f32) -> u32 {
  let top = ordered_code(0u).x;
  if (t < n) { put_share(t, vec2<f32>(weight_of(ordered_code(t).x, top, 1.0), weight_of(ordered_code(t).x, top, p.sharpness))); }
  if (t == 0u) {
    atomicStore(&n_within, n);
    atomicStore(&n_likely, 0u);
    atomicStore(&first_large, n);
  }
  workgroupBarrier();
  if (t < n) {
    var sum = vec2<f32>();
    for (var i = 0u; i <= t; i += 1u) { sum += share(i); }
    put_share_sum(t, sum);
  }
  workgroupBarrier();
  if (t < n) {
    let least = select(top, key(max(number_of(top) + p.log_min_p, -3.0e38)), finite(top));
    if (ordered_code(t).x >= least) { atomicAdd(&n_likely, 1u); }
    if (p.top_p < 1.0 && share_sum(t).x >= p.top_p * share_sum(n - 1u).x && t + 1u >= p.min_keep) { atomicMin(&n_within, t + 1u); }
  }
  workgroupBarrier();
  let within = atomicLoad(&n_within);
  let least = max(p.min_keep, 1u);
  let left = select(within, max(least, min(within, atomicLoad(&n_likely))), within > least);
  if (t < left && share_sum(t).y >= even * share_sum(left - 1u).y) { atomicMin(&first_large, t); }
  workgroupBarrier();
  // Nothing but NaN and negative infinities: the first of what there is.
  let i = select(min(atomicLoad(&first_large), left - 1u), 0u, top <= LOWEST_KEY);
  return index_of(ordered_code(i));
}
