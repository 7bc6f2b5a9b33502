// RMSNorm and rotation of Q and K, and K and V into the cache, for many rows. Composed in rope_kv.rs.
struct Params {
  q: u32, k: u32, v: u32, stride: u32,
  kv: u32, rope: u32, rows: u32, q_norm: u32, k_norm: u32,
}
var<immediate> p: Params;
const THREADS: u32 = PER_GROUP * LANES;
// The workgroup's queries: they are written when all of them have been read.
var<workgroup> turned_queries: array<f32, (PER_GROUP * HEAD_DIM + 3u) / 4u * 4u>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) t: u32) {
  let position = tables[p.rows + 4u * wg.y];
  let table = tables[p.rows + 4u * wg.y + 1u];
  let angles = p.rope + position * 2u * N_PAIRS;
  let lane = t % LANES;
  // Threads past the last head repeat it, and write nothing.
  let head = wg.x * PER_GROUP + t / LANES;
  let is_query = head < N_HEADS;
  let is_key = !is_query && head < N_HEADS + N_KV_HEADS;
  let is_value = !is_query && !is_key && head < N_HEADS + 2u * N_KV_HEADS;
  let kv_head = min(select(head - N_HEADS - N_KV_HEADS, head - N_HEADS, is_key), N_KV_HEADS - 1u);
  let first = select(select(p.v, p.k, is_key), p.q, is_query);
  let at = first + wg.y * p.stride + select(kv_head, head, is_query) * HEAD_DIM;

  let scale = head_scale(t, at);
  if (is_query || is_key) {
    let norm = select(p.k_norm, p.q_norm, is_query);
    let low = scale * turned(at, 2u * lane, norm, angles);
    let high = scale * turned(at, 2u * lane + 1u, norm, angles);
    if (is_key) {
      kv[key_at(table, kv_head, position) + lane] = halves(low, high);
    } else {
      for (var i = 0u; i < 8u; i += 1u) {
        let e = 8u * lane + i;
        if (e < HEAD_DIM) { turned_queries[t / LANES * HEAD_DIM + e] = select(low[i % 4u], high[i % 4u], i >= 4u); }
      }
    }
  } else if (is_value) {
    kv[key_at(table, kv_head, position) + VALUES + lane] = halves(head_quad(at, 2u * lane), head_quad(at, 2u * lane + 1u));
  }
  workgroupBarrier();
  let queries = wg.x * PER_GROUP;
  let n = (min(N_HEADS, queries + PER_GROUP) - min(N_HEADS, queries)) * HEAD_DIM;
  let to = (p.q + wg.y * p.stride + queries * HEAD_DIM) / 4u;
  for (var i = t; 4u * i < n; i += THREADS) {
    let v = vec4<f32>(
      turned_queries[4u * i], turned_queries[4u * i + 1u], turned_queries[4u * i + 2u], turned_queries[4u * i + 3u]);
    // Zeros where the last quad has room behind the last head.
    scratch[to + i] = select(vec4<f32>(0.0), v, vec4<u32>(4u * i) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(n));
  }
}
