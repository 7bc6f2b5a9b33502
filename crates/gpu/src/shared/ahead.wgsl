// Weights that later dispatches read are brought into the cache meanwhile, by workgroups that have nothing else to do: `p.n_ahead`
// lines of two quads from quad `p.ahead` on, by thread `t` of `threads` of group `group` of `groups`.
fn bring_near(group: u32, groups: u32, t: u32, threads: u32) {
  let stride = groups * threads;
  var seen = vec4<u32>();
  for (var i = group * threads + t; i < p.n_ahead; i += 4u * stride) {
    // Four at a time; past the end the last one again.
    let a = quads[p.ahead + 2u * i];
    let b = quads[p.ahead + 2u * min(i + stride, p.n_ahead - 1u)];
    let c = quads[p.ahead + 2u * min(i + 2u * stride, p.n_ahead - 1u)];
    let d = quads[p.ahead + 2u * min(i + 3u * stride, p.n_ahead - 1u)];
    seen ^= (a ^ b) ^ (c ^ d);
  }
  // Loads that nothing follows from would be left out. Nobody reads what is written here, if it ever is.
  if (all(seen == vec4<u32>(0x9e3779b9u, 0x7f4a7c15u, 0xf39cc060u, 0x5cedc834u))) {
    scratch[p.unused / 4u] = bitcast<vec4<f32>>(seen);
  }
}
