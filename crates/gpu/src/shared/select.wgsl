// The best of many candidates in order, by a workgroup of 256. The kernel gives `candidate(i)`; no two have the same index, and
// none is above MOST_INDEX, which has 24 bits.
//
// A candidate's code is its key and then its index turned around, so that of two the larger is the better. The code of the last
// one that is wanted is found digit by digit, eight bits at a time: the candidates that agree with what was found so far are
// counted by their next digit. It rarely takes all seven digits.
var<workgroup> bins: array<atomic<u32>, 256>;
var<workgroup> bin_sums: array<u32, 16>;
// The last one's digit, how many of those with it are wanted, and 1 if that is all of them.
var<workgroup> cut: vec3<u32>;
var<workgroup> n_found: atomic<u32>;
var<workgroup> found: array<vec2<u32>, MOST>;
// The result: codes, the best first.
var<workgroup> ordered: array<vec2<u32>, MOST>;

fn code(best: Best) -> vec2<u32> { return vec2<u32>(best.key, MOST_INDEX - best.index); }
fn coded(code: vec2<u32>) -> Best { return Best(code.x, MOST_INDEX - code.y); }

// Puts the `wanted` best of `n` candidates in `ordered`; `wanted` is 1 to MOST, and at least so many have a key of `least` or
// more. Begins and ends with a barrier.
fn select_best(t: u32, n: u32, wanted: u32, least: u32) {
  var last = vec2<u32>(0u);
  var mask = vec2<u32>(0u);
  var left = wanted;
  if (t == 0u) { atomicStore(&n_found, 0u); }
  for (var digit = 0u; digit < 7u; digit += 1u) {
    let of_key = digit < 4u;
    let shift = select(48u, 24u, of_key) - 8u * digit;
    atomicStore(&bins[t], 0u);
    workgroupBarrier();
    for (var i = t; i < n; i += 256u) {
      let own = code(candidate(i));
      if (own.x >= least && all((own & mask) == last)) {
        atomicAdd(&bins[(select(own.y, own.x, of_key) >> shift) & 255u], 1u);
      }
    }
    workgroupBarrier();
    if (t < 16u) {
      var sum = 0u;
      for (var i = 0u; i < 16u; i += 1u) { sum += atomicLoad(&bins[16u * t + i]); }
      bin_sums[t] = sum;
    }
    workgroupBarrier();
    var larger = 0u;
    for (var i = t / 16u + 1u; i < 16u; i += 1u) { larger += bin_sums[i]; }
    for (var i = t + 1u; i % 16u != 0u; i += 1u) { larger += atomicLoad(&bins[i]); }
    let equal = atomicLoad(&bins[t]);
    if (larger < left && left <= larger + equal) { cut = vec3<u32>(t, left - larger, u32(left == larger + equal)); }
    let found_digit = workgroupUniformLoad(&cut);
    let place = select(vec2<u32>(0u, 1u), vec2<u32>(1u, 0u), of_key);
    last |= place * (found_digit.x << shift);
    mask |= place * (255u << shift);
    left = found_digit.y;
    if (found_digit.z == 1u) { break; }
  }
  for (var i = t; i < n; i += 256u) {
    let own = code(candidate(i));
    if (own.x >= least && !above(last, own)) {
      found[min(atomicAdd(&n_found, 1u), MOST - 1u)] = own;
    }
  }
  workgroupBarrier();
  if (t < wanted) {
    let own = found[t];
    var rank = 0u;
    for (var i = 0u; i < wanted; i += 1u) { rank += u32(above(found[i], own)); }
    ordered[rank] = own;
  }
  workgroupBarrier();
}
