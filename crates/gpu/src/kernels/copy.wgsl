// Weights to scratch; see copy.rs, which writes the loads and the stores.
struct Params { x: u32, y: u32, n_quads: u32 }
var<immediate> p: Params;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) t: u32) {
  let first = (wg.y * MOST_X + wg.x) * OF_GROUP + t;
// <loads>
// <stores>
}
