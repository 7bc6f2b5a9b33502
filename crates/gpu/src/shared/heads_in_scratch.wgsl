// Where the row's query of a head is, as projections left it, and where key and value of a key head are.
fn query_at(head: u32) -> u32 { return p.q + head * HEAD_DIM; }
fn own_at(kv_head: u32) -> vec2<u32> { return vec2<u32>(p.k, p.v) + kv_head * HEAD_DIM; }
