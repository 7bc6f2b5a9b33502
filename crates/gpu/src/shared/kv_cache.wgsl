// Keys and values in the cache; a quad holds 8 elements in f16.
// From a key to its value.
const VALUES: u32 = 32u * LANES;

// The first quad of the key of position `t`.
fn key_at(table: u32, kv_head: u32, t: u32) -> u32 {
  return p.kv + ((tables[table + t / 32u] * N_KV_HEADS + kv_head) * 64u + t % 32u) * LANES;
}
fn low_half(q: vec4<u32>) -> vec4<f32> { return vec4<f32>(unpack2x16float(q.x), unpack2x16float(q.y)); }
fn high_half(q: vec4<u32>) -> vec4<f32> { return vec4<f32>(unpack2x16float(q.z), unpack2x16float(q.w)); }
// Rounded to the nearest number that f16 has, to even between two: how a device rounds when it packs is its own affair.
fn nearest(v: vec4<f32>) -> vec4<f32> {
  let b = bitcast<vec4<u32>>(v);
  let up = vec4<u32>(0xfffu) + ((b >> vec4<u32>(13u)) & vec4<u32>(1u));
  return bitcast<vec4<f32>>((b + up) & vec4<u32>(0xffffe000u));
}
fn halves(low: vec4<f32>, high: vec4<f32>) -> vec4<u32> {
  let a = nearest(low);
  let b = nearest(high);
  return vec4<u32>(pack2x16float(a.xy), pack2x16float(a.zw), pack2x16float(b.xy), pack2x16float(b.zw));
}
