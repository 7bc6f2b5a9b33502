// Several tokens of one sequence in one dispatch: what all phases share. The rest is composed in source.rs.
struct Params {
  position: u32, n_tokens: u32, layer_uses: u32, token_uses: u32, limit: u32,
  // Of a draw, as the kernel `draw` has them; k is 0 where the best row is taken.
  k: u32, min_keep: u32, top_p: f32, log_min_p: f32, sharpness: f32, seed_low: u32, seed_high: u32,
  never_0: u32, never_1: u32, never_2: u32, never_3: u32,
  // Constants that a compiler had better not know: it writes out loops of known length, and what each token goes through once is not
  // at hand as a program, so that a longer one takes longer.
  n_groups: u32, philox_rounds: u32,
}
var<immediate> p: Params;
// The weights, twice.
@group(0) @binding(0) var<storage, read> quads: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> words: array<u32>;
// Coherent: a group reads what others wrote for the token before, which its own cache need not know.
@group(1) @binding(0) @coherent var<storage, read_write> kv: array<vec4<u32>>;
// What workgroups tell each other: status words, then a region for each phase, which all layers use in turn.
@group(2) @binding(0) var<storage, read_write> exchange: array<atomic<u32>>;
@group(2) @binding(1) var<storage, read> tables: array<u32>;
@group(2) @binding(2) var<storage, read_write> tokens: array<u32>;

// Sums of slices, [blocks, slices, 8 rows].
var<workgroup> partials: array<f32, MOST_PARTIALS>;
// Sums of squares, by subgroups.
var<workgroup> squares: array<vec4<f32>, (N_SUBGROUPS + 3u) / 4u>;
// Whether a thread has given up waiting. What the workgroup makes from then on is worth nothing, and nobody is told.
var<workgroup> stopped: atomic<u32>;

var<private> wg: u32;
var<private> t: u32;
// A thread's row of a block of 8, and its eight.
var<private> r: u32;
var<private> octet: u32;
var<private> subgroup: u32;
var<private> lane: u32;
// The tag of what is written now.
var<private> tag: u32;
// How often a word is looked at before it is given up.
var<private> limit: u32;
// The thread's share of the sum of squares.
var<private> square: f32;

// Whether to look once more, after `n` looks in vain.
fn waits(n: u32) -> bool {
  if (n % 64u == 63u && (atomicLoad(&stopped) | atomicLoad(&exchange[STOPPED])) != 0u) { limit = 0u; }
  if (n < limit) { return true; }
  limit = 0u;
  atomicStore(&stopped, 1u);
  atomicStore(&exchange[STOPPED], 1u);
  return false;
}
// Waits as long as `n` words take from memory, one behind the other. Whoever looks at a word too early has to look once more, which
// takes as long, and is in the way of those who write it and of all who look.
fn pause(n: u32) {
  var word = 0u;
  for (var i = 0u; i < n; i += 1u) { word = atomicLoad(&exchange[AT_BEST + 2u * wg + (word & 1u)]); }
  // Never so; but the loads must not be taken for useless.
  if (limit == 0xffffffffu && word == 1u) { publish_word(AT_BEST, word); }
}
// These bits, but so that a compiler does not know them: there are never so many groups. NVIDIA's makes one instruction of a mask and
// this, but two of a mask and a constant.
fn opaque(bits: u32) -> u32 { return bits | (p.n_groups >> 30u); }
// The same for masks that keep the upper half of each byte: the compiler follows single bits, and what is left would be known to it.
fn opaque_upper(bits: u32) -> u32 { return bits | (p.n_groups >> 30u << 4u); }
// The bits of 2^23.
fn two_23() -> u32 { return opaque(0x4b000000u); }
fn number(word: u32) -> f32 { return bitcast<f32>(word & 0xfffffffeu); }
fn alive() -> bool { return atomicLoad(&stopped) == 0u; }
// Every word that is exchanged has its use's parity in its lowest bit.
fn publish(at: u32, v: f32) { atomicStore(&exchange[at], (bitcast<u32>(v) & 0xfffffffeu) | tag); }
fn publish_word(at: u32, v: u32) { atomicStore(&exchange[at], (v & 0xfffffffeu) | tag); }

fn finish_squares() {
  let sum = subgroup_sum(square);
  if (lane == 0u) { squares[subgroup / 4u][subgroup % 4u] = sum; }
}
fn norm_scale() -> f32 {
  var sums = vec4<f32>();
  for (var i = 0u; i < N_SUBGROUPS / 4u; i += 1u) { sums += squares[i]; }
  for (var i = N_SUBGROUPS / 4u * 4u; i < N_SUBGROUPS; i += 1u) { sums.x += squares[i / 4u][i % 4u]; }
  return inverseSqrt(((sums.x + sums.y) + (sums.z + sums.w)) / f32(N_EMBD) + EPS);
}
