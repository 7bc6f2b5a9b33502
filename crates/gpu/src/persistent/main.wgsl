fn silu(x: f32) -> f32 { return x / (1.0 + exp(min(-x, 80.0))); }

fn load_first_keys(layer: u32, position: u32) {
  load_keys(layer, first_key(position) + t / LANES, last_key(position));
}
// The next token; what was put into the cache is seen by all groups from here on: each has fenced off its own before it told
// of its best rows, and fences again when it has heard of all.
fn phase_output(token: u32) -> u32 {
  // <random number>
  if (AHEAD) { load_output(); }
  take_hidden(tag, 0u);
  if (!AHEAD) { load_output(); }
  stage_last(0u);
  // <the other half>
  workgroupBarrier();
  finish_squares();
  workgroupBarrier();
  let best = output_best();
  tag = (p.token_uses + token + 1u) & 1u;
  return <next token>;
}
// Whether all groups are at work at a time.
fn roll_call() {
  if (t == 0u) {
    atomicAdd(&exchange[PRESENT], 1u);
    var looks = 0u;
    while (atomicLoad(&exchange[PRESENT]) != N_GROUPS) {
      if (!waits(looks)) { break; }
      looks += 1u;
    }
  }
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  wg = id.x;
  t = thread;
  item = wg;
  r = t % 8u;
  octet = t / 8u;
  subgroup = t / SUBGROUP;
  lane = t % SUBGROUP;
  set_factors();
  limit = p.limit;
  if (t == 0u) {
    atomicStore(&stopped, atomicLoad(&exchange[STOPPED]));
    if (wg == 0u) { atomicStore(&exchange[DONE], 0u); }
  }
  workgroupBarrier();
  if (!alive()) { limit = 0u; }
  // <help>
  if (p.n_tokens == 0u) { roll_call(); }
  load_first();
  var token = tokens[p.position];
  for (var i = 0u; i < p.n_tokens; i += 1u) {
    let position = p.position + i;
    embed(min(token, N_VOCAB - 1u));
    embed_own(min(token, N_VOCAB - 1u));
    if (AHEAD) { load_angles(position); }
    if (attends()) {
      load_blocks(position);
      workgroupBarrier();
      if (AHEAD) { load_first_keys(0u, position); }
    }
    for (var layer = 0u; layer < N_LAYERS; layer += 1u) {
      let next = select(layer + 1u, 0u, layer + 1u == N_LAYERS);
      tag = (p.layer_uses + i * N_LAYERS + layer + 1u) & 1u;
      // <progress>
      if (wg < QKV_GROUPS) { phase_qkv(layer, next); }
      if (attends()) {
        attend(layer, position);
        // Never where there is a group for each: a compiler would not know.
        if (N_GROUPS < N_HEADS * SPLITS) {
          for (item += N_GROUPS; item < N_HEADS * SPLITS; item += N_GROUPS) {
            if (AHEAD) { load_first_keys(layer, position); }
            attend(layer, position);
          }
          item = wg;
        }
      } else {
        prefetch(layer);
      }
      if (wg < OUTPUT_GROUPS) { phase_attn_output(layer, next); }
      phase_gate_up(layer, next);
      // Not before O and gates: what they wait for would come behind the keys.
      if (AHEAD && next != 0u && attends()) { load_first_keys(next, position); }
      if (wg < OUTPUT_GROUPS) { phase_ffn_down(layer, next); }
    }
    token = phase_output(i);
    if (wg == 0u && t == 0u && alive()) {
      tokens[position + 1u] = token;
      atomicStore(&exchange[DONE], i + 1u);
    }
  }
  // <end>
}
