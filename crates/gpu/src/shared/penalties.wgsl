// Repeat, frequency and presence penalties of the ids in the window, the last `p.window` ones up to `p.position`. A workgroup
// counts for CHUNK ids that follow one another.
var<workgroup> counts: array<atomic<u32>, CHUNK>;

// Counts for the ids from `first` on; ends with a barrier.
fn prepare(t: u32, first: u32) {
  for (var i = t; i < CHUNK; i += GROUP_THREADS) { atomicStore(&counts[i], 0u); }
  workgroupBarrier();
  let n = min(p.window, p.position + 1u);
  for (var i = t; i < n; i += GROUP_THREADS) {
    // Ids before `first` wrap around to large numbers.
    let place = tokens[p.ids + p.position - i] - first;
    if (place < CHUNK) { atomicAdd(&counts[place], 1u); }
  }
  workgroupBarrier();
}
// Of the chunk's logit `i`. Dividing a negative logit would make the token more likely.
fn penalised(logit: f32, i: u32) -> f32 {
  let n = atomicLoad(&counts[i]);
  let scaled = select(logit / p.repeat, logit * p.repeat, logit <= 0.0);
  return select(logit, scaled - (f32(n) * p.frequency + p.presence), n > 0u);
}
