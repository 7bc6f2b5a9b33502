// Gumbel noise: adding it, times the temperature, to the logits makes their maximum a draw from softmax(logits / temperature).
// -log(-log(1 - v)) of an even v in (0, 1), from -2.9 to 22.9.
fn gumbel(bits: vec4<u32>) -> vec4<f32> {
  let v = min((vec4<f32>(bits) + 0.5) * 2.3283064e-10, vec4<f32>(0.99999994));
  // The largest noise, which decides, comes of the smallest v. There 1 - v would have lost it: -log(1 - v) = 2 atanh(s).
  let s = v / (2.0 - v);
  let s2 = s * s;
  let small = 2.0 * s * (1.0 + s2 * (1.0 / 3.0 + s2 * (1.0 / 5.0 + s2 * (1.0 / 7.0))));
  return -log(select(-log(1.0 - v), small, v < vec4<f32>(0.25)));
}
// For ids 4 * quad to 4 * quad + 3.
fn noise(quad: u32) -> vec4<f32> { return gumbel(philox(vec4<u32>(quad, p.position, 0u, 0u))); }
