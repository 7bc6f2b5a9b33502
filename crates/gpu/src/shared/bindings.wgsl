// The buffers of every kernel. Weights are bound twice, as words and as groups of four.
@group(0) @binding(0) var<storage, read> quads: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> words: array<u32>;
// Keys and values, f16 in pairs: [n_blocks, n_kv_heads, key or value, 32 positions, head_dim / 2].
@group(1) @binding(0) var<storage, read_write> kv: array<vec4<u32>>;
// Intermediate results. Offsets in immediates count floats, and are multiples of 4.
@group(2) @binding(0) var<storage, read_write> scratch: array<vec4<f32>>;
// Cosines and sines, rows, block tables: written by the host, between passes.
@group(2) @binding(1) var<storage, read> tables: array<u32>;
// Token ids by position, chosen or given.
@group(2) @binding(2) var<storage, read_write> tokens: array<u32>;

fn load_float(i: u32) -> f32 { return scratch[i / 4u][i % 4u]; }
