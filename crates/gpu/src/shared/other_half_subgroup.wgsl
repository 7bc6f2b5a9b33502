fn of_other_half(t: u32, v: f32) -> f32 { return subgroupShuffleXor(v, 1u); }
