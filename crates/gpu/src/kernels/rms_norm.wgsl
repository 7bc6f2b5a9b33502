// y = x / sqrt(mean(x^2) + EPS) * w: a workgroup a row. The loads and the stores are written out in rms_norm.rs.
struct Params { x: u32, x_stride: u32, y: u32, y_stride: u32, norm: u32, partials: u32, partial_stride: u32 }
var<immediate> p: Params;

// Quad i of the row at quad `row`, zero past its end: what lies behind it in the buffer belongs to others.
fn input(row: u32, i: u32) -> vec4<f32> {
  let v = scratch[row + min(i, N_QUADS - 1u)];
  let k = vec4<u32>(4u * i) + vec4<u32>(0u, 1u, 2u, 3u);
  return select(vec4<f32>(0.0), v, k < vec4<u32>(N_COLS));
}
fn weight(i: u32) -> vec4<f32> { return bitcast<vec4<f32>>(quads[p.norm + min(i, N_QUADS - 1u)]); }
