// Groups beside those that work bring what is in the cache of keys near, a layer before it is needed: it comes from memory, and a group
// that attends waits for it.
const BLOCK_QUADS: u32 = N_KV_HEADS * 2u * VALUES;
// Loads that a thread has under way.
const AT_ONCE: u32 = 8u;
// Layers of this submit that were begun.
var<workgroup> progress: u32;

fn tell_progress(n: u32) {
  if (wg == 0u && t == 0u) { atomicStore(&exchange[PROGRESS], p.layer_uses + n); }
}
// Follows those that work until they are done, or have stopped, or are not heard of for too long.
fn help() {
  if (p.n_tokens == 0u) { return; }
  load_blocks(p.position + p.n_tokens - 1u);
  let all = p.n_tokens * N_LAYERS;
  var before = all;
  var looks = 0u;
  var seen = 0u;
  loop {
    if (t == 0u) {
      let stop = atomicLoad(&exchange[STOPPED]) != 0u;
      progress = select(atomicLoad(&exchange[PROGRESS]) - p.layer_uses, all, stop);
    }
    let now = workgroupUniformLoad(&progress);
    if (now >= all || looks > limit) { break; }
    looks += 1u;
    if (now != before) {
      seen ^= bring((now + 1u) % N_LAYERS, p.position + (now + 1u) / N_LAYERS);
      looks = 0u;
    }
    before = now;
  }
  // Never so; but the loads must not be taken for useless.
  if (limit == 0xffffffffu && seen == 1u) { publish_word(AT_BEST, seen); }
}
// A word of every 32 bytes of the first `n` keys and values of a layer.
fn bring(layer: u32, n: u32) -> u32 {
  var seen = 0u;
  let end = (n + 31u) / 32u * (BLOCK_QUADS / 2u);
  let step = HELPERS * THREADS;
  for (var first = (wg - N_GROUPS) * THREADS + t; first < end; first += AT_ONCE * step) {
    for (var k = 0u; k < AT_ONCE; k += 1u) {
      let i = min(first + k * step, end - 1u);
      seen ^= kv[KV + layer * LAYER_KV + blocks[i / (BLOCK_QUADS / 2u)] * BLOCK_QUADS + i % (BLOCK_QUADS / 2u) * 2u].x;
    }
  }
  return seen;
}
