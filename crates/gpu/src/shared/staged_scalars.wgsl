// Metal loads matrices from arrays of scalars.
var<workgroup> staged_w: array<f16, BUFFERS * TILE_ROWS * STRIDE>;
var<workgroup> staged_x: array<f16, BUFFERS * TILE_TOKENS * STRIDE>;
fn put_w(place: u32, v: vec4<f16>) {
  let at = place * 4u;
  staged_w[at] = v.x;
  staged_w[at + 1u] = v.y;
  staged_w[at + 2u] = v.z;
  staged_w[at + 3u] = v.w;
}
fn put_x(place: u32, v: vec4<f16>) {
  let at = place * 4u;
  staged_x[at] = v.x;
  staged_x[at + 1u] = v.y;
  staged_x[at + 2u] = v.z;
  staged_x[at + 3u] = v.w;
}
