//! Samples in words: as they come, as medians and ratios, as CSV.

use super::engine::Engine;
use super::{Sample, Workload};
use crate::median;
use std::collections::BTreeMap;
use std::fmt::Write as _;

pub(super) fn line(s: &Sample) -> String {
    format!(
        "{:24} {} threads {:11} {} {:15} {:10.2} tok/s {:8.1} MB",
        s.model,
        s.threads,
        s.test,
        s.pair,
        s.engine,
        s.tokens_per_second,
        megabytes(s.peak_bytes)
    )
}

/// Medians and their ratios, for each test: speed, and peak memory.
pub(super) fn summary(samples: &[Sample]) -> String {
    let mut tests: BTreeMap<(&str, usize, Workload), Vec<&Sample>> = BTreeMap::new();
    for sample in samples {
        tests.entry((&sample.model, sample.threads, sample.test)).or_default().push(sample);
    }
    let mut text =
        "model,threads,test,pairs,llama_cpp,metal_attention,ratio,llama_cpp_mb,metal_attention_mb\n"
            .to_owned();
    for ((model, threads, test), samples) in tests {
        let of = |engine, number: fn(&Sample) -> f64| {
            median(samples.iter().filter(|s| s.engine == engine).map(|s| number(s)).collect())
        };
        let [peer, ours] = [Engine::Peer, Engine::Ours].map(|engine| of(engine, |s| s.tokens_per_second));
        let memory = [Engine::Peer, Engine::Ours].map(|engine| of(engine, |s| megabytes(s.peak_bytes)));
        let pairs = samples.len() / 2;
        let ratio = ours / peer;
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "{model},{threads},{test},{pairs},{peer:.2},{ours:.2},{ratio:.2},{:.0},{:.0}",
            memory[0], memory[1]
        );
    }
    text
}

pub(super) fn csv(samples: &[Sample]) -> String {
    let mut text = "date,commit,engine,model,threads,test,pair,tokens_per_second,peak_mb\n".to_owned();
    for s in samples {
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "{},{},{},{},{},{},{},{:.2},{:.1}",
            s.date,
            s.commit,
            s.engine,
            s.model,
            s.threads,
            s.test,
            s.pair,
            s.tokens_per_second,
            megabytes(s.peak_bytes)
        );
    }
    text
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 * 1e-6
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(engine: Engine, pair: usize, tokens_per_second: f64) -> Sample {
        Sample {
            model: "a.gguf".into(),
            threads: 2,
            test: "tg128".parse().unwrap(),
            engine,
            commit: "abc".into(),
            date: "2026-01-02".into(),
            pair,
            tokens_per_second,
            peak_bytes: 150_000_000,
        }
    }

    #[test]
    fn medians_are_compared() {
        let speeds = [(1, 100.0, 250.0), (2, 90.0, 150.0), (3, 500.0, 200.0)];
        let samples: Vec<_> = speeds
            .into_iter()
            .flat_map(|(pair, peer, ours)| {
                [sample(Engine::Peer, pair, peer), sample(Engine::Ours, pair, ours)]
            })
            .collect();
        let text = summary(&samples);
        assert_eq!(text.lines().nth(1), Some("a.gguf,2,tg128,3,100.00,200.00,2.00,150,150"));
        let rows = csv(&samples);
        assert_eq!(rows.lines().count(), 7);
        assert!(rows.ends_with("2026-01-02,abc,metal-attention,a.gguf,2,tg128,3,200.00,150.0\n"), "{rows}");
    }
}
