//! One line of results, under the keys of llama-bench.

use crate::units;
use metal_attention::{BenchTest, DeviceKind, Model};
use serde::Serialize;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The keys and their order are llama-bench's, so that its readers read this too; where a key has no meaning here it says
/// what llama-bench says by default. What follows `samples_ts` is our own.
#[derive(Debug, Serialize)]
pub(crate) struct Record {
    build_commit: &'static str,
    build_number: u32,
    cpu_info: String,
    gpu_info: String,
    pub(crate) backends: &'static str,
    model_filename: String,
    pub(crate) model_type: String,
    pub(crate) model_size: u64,
    pub(crate) model_n_params: u64,
    n_batch: u32,
    n_ubatch: u32,
    pub(crate) n_threads: usize,
    cpu_mask: &'static str,
    cpu_strict: bool,
    poll: u32,
    type_k: &'static str,
    type_v: &'static str,
    n_gpu_layers: usize,
    n_cpu_moe: u32,
    split_mode: &'static str,
    main_gpu: u32,
    no_kv_offload: bool,
    flash_attn: i32,
    devices: &'static str,
    tensor_split: &'static str,
    tensor_buft_overrides: &'static str,
    load_mode: &'static str,
    lazy_mode: &'static str,
    embeddings: bool,
    no_op_offload: u32,
    no_host: bool,
    fit_target: u32,
    fit_min_ctx: u32,
    n_prompt: usize,
    n_gen: usize,
    n_depth: usize,
    test_time: String,
    avg_ns: u64,
    stddev_ns: u64,
    pub(crate) avg_ts: f64,
    pub(crate) stddev_ts: f64,
    samples_ns: Vec<u64>,
    samples_ts: Vec<f64>,
    engine: &'static str,
    weights_bytes: u64,
    kv_bytes: u64,
    #[serde(skip)]
    pub(crate) test: BenchTest,
}

impl Record {
    pub(crate) fn new(model: &Model, test: BenchTest, samples: &[Duration], file: &str) -> Self {
        let (device, description) = (model.device(), model.description());
        let is_cpu = device.kind == DeviceKind::Cpu;
        let seconds: Vec<f64> = samples.iter().map(Duration::as_secs_f64).collect();
        let n_tokens = (test.n_prompt + test.n_gen) as f64;
        let samples_ts: Vec<f64> = seconds.iter().map(|seconds| n_tokens / seconds).collect();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let device_name = |wanted: bool| if wanted { device.name.clone() } else { String::new() };
        Self {
            build_commit: env!("CARGO_PKG_VERSION"),
            build_number: 0,
            cpu_info: device_name(is_cpu),
            gpu_info: device_name(!is_cpu),
            backends: device.backend,
            model_filename: file.to_owned(),
            model_type: description.model_type(),
            model_size: description.size_bytes,
            model_n_params: description.n_params,
            n_batch: 2048,
            n_ubatch: 512,
            n_threads: device.threads,
            cpu_mask: "0x0",
            cpu_strict: false,
            poll: 50,
            type_k: "f16",
            type_v: "f16",
            n_gpu_layers: if is_cpu { 0 } else { model.spec().n_layers },
            n_cpu_moe: 0,
            split_mode: "layer",
            main_gpu: 0,
            no_kv_offload: false,
            flash_attn: -1,
            devices: "auto",
            tensor_split: "0.00",
            tensor_buft_overrides: "none",
            load_mode: "auto",
            lazy_mode: "auto",
            embeddings: false,
            no_op_offload: 0,
            no_host: false,
            fit_target: 0,
            fit_min_ctx: 0,
            n_prompt: test.n_prompt,
            n_gen: test.n_gen,
            n_depth: test.n_depth,
            test_time: units::timestamp(now),
            avg_ns: nanoseconds(mean(&seconds)),
            stddev_ns: nanoseconds(deviation(&seconds)),
            avg_ts: mean(&samples_ts),
            stddev_ts: deviation(&samples_ts),
            samples_ns: seconds.into_iter().map(nanoseconds).collect(),
            samples_ts,
            engine: "metal-attention",
            weights_bytes: model.memory().weights_bytes,
            kv_bytes: model.memory().kv_bytes,
            test,
        }
    }
}

/// `pp512`, `tg128`, `pp512+tg128 @ d1024`.
pub(crate) fn test_name(test: BenchTest) -> String {
    let name = match (test.n_prompt, test.n_gen) {
        (n, 0) => format!("pp{n}"),
        (0, n) => format!("tg{n}"),
        (n_prompt, n_gen) => format!("pp{n_prompt}+tg{n_gen}"),
    };
    if test.n_depth > 0 { format!("{name} @ d{}", test.n_depth) } else { name }
}

fn nanoseconds(seconds: f64) -> u64 {
    u64::try_from(Duration::try_from_secs_f64(seconds).unwrap_or_default().as_nanos()).unwrap_or(u64::MAX)
}

fn mean(values: &[f64]) -> f64 {
    if values.is_empty() { 0.0 } else { values.iter().sum::<f64>() / values.len() as f64 }
}

/// The standard deviation of the sample; 0 where there is one value only.
fn deviation(values: &[f64]) -> f64 {
    if values.len() < 2 {
        return 0.0;
    }
    let mean = mean(values);
    let sum: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (sum / (values.len() - 1) as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_those_of_a_sample() {
        assert_eq!((mean(&[2.0, 4.0, 6.0]), deviation(&[2.0, 4.0, 6.0])), (4.0, 2.0));
        assert_eq!((mean(&[]), deviation(&[]), deviation(&[7.0])), (0.0, 0.0, 0.0));
        assert_eq!(nanoseconds(1.5e-3), 1_500_000);
    }

    #[test]
    fn tests_have_the_names_of_llama_bench() {
        let name = |n_prompt, n_gen, n_depth| test_name(BenchTest { n_prompt, n_gen, n_depth });
        assert_eq!(name(512, 0, 0), "pp512");
        assert_eq!(name(0, 128, 0), "tg128");
        assert_eq!(name(0, 128, 4096), "tg128 @ d4096");
        assert_eq!(name(8, 4, 2), "pp8+tg4 @ d2");
    }
}
