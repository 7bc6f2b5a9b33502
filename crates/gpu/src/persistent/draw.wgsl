// One of the best `p.k` rows, as the kernel `draw` has it, by all groups alike. First each tells of a row that is among its best few;
// so many of these are as good as the last of them that counts, or better, that all of the best are. Then each tells of its rows that
// are so good, in lists: those begin with no tag, but are told before their lengths, with a fence between.
//
// Codes are MOST + MORE of what groups tell of, MORE candidates at a time behind the best of those before, and MOST behind them, which
// are the best in order; before there are any, the group's rows that are good enough, if there are not more than MOST_LISTED.
const ORDERED: u32 = MOST + MORE;
// How many rows of the group are good enough.
var<workgroup> n_listed: atomic<u32>;
// The last of what counts, and how many candidates all groups tell of.
var<workgroup> last_code: vec2<u32>;
var<workgroup> n_told: atomic<u32>;
var<workgroup> all_told: u32;
var<workgroup> top_key: atomic<u32>;
var<workgroup> top_row: atomic<u32>;

// A key and a row turned around: of two the larger is the better. Rows that there are not are below all others.
fn code(best: Best) -> vec2<u32> { return vec2<u32>(best.key, ~best.index); }
fn index_of(code: vec2<u32>) -> u32 { return min(~code.y, N_VOCAB - 1u); }
fn ordered_code(i: u32) -> vec2<u32> { return code_at(ORDERED + i); }
// What was told of rows needs their logits no more.
fn share(i: u32) -> vec2<f32> { return vec2<f32>(partials[2u * i], partials[2u * i + 1u]); }
fn put_share(i: u32, v: vec2<f32>) {
  partials[2u * i] = v.x;
  partials[2u * i + 1u] = v.y;
}
fn share_sum(i: u32) -> vec2<f32> { return share(MOST + i); }
fn put_share_sum(i: u32, v: vec2<f32>) { put_share(MOST + i, v); }
// The group's row `i`, whose logit lies in `partials`.
fn own_row(i: u32) -> Best {
  let row = wg * OWN_ROWS + i;
  if (row >= N_VOCAB) { return NOTHING; }
  return Best(permitted(key(partials[i]), row), row);
}
// `group_best` without operations of subgroups, which is called in a loop: see `Source::wait` for what those cost there.
fn group_best_by_words(own: Best) -> Best {
  if (t == 0u) {
    atomicStore(&top_key, 0u);
    atomicStore(&top_row, NOTHING.index);
  }
  workgroupBarrier();
  atomicMax(&top_key, own.key);
  workgroupBarrier();
  let key = atomicLoad(&top_key);
  if (own.key == key) { atomicMin(&top_row, own.index); }
  workgroupBarrier();
  let best = Best(key, atomicLoad(&top_row));
  workgroupBarrier();
  return best;
}
// The `n`-th best of the group's rows, for all of its threads.
fn nth_best(n: u32) -> Best {
  var best = NOTHING;
  var last = vec2<u32>(0xffffffffu);
  for (var i = 0u; i < n; i += 1u) {
    var own = NOTHING;
    for (var j = t; j < OWN_ROWS; j += THREADS) {
      let row = own_row(j);
      if (above(last, code(row))) { own = better(own, row); }
    }
    best = group_best_by_words(own);
    last = code(best);
  }
  return best;
}
// Where candidate `i` of a group's list is.
fn candidate_at(group: u32, i: u32) -> u32 { return AT_CANDIDATES + 2u * (group * MOST + i); }
fn tell_candidate(rank: u32, code: vec2<u32>) {
  if (rank >= p.k || !alive()) { return; }
  let at = candidate_at(wg, rank);
  atomicStore(&exchange[at], code.x);
  atomicStore(&exchange[at + 1u], code.y);
}
// How many of the first `n` codes are above `own`.
fn rank_among(n: u32, own: vec2<u32>) -> u32 {
  var rank = 0u;
  for (var i = 0u; i < n; i += 1u) { rank += u32(above(code_at(i), own)); }
  return rank;
}
// Makes `last_code` the `n`-th of all groups' codes.
fn find_last(n: u32) {
  for (var g = t; g < p.n_groups; g += THREADS) {
    let own = code_at(g);
    if (rank_among(p.n_groups, own) + 1u == n) { last_code = own; }
  }
}
// Whether a row is there, and no worse than the last that counts.
fn counts(row: Best, last: vec2<u32>) -> bool { return row.index < N_VOCAB && !above(last, code(row)); }
// Tells of the group's rows that are no worse than the last that counts, the best first, and gives back how many they are.
fn tell_candidates() -> u32 {
  let last = last_code;
  for (var i = t; i < OWN_ROWS; i += THREADS) {
    if (counts(own_row(i), last)) {
      let at = atomicAdd(&n_listed, 1u);
      if (at < MOST_LISTED) { put_code(ORDERED + at, code(own_row(i))); }
    }
  }
  workgroupBarrier();
  let n = atomicLoad(&n_listed);
  if (n <= MOST_LISTED) {
    if (t < n) {
      let own = ordered_code(t);
      var rank = 0u;
      for (var i = 0u; i < n; i += 1u) { rank += u32(above(ordered_code(i), own)); }
      tell_candidate(rank, own);
    }
  } else {
    // So many that they are all equal, or nearly.
    for (var i = t; i < OWN_ROWS; i += THREADS) {
      if (counts(own_row(i), last)) {
        let own = code(own_row(i));
        var rank = 0u;
        for (var j = 0u; j < OWN_ROWS; j += 1u) { rank += u32(above(code(own_row(j)), own)); }
        tell_candidate(rank, own);
      }
    }
  }
  return min(n, p.k);
}
// Puts candidate `i` of a group's list among the codes, as number `at` behind the `held` best, if it is among those that are looked at.
fn take_candidate(group: u32, i: u32, at: u32, held: u32) {
  if (at >= MORE) { return; }
  let place = candidate_at(group, i);
  put_code(held + at, vec2<u32>(atomicLoad(&exchange[place]), atomicLoad(&exchange[place + 1u])));
}
// The best of the first `n` codes to where they are in order.
fn put_in_order(n: u32) {
  for (var i = t; i < n; i += THREADS) {
    let own = code_at(i);
    let rank = rank_among(n, own);
    if (rank < p.k) { put_code(ORDERED + rank, own); }
  }
}
