// As in slices_subgroup, without subgroup operations.
fn four_slices(t: u32, size: u32, v: f32) -> f32 { return pooled_slices(t, v); }
fn lanes_sum(t: u32, size: u32, v: f32) -> f32 { return pooled(t, v); }
