// Attention of heads of one row over a part of its keys. Composed in attend_walk.rs, which writes out the marked lines.
const TEAMS: u32 = THREADS / TEAM;
// Keys that the workgroup has in hand at a time.
const CHUNK: u32 = KEYS * TEAMS;
// Threads whose teams meet without workgroup memory, and how many such there are.
const WAVE: u32 = max(TEAM, 32u);
const WAVES: u32 = THREADS / WAVE;
// What teams leave: [WAVES, TEAM, 2] quads of mixed values, and [WAVES] of top scores and sums of weights.
var<workgroup> mixes: array<vec4<f32>, WAVES * TEAM * 2u>;
var<workgroup> ends: array<vec2<f32>, WAVES>;
var<workgroup> pool: array<vec4<f32>, THREADS>;

// What one head of a thread's has come to: 8 elements of mixed values, the sum of its team's weights, and the top score, to
// which they are relative.
struct Mix { low: vec4<f32>, high: vec4<f32>, total: f32, top: f32 }
// 8 elements of a vector.
struct Eight { low: vec4<f32>, high: vec4<f32> }

// Whether a thread has elements: teams are powers of two.
fn in_head(t: u32) -> bool { return TEAM == LANES || t % TEAM < LANES; }
fn times(a: Eight, k: vec4<u32>, t: u32) -> f32 {
  return select(0.0, dot(low_half(k), a.low) + dot(high_half(k), a.high), in_head(t));
}
// The sum over the threads of a team.
fn team_sum(t: u32, size: u32, v: vec4<f32>) -> vec4<f32> {
  var sum = v;
  // <team sum>
  return sum;
}
fn met(t: u32, size: u32, a: Mix, d: u32) -> Mix {
  let low = exchange(t, size, a.low, d);
  let high = exchange(t, size, a.high, d);
  let end = exchange(t, size, vec4<f32>(a.total, a.top, 0.0, 0.0), d);
  let top = max(a.top, end.y);
  let own = weight(a.top - top);
  let other = weight(end.y - top);
  return Mix(own * a.low + other * low, own * a.high + other * high, own * a.total + other * end.x, top);
}
// Teams of a wave meet.
fn wave_met(t: u32, size: u32, a: Mix) -> Mix {
  var mix = a;
  // <teams meet>
  return mix;
}
// Waves meet, and what they have goes out.
fn leave(wg: vec3<u32>, t: u32, head: u32, mix: Mix) {
  if (t % WAVE < LANES) {
    let at = (t / WAVE * TEAM + t % TEAM) * 2u;
    mixes[at] = mix.low;
    mixes[at + 1u] = mix.high;
    if (t % WAVE == 0u) { ends[t / WAVE] = vec2<f32>(mix.top, mix.total); }
  }
  workgroupBarrier();
  for (var i = t; i < 2u * LANES; i += THREADS) {
    var high = ends[0].x;
    for (var j = 1u; j < WAVES; j += 1u) { high = max(high, ends[j].x); }
    var sum = 0.0;
    var mixed = vec4<f32>(0.0);
    for (var j = 0u; j < WAVES; j += 1u) {
      let w = weight(ends[j].x - high);
      sum += w * ends[j].y;
      mixed += w * mixes[j * 2u * TEAM + i];
    }
    store_mixed(wg, head, i, mixed, high, sum);
  }
  store_head(wg, t, head);
}
// Four of the team's keys from `first` on.
fn keys_of(first: u32, team: u32) -> vec4<u32> { return vec4<u32>(first + team) + vec4<u32>(0u, 1u, 2u, 3u) * TEAMS; }
// Four keys with their scores into what the team has mixed.
fn mixed(a: Mix, scores: vec4<f32>, on: vec4<bool>, v0: vec4<u32>, v1: vec4<u32>, v2: vec4<u32>, v3: vec4<u32>) -> Mix {
  let s = select(vec4<f32>(LOWEST), scores, on);
  let top = max(max(a.top, max(s.x, s.y)), max(s.z, s.w));
  let fade = weight(a.top - top);
  let w = select(vec4<f32>(0.0), weights(s - top), on);
  return Mix(
    a.low * fade + w.x * low_half(v0) + w.y * low_half(v1) + w.z * low_half(v2) + w.w * low_half(v3),
    a.high * fade + w.x * high_half(v0) + w.y * high_half(v1) + w.z * high_half(v2) + w.w * high_half(v3),
    a.total * fade + (w.x + w.y) + (w.z + w.w), top);
}

fn run(wg: vec3<u32>, t: u32, size: u32) {
  let first_head = wg.x * SHARED;
  let kv_head = first_head / GROUP;
  let lane = min(t % TEAM, LANES - 1u);
  let team = t / TEAM;
  let row = row_of(wg.z);
  let n_blocks = row.position / 32u + 1u;
  let start = wg.y * n_blocks / key_parts() * 32u;
  let end = min((wg.y + 1u) * n_blocks / key_parts() * 32u, row.n_cached);
  var first = start;
  // <before>
  // <variables>
  // <load keys>
  // <load values>
  // <queries made>
  // <load queries>
  let rounds = (max(start, end) - start + CHUNK - 1u) / CHUNK;
  for (var c = 0u; c < rounds; c += 1u) {
    // <scores>
    let here = first;
    first += CHUNK;
    if (first < end) {
      // <load keys>
    }
    // <mix values>
    if (first < end) {
      // <load values>
    }
  }
  // <leave>
  if (first_head + SHARED == N_HEADS) { store_rest(wg, t); }
  // <after>
}
