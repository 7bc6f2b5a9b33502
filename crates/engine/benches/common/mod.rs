//! A model on every device that this machine has.
#![allow(clippy::print_stdout, reason = "a benchmark talks to whoever started it")]

use criterion::Criterion;
use metal_attention::{
    BenchOptions, BenchTest, DeviceChoice, LoadOptions, Model, ModelSource, SyntheticPreset, bench,
};
use std::ops::ControlFlow;
use std::time::Duration;

/// Measures `test` with SmolLM-135M's shape on the CPU and on the GPU; a machine without one has fewer results, and a line that
/// says so.
pub(crate) fn on_every_device(criterion: &mut Criterion, name: &str, test: BenchTest) {
    let preset = SyntheticPreset::find("smollm-135m").expect("the preset is in the table");
    for (device, choice) in [("cpu", DeviceChoice::Cpu), ("gpu", DeviceChoice::Gpu)] {
        let options = LoadOptions { device: choice, context: Some(1024), ..LoadOptions::default() };
        let source = ModelSource::Synthetic(preset);
        let mut model = match Model::load(source, &options, &mut |_| ()) {
            Ok(model) => model,
            Err(error) => {
                println!("{name}/{device}: not measured: {error}");
                continue;
            }
        };
        let mut group = criterion.benchmark_group(name);
        group.sample_size(10).measurement_time(Duration::from_secs(5));
        group.throughput(criterion::Throughput::Elements((test.n_prompt + test.n_gen) as u64));
        group.bench_function(device, |bencher| {
            bencher.iter_custom(|n| {
                let options = BenchOptions { repetitions: usize::try_from(n).unwrap_or(1), warmup: true };
                let samples = bench(&mut model, test, &options, &mut |_| ControlFlow::Continue(()));
                samples.expect("the test fits the context").iter().sum()
            });
        });
        group.finish();
    }
}
