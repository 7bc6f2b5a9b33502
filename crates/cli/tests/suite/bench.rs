//! `bench` prints what llama-bench prints.

use crate::common::{Models, outcome, program, stdout};
use serde_json::Value;

/// The keys of llama-bench v0.5.0, in order, samples apart.
const KEYS: &str = "build_commit,build_number,cpu_info,gpu_info,backends,model_filename,model_type,model_size,\
model_n_params,n_batch,n_ubatch,n_threads,cpu_mask,cpu_strict,poll,type_k,type_v,n_gpu_layers,n_cpu_moe,split_mode,\
main_gpu,no_kv_offload,flash_attn,devices,tensor_split,tensor_buft_overrides,load_mode,lazy_mode,embeddings,\
no_op_offload,no_host,fit_target,fit_min_ctx,n_prompt,n_gen,n_depth,test_time,avg_ns,stddev_ns,avg_ts,stddev_ts";

fn bench(args: &[&str]) -> String {
    let models = Models::new();
    stdout(program().args(["bench", "-p", "16,8", "-n", "4", "-r", "2", "-m"]).arg(models.tiny()).args(args))
}

#[test]
fn md_is_a_table() {
    let text = bench(&["-d", "0,32"]);
    let lines: Vec<&str> = text.lines().collect();
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    assert_eq!(cells(lines[0]), ["model", "size", "params", "backend", "threads", "test", "t/s"]);
    assert!(cells(lines[1]).iter().all(|cell| cell.trim_end_matches([':', '-']).is_empty()), "{text}");
    let tests: Vec<String> = lines[2..8].iter().map(|line| cells(line)[5].clone()).collect();
    assert_eq!(tests, ["pp16", "pp8", "tg4", "pp16 @ d32", "pp8 @ d32", "tg4 @ d32"]);
    for line in &lines[2..8] {
        assert_eq!(line.chars().count(), lines[0].chars().count(), "{text}");
        let cells = cells(line);
        let (mean, deviation) = cells[6].split_once(" ± ").unwrap();
        assert!(mean.parse::<f64>().unwrap() > 0.0 && deviation.parse::<f64>().is_ok(), "{line}");
        assert!(cells[1].ends_with(" MiB") && cells[2].ends_with(" M") && cells[3] == "CPU", "{line}");
    }
    assert!(lines[9].starts_with("build: "), "{text}");
}

#[test]
fn json_has_the_keys_of_llama_bench() {
    let text = bench(&["-o", "json", "-t", "1,2"]);
    let records: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert_eq!(records.len(), 6);
    for record in &records {
        let keys: Vec<&str> = record.as_object().unwrap().keys().map(String::as_str).collect();
        let expected: Vec<&str> = KEYS.split(',').chain(["samples_ns", "samples_ts"]).collect();
        assert_eq!(keys[..expected.len()], expected);
        assert_eq!(record["samples_ns"].as_array().unwrap().len(), 2);
        assert!(record["avg_ts"].as_f64().unwrap() > 0.0);
        let time = record["test_time"].as_str().unwrap();
        assert!(time.starts_with("20") && time.ends_with('Z') && time.len() == 20, "{time}");
    }
    let column =
        |key: &str| -> Vec<u64> { records.iter().map(|record| record[key].as_u64().unwrap()).collect() };
    assert_eq!(column("n_threads"), [1, 1, 1, 2, 2, 2]);
    assert_eq!(column("n_prompt"), [16, 8, 0, 16, 8, 0]);
    assert_eq!(column("n_gen"), [0, 0, 4, 0, 0, 4]);
}

#[test]
fn jsonl_is_an_object_a_line() {
    let text = bench(&["-o", "jsonl"]);
    let records: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(records.len(), 3);
    assert!(records.iter().all(|record| record["model_type"].as_str().unwrap().starts_with("llama ")));
}

#[test]
fn csv_has_a_header_and_quoted_cells() {
    let text = bench(&["-o", "csv"]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 4, "{text}");
    assert!(lines[0].starts_with(KEYS), "{text}");
    let n_columns = lines[0].split(',').count();
    for line in &lines[1..] {
        let cells: Vec<&str> = line.split("\",\"").collect();
        assert_eq!(cells.len(), n_columns, "{line}");
        assert!(line.starts_with('"') && line.ends_with('"'), "{line}");
    }
}

#[test]
fn progress_is_on_stderr() {
    let models = Models::new();
    let args = ["bench", "-p", "8", "-n", "0", "-r", "1", "-m"];
    let (code, text, messages) = outcome(program().args(args).arg(models.tiny()));
    assert_eq!(code, 0, "{messages}");
    assert!(messages.contains("bench 1/1: pp8") && !text.contains("bench 1/1"), "{messages}");
    let (_, _, quiet) = outcome(program().args(args).arg(models.tiny()).arg("-q"));
    assert_eq!(quiet, "");
}
