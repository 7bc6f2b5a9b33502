//! Tokens one by one, greedy: `cargo bench -p metal-attention --bench decode`.

mod common;

use criterion::{Criterion, criterion_group, criterion_main};
use metal_attention::BenchTest;

fn decode(criterion: &mut Criterion) {
    for (name, n_depth) in [("decode 32", 0), ("decode 32 behind 512", 512)] {
        common::on_every_device(criterion, name, BenchTest { n_gen: 32, n_depth, ..BenchTest::default() });
    }
}

criterion_group!(benches, decode);
criterion_main!(benches);
