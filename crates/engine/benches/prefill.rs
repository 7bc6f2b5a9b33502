//! Prompts of 64 and 512 tokens: `cargo bench -p metal-attention --bench prefill`.

mod common;

use criterion::{Criterion, criterion_group, criterion_main};
use metal_attention::BenchTest;

fn prefill(criterion: &mut Criterion) {
    for n_prompt in [64, 512] {
        let test = BenchTest { n_prompt, ..BenchTest::default() };
        common::on_every_device(criterion, &format!("prefill {n_prompt}"), test);
    }
}

criterion_group!(benches, prefill);
criterion_main!(benches);
