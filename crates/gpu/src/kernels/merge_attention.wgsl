// Attention over parts of the keys becomes attention over all of them. Composed in merge_attention.rs.
struct Params { states: u32, splits: u32, out: u32, out_stride: u32 }
var<immediate> p: Params;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) t: u32) {
  let i = wg.x * THREADS + t;
  let row = (p.out + wg.y * p.out_stride) / 4u;
  if (4u * i < WIDTH + TAIL) {
    let states = p.states + wg.y * N_HEADS * p.splits * STATE * 4u;
    store_quad(row, t, i, merged_quad(states, p.splits, i));
  }
  store_group(row, wg.x, t);
}
