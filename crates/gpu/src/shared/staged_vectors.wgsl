var<workgroup> staged_w: array<vec4<f16>, BUFFERS * TILE_ROWS * STRIDE / 4u>;
var<workgroup> staged_x: array<vec4<f16>, BUFFERS * TILE_TOKENS * STRIDE / 4u>;
fn put_w(place: u32, v: vec4<f16>) { staged_w[place] = v; }
fn put_x(place: u32, v: vec4<f16>) { staged_x[place] = v; }
