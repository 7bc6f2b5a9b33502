// Heads that end within a quad: read only, since two workgroups that write to parts of one quad may undo each other.
fn head_float(at: u32, e: u32) -> f32 { return select(0.0, load_float(at + min(e, HEAD_DIM - 1u)), e < HEAD_DIM); }
// Elements 4 i to 4 i + 3 of the head from float `at` on, zeros past its end.
fn head_quad(at: u32, i: u32) -> vec4<f32> {
  return vec4<f32>(
    head_float(at, 4u * i), head_float(at, 4u * i + 1u), head_float(at, 4u * i + 2u), head_float(at, 4u * i + 3u));
}
