// Attention of one head over one part of the keys: a team of LANES threads has a key, each thread 8 elements of it.
const N_TEAMS: u32 = THREADS / LANES;
const CHUNK: u32 = KEYS * N_TEAMS;
// From a key to its value, in quads.
const VALUES: u32 = 32u * LANES;
// The head's query, key and value as they came.
var<workgroup> head_qkv: array<vec4<f32>, 3u * HEAD_DIM / 4u>;
var<workgroup> pool: array<vec4<f32>, N_SUBGROUPS * HEAD_DIM / 4u>;
var<workgroup> tops: array<f32, N_SUBGROUPS>;
var<workgroup> totals: array<f32, N_SUBGROUPS>;
// The sequence's block table, read once a token.
var<workgroup> blocks: array<u32, N_BLOCKS>;
// The thread's 8 elements of the query, turned and scaled.
var<private> q_low: vec4<f32>;
var<private> q_high: vec4<f32>;
// What the team has mixed of values, the sum of its weights, and the top score, to which they are relative.
var<private> mixed_low: vec4<f32>;
var<private> mixed_high: vec4<f32>;
var<private> total: f32;
var<private> top: f32;
// Angles of the thread's 8 elements.
var<private> cos_low: vec4<f32>;
var<private> cos_high: vec4<f32>;
var<private> sin_low: vec4<f32>;
var<private> sin_high: vec4<f32>;

// A head and a part: what the group is at. Those that there are more of than groups are dealt out in turn.
var<private> item: u32;
fn head() -> u32 { return item % N_HEADS; }
fn kv_head() -> u32 { return item % N_HEADS / GROUP; }
fn split() -> u32 { return item / N_HEADS; }
fn attends() -> bool { return wg < N_HEADS * SPLITS; }
// The part's first key, and the one behind its last, of `n`.
fn first_key(n: u32) -> u32 { return min(n, split() * ((n + SPLITS - 1u) / SPLITS)); }
fn last_key(n: u32) -> u32 { return min(n, (split() + 1u) * ((n + SPLITS - 1u) / SPLITS)); }
// The thread's quad of the key of position `i`.
fn key_at(layer: u32, i: u32) -> u32 {
  return KV + layer * LAYER_KV + ((blocks[i / 32u] * N_KV_HEADS + kv_head()) * 64u + i % 32u) * LANES + t % LANES;
}
fn low_half(q: vec4<u32>) -> vec4<f32> { return vec4<f32>(unpack2x16float(q.x), unpack2x16float(q.y)); }
fn high_half(q: vec4<u32>) -> vec4<f32> { return vec4<f32>(unpack2x16float(q.z), unpack2x16float(q.w)); }
// Rounded to the nearest number that f16 has, to even between two: how a device rounds when it packs is its own affair.
fn nearest(v: vec4<f32>) -> vec4<f32> {
  let b = bitcast<vec4<u32>>(v);
  let up = vec4<u32>(0xfffu) + ((b >> vec4<u32>(13u)) & vec4<u32>(1u));
  return bitcast<vec4<f32>>((b + up) & vec4<u32>(0xffffe000u));
}
fn half_words(low: vec4<f32>, high: vec4<f32>) -> vec4<u32> {
  let a = nearest(low);
  let b = nearest(high);
  return vec4<u32>(pack2x16float(a.xy), pack2x16float(a.zw), pack2x16float(b.xy), pack2x16float(b.zw));
}
fn load_blocks(position: u32) {
  for (var i = t; i <= position / 32u; i += THREADS) { blocks[i] = tables[TABLE + i]; }
}
