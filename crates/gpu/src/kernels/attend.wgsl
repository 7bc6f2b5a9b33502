// Attention of one head of one row over a part of its keys. Composed in attend.rs, which writes out the marked lines.
struct Params {
  q: u32, k: u32, v: u32, stride: u32, out: u32, out_stride: u32,
  kv: u32, rope: u32, q_norm: u32, k_norm: u32,
  rows: u32, position: u32, table: u32, splits: u32,
}
var<immediate> p: Params;
const THREADS: u32 = TEAMS * LANES;
// Keys that the workgroup has in hand at a time.
const CHUNK: u32 = KEYS * TEAMS;
// Each thread's share of the scores of its team's keys; in the end what the teams have mixed, [TEAMS, LANES, 2].
var<workgroup> pool: array<vec4<f32>, 2u * THREADS>;
var<workgroup> team_top: array<f32, TEAMS>;
var<workgroup> team_total: array<f32, TEAMS>;
// The lane's 8 elements of the query, scaled.
var<private> q_low: vec4<f32>;
var<private> q_high: vec4<f32>;
// What the team has mixed of values, the sum of its weights, and the top score, to which they are relative.
var<private> mixed_low = vec4<f32>(0.0);
var<private> mixed_high = vec4<f32>(0.0);
var<private> total = 0.0;
var<private> top = LOWEST;

fn dot_query(k: vec4<u32>) -> f32 { return dot(low_half(k), q_low) + dot(high_half(k), q_high); }
// Scores of four of the team's keys, once their shares are in the pool; those past the end do not count.
fn team_scores(four: u32, team: u32, on: vec4<bool>) -> vec4<f32> {
  var sum = vec4<f32>(0.0);
  for (var i = 0u; i < LANES; i += 1u) { sum += pool[four * THREADS + team * LANES + i]; }
  return select(vec4<f32>(LOWEST), sum, on);
}
// Four of the team's keys from `first` on.
fn keys_of(first: u32, team: u32) -> vec4<u32> { return vec4<u32>(first + team) + vec4<u32>(0u, 1u, 2u, 3u) * TEAMS; }

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) t: u32) {
  let head = wg.x;
  let kv_head = head / GROUP;
  let lane = t % LANES;
  let team = t / LANES;
  let row = row_of(wg.z);
  let n_blocks = row.position / 32u + 1u;
  let start = wg.y * n_blocks / p.splits * 32u;
  let end = min((wg.y + 1u) * n_blocks / p.splits * 32u, row.n_cached);
  var first = start;
  // <variables>
  // <load keys>
  // <load values>
  load_query(row, wg, t);
  // A part without keys goes through once, too: it has the row's own, or it leaves an empty state.
  let rounds = max((max(start, end) - start + CHUNK - 1u) / CHUNK, 1u);
  for (var c = 0u; c < rounds; c += 1u) {
    // <shares of scores>
    let here = first;
    first += CHUNK;
    if (first < end) {
      // <load keys>
    }
    workgroupBarrier();
    if (c == 0u) { count_own(wg, t); }
    // <mix values>
    if (first < end) {
      // <load values>
    }
    if (lane == 0u) { team_top[team] = top; }
    workgroupBarrier();
  }
  // The teams meet.
  var high = team_top[0];
  for (var i = 1u; i < TEAMS; i += 1u) { high = max(high, team_top[i]); }
  let fade = weight(top - high);
  pool[2u * t] = fade * mixed_low;
  pool[2u * t + 1u] = fade * mixed_high;
  if (lane == 0u) { team_total[team] = fade * total; }
  workgroupBarrier();
  var sum = 0.0;
  for (var i = 0u; i < TEAMS; i += 1u) { sum += team_total[i]; }
  for (var i = t; i < 2u * LANES; i += THREADS) {
    var mixed = pool[i];
    for (var j = 1u; j < TEAMS; j += 1u) { mixed += pool[j * 2u * LANES + i]; }
    store_mixed(wg, i, mixed, high, sum);
  }
  if (head == N_HEADS - 1u) { store_rest(wg, t); }
}
