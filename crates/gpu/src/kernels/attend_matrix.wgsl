// Attention of many rows of one sequence on matrix units: a tile of rows of one head over blocks of keys. Composed in
// attend_matrix.rs, which writes out the marked lines.
struct Params {
  q: u32, stride: u32, out: u32, out_stride: u32, kv: u32, first: u32, table: u32, n_rows: u32,
  ahead: u32, n_ahead: u32, columns: u32, unused: u32,
}
var<immediate> p: Params;
// Keys and values in halves, four to a quad.
@group(1) @binding(0) var<storage, read_write> kv_halves: array<vec4<f16>>;
// Quads of a head; quads of the rows below, which begin in different banks.
const QUADS: u32 = HEAD_DIM / 4u;
const HEAD_STRIDE: u32 = QUADS + 2u;
const SHARE_STRIDE: u32 = KEYS / 4u + 2u;
const SCORE_STRIDE: u32 = KEYS / 4u + 2u;
// Where values begin in what is brought in.
const TILE_VALUES: u32 = TEAMS * KEYS * HEAD_STRIDE;
const TEAM: u32 = 128u;
const THREADS: u32 = TEAMS * TEAM;
// What a row's top score may grow by before everything is brought to a new scale: shares stay within the range of f16.
const HEADROOM: f32 = 10.0;
// Keys [TEAMS, KEYS], values [TEAMS, KEYS], and first in their place or behind them queries [ROWS], of a head each.
var<workgroup> tile: array<vec4<f16>, TILE_QUADS>;
// [TEAMS, ROWS, KEYS].
var<workgroup> shares: array<vec4<f16>, TEAMS * ROWS * SHARE_STRIDE>;
// [TEAMS, ROWS, KEYS], and blocks of results on their way to and from matrices.
var<workgroup> scores: array<vec4<f32>, TEAMS * ROWS * SCORE_STRIDE>;
// What each team's sums of each row are to be multiplied with.
var<workgroup> factors: array<f32, TEAMS * ROWS>;
// Whether any row has a new scale.
var<workgroup> rescaled: u32;

fn clamped(v: vec4<f32>) -> vec4<f32> { return clamp(v, vec4<f32>(-65504.0), vec4<f32>(65504.0)); }
fn power(x: f32) -> f32 { return exp2(max(x, -200.0)); }
fn powers(x: vec4<f32>) -> vec4<f32> { return exp2(max(x, vec4<f32>(-200.0))); }
// The first quad of key `32 block` of a head; behind the last block it is the last one.
fn block_at(kv_head: u32, block: u32, last_block: u32) -> u32 {
  return 2u * key_at(p.table, kv_head, 32u * min(block, last_block));
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) thread: u32, // <subgroup>
) {
  // <ahead>
  let subgroup_of_all = // <own subgroup>
  ;
  let team = subgroup_of_all / 4u;
  let subgroup = subgroup_of_all % 4u;
  let t = thread % TEAM;
  let lane = t % 32u;
  let head = wg.x;
  let kv_head = head / GROUP;
  // The last rows have the most keys, and go first.
  let first_row = ((p.n_rows + ROWS - 1u) / ROWS - 1u - wg.y) * ROWS;
  let last_row = min(first_row + ROWS, p.n_rows) - 1u;
  let last = p.first + last_row;
  let last_block = last / 32u;
  let n_rounds = last / (TEAMS * KEYS) + 1u;
  // For the softmax so many threads have a row, and every so manieth quad of its scores.
  let row = t / PARTS;
  let part = t % PARTS;
  let position = p.first + min(first_row + row, last_row);
  var top = LOWEST;
  var total = 0.0;
  // <variables>
  // <load first keys>
  for (var i = thread; i < ROWS * QUADS; i += THREADS) {
    let at = p.q + min(first_row + i / QUADS, last_row) * p.stride + head * HEAD_DIM;
    tile[QUERIES + i / QUADS * HEAD_STRIDE + i % QUADS] =
      vec4<f16>(clamped(SCALE * 1.44269504 * head_quad(at, i % QUADS)));
  }
  if (thread == 0u) { rescaled = 0u; }
  // <queries that make room>
  // <stage first keys>
  // <load later rounds>
  workgroupBarrier();
  // <queries>
  // <scores>
  workgroupBarrier();
  for (var first_round = 0u; first_round < n_rounds; first_round += DEPTH) {
    // <rounds>
  }
  // <factors>
  workgroupBarrier();
  // <store>
  if (head == N_HEADS - 1u && team == 0u && first_row + row <= last_row) {
    zero_rest(p.out + (first_row + row) * p.out_stride, part, PARTS);
  }
}
