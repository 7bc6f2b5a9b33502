// Quad `i` of the head's query and key, one behind the other.
fn weighted(i: u32) -> vec4<f32> { return head_qkv[i]; }
fn head_scale(at: u32) -> f32 { return 1.0; }
