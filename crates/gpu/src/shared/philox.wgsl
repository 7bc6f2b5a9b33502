// Philox4x32-10: four random words for each counter, a seed giving one of 2^64 sequences. No state, so that any thread finds
// its own: J. Salmon, M. Moraes, R. Dror, D. Shaw, "Parallel random numbers: as easy as 1, 2, 3", 2011.
struct Product { low: u32, high: u32 }

// 64 bits of a * b, by halves.
fn product(a: u32, b: u32) -> Product {
  let low = (a & 0xffffu) * (b & 0xffffu);
  let first = (a >> 16u) * (b & 0xffffu) + (low >> 16u);
  let second = (a & 0xffffu) * (b >> 16u) + (first & 0xffffu);
  return Product(a * b, (a >> 16u) * (b >> 16u) + (first >> 16u) + (second >> 16u));
}
fn philox(counter: vec4<u32>) -> vec4<u32> {
  var c = counter;
  var seed = vec2<u32>(p.seed_low, p.seed_high);
  for (var i = 0u; i < PHILOX_ROUNDS; i += 1u) {
    let a = product(0xd2511f53u, c.x);
    let b = product(0xcd9e8d57u, c.z);
    c = vec4<u32>(b.high ^ c.y ^ seed.x, b.low, a.high ^ c.w ^ seed.y, a.low);
    seed += vec2<u32>(0x9e3779b9u, 0xbb67ae85u);
  }
  return c;
}
