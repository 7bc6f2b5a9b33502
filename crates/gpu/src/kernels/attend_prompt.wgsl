// Attention of many rows of one sequence: a tile of rows of one head over blocks of 32 keys. Composed in attend_prompt.rs, which
// writes out the marked lines.
struct Params {
  q: u32, stride: u32, out: u32, out_stride: u32, kv: u32, first: u32, table: u32, n_rows: u32,
  ahead: u32, n_ahead: u32, columns: u32, unused: u32,
}
var<immediate> p: Params;
// Threads are [ROWS / 4, 16]: each has four rows; of the scores two keys, of the output quads 16 apart.
const THREADS: u32 = 4u * ROWS;
const FOURS: u32 = ROWS / 4u;
// Quads of a head in f32.
const QUADS: u32 = 2u * LANES;
// Rows of these are a place longer than what they hold: so neighbours in a column fall to different banks.
var<workgroup> queries: array<vec4<f32>, ROWS * (QUADS + 1u)>;
var<workgroup> keys: array<vec2<u32>, 32u * (QUADS + 1u)>;
var<workgroup> values: array<vec2<u32>, 32u * QUADS>;
// Weights of four rows for a key, [32, FOURS].
var<workgroup> shares: array<vec4<f32>, 32u * (FOURS + 1u)>;
// One number a thread and row, to be reduced over 16 threads.
var<workgroup> partial: array<vec4<f32>, THREADS>;

fn four(halves: vec2<u32>) -> vec4<f32> { return vec4<f32>(unpack2x16float(halves.x), unpack2x16float(halves.y)); }
// The first quad of the keys of block `b`.
fn block_at(b: u32, kv_head: u32) -> u32 { return key_at(p.table, kv_head, 32u * b); }

fn stage_queries(head: u32, first_row: u32, t: u32) {
  for (var i = t; i < ROWS * QUADS; i += THREADS) {
    let row = min(first_row + i / QUADS, p.n_rows - 1u);
    let at = p.q + row * p.stride + head * HEAD_DIM;
    queries[i / QUADS * (QUADS + 1u) + i % QUADS] = SCALE * head_quad(at, i % QUADS);
  }
}
fn stage_key(i: u32, quad: vec4<u32>) {
  let to = i / LANES * (QUADS + 1u) + i % LANES * 2u;
  keys[to] = quad.xy;
  keys[to + 1u] = quad.zw;
}
// What is behind the last key may be anything, and is zeroed: a weight of 0 does not make up for it.
fn stage_value(i: u32, quad: vec4<u32>, n: u32) {
  let known = select(vec4<u32>(0u), quad, i / LANES < n);
  values[2u * i] = known.xy;
  values[2u * i + 1u] = known.zw;
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) t: u32) {
  let head = wg.x;
  let kv_head = head / GROUP;
  let g = t / 16u;
  let c = t % 16u;
  // The last rows have the most keys, and go first.
  let first_row = ((p.n_rows + ROWS - 1u) / ROWS - 1u - wg.y) * ROWS;
  let last_row = min(first_row + ROWS, p.n_rows) - 1u;
  let last = p.first + last_row;
  let last_block = last / 32u;
  // Rows past the last repeat it.
  let own_row = first_row + 4u * g;
  let positions = vec4<u32>(p.first) + min(vec4<u32>(own_row) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(last_row));
  var top = vec4<f32>(LOWEST);
  var total = vec4<f32>(0.0);
  // <variables>
  var place = block_at(0u, kv_head);
  // <load keys>
  // <load values>
  stage_queries(head, first_row, t);
  // <stage keys>
  place = block_at(min(1u, last_block), kv_head);
  // <load keys>
  workgroupBarrier();
  for (var b = 0u; b <= last_block; b += 1u) {
    let next = block_at(min(b + 2u, last_block), kv_head);
    // Scores of four rows with two keys.
    var s0 = vec4<f32>(0.0);
    var s1 = vec4<f32>(0.0);
    for (var d = 0u; d < QUADS; d += 1u) {
      let k0 = four(keys[c * (QUADS + 1u) + d]);
      let k1 = four(keys[(c + 16u) * (QUADS + 1u) + d]);
      let q0 = queries[4u * g * (QUADS + 1u) + d];
      let q1 = queries[(4u * g + 1u) * (QUADS + 1u) + d];
      let q2 = queries[(4u * g + 2u) * (QUADS + 1u) + d];
      let q3 = queries[(4u * g + 3u) * (QUADS + 1u) + d];
      s0 += vec4<f32>(dot(q0, k0), dot(q1, k0), dot(q2, k0), dot(q3, k0));
      s1 += vec4<f32>(dot(q0, k1), dot(q1, k1), dot(q2, k1), dot(q3, k1));
    }
    let on0 = vec4<u32>(32u * b + c) <= positions;
    let on1 = vec4<u32>(32u * b + c + 16u) <= positions;
    s0 = select(vec4<f32>(LOWEST), s0, on0);
    s1 = select(vec4<f32>(LOWEST), s1, on1);
    partial[t] = max(s0, s1);
    workgroupBarrier();
    var high = top;
    for (var i = 0u; i < 16u; i += 1u) { high = max(high, partial[16u * g + i]); }
    let fade = weights(top - high);
    let w0 = select(vec4<f32>(0.0), weights(s0 - high), on0);
    let w1 = select(vec4<f32>(0.0), weights(s1 - high), on1);
    total = total * fade + (w0 + w1);
    top = high;
    shares[c * (FOURS + 1u) + g] = w0;
    shares[(c + 16u) * (FOURS + 1u) + g] = w1;
    let n_known = last + 1u - 32u * b;
    // <stage values>
    // <stage keys>
    workgroupBarrier();
    // <load values>
    place = next;
    // <load keys>
    // <fade mixtures>
    for (var key = 0u; key < 32u; key += 1u) {
      let w = shares[key * (FOURS + 1u) + g];
      // <mix values>
    }
  }
  partial[t] = total;
  workgroupBarrier();
  var sum = vec4<f32>(0.0);
  for (var i = 0u; i < 16u; i += 1u) { sum += partial[16u * g + i]; }
  let at = p.out + own_row * p.out_stride + head * HEAD_DIM;
  // <store mixtures>
  if (head == N_HEADS - 1u) {
    for (var i = own_row; i < min(own_row + 4u, p.n_rows); i += 1u) { zero_tail(p.out + i * p.out_stride, c, 16u); }
  }
}
