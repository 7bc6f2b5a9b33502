//! The program on a GPU: software Vulkan where there is no other.

use crate::common::{Models, outcome, program, program_with_gpu, stdout};
use serde_json::Value;
use testkit::TinyModel;

fn json(command: &mut assert_cmd::Command) -> Value {
    serde_json::from_str(&stdout(command)).unwrap()
}

/// The adapters that models can run on, as `--device` names them.
fn usable() -> Vec<String> {
    let devices = json(program().args(["devices", "--json"]));
    let usable = devices
        .as_array()
        .unwrap()
        .iter()
        .filter(|device| device["kind"] == "gpu" && device["missing"].as_array().unwrap().is_empty());
    usable.map(|device| device["device"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn devices_says_what_each_can_do() {
    let text = stdout(program().arg("devices"));
    assert!(text.starts_with("cpu       CPU: "), "{text}");
    let usable = usable();
    assert!(
        !usable.is_empty(),
        "the tests need a GPU, or software Vulkan (Debian: mesa-vulkan-drivers)\n{text}"
    );
    for device in &usable {
        assert!(text.contains(&format!("\n{device} ")), "{device} is missing in\n{text}");
    }
    for word in ["driver ", "bindings up to ", "subgroups of ", "f16 ", "cooperative matrices: "] {
        assert!(text.contains(word), "{word} is missing in\n{text}");
    }
    let devices = json(program().args(["devices", "--json"]));
    let [cpu, gpu, ..] = devices.as_array().unwrap().as_slice() else { panic!("{devices}") };
    assert_eq!((&cpu["device"], &cpu["kind"], &cpu["driver"]), (&"cpu".into(), &"cpu".into(), &Value::Null));
    for key in ["max_buffer_bytes", "max_binding_bytes", "workgroup_memory_bytes", "max_workgroup_threads"] {
        assert!(gpu[key].as_u64().unwrap() > 0, "{key}: {gpu}");
    }
    assert_eq!(gpu["subgroup_sizes"].as_array().unwrap().len(), 2);
    assert!(
        gpu["f16"].is_boolean() && gpu["cooperative_matrices"].is_array() && gpu["type"].is_string(),
        "{gpu}"
    );
}

#[test]
fn a_gpu_writes_what_the_cpu_writes() {
    let models = Models::new();
    let tiny = models.tiny();
    let args = ["run", "-p", "the end", "-n", "12", "--temp", "0", "-m"];
    let expected = stdout(program().args(args).arg(&tiny));
    let (code, text, messages) = outcome(program_with_gpu().args(args).arg(&tiny).args(["--gpu", "-v"]));
    assert_eq!((code, &text), (0, &expected), "{messages}");
    // It is in F32, which that way is not for on any device.
    let why = "greedy tokens: a dispatch for each step, because ";
    assert!(messages.contains(why) && !messages.contains("decode persistent"), "{messages}");
    let load_line = messages.lines().find(|line| line.starts_with("model tiny")).unwrap();
    assert!(!load_line.contains(" on CPU"), "{load_line}");
    // By its number it needs no permission, and auto takes it where it has one.
    assert_eq!(stdout(program().args(args).arg(&tiny).args(["--device", &usable()[0]])), expected);
    assert_eq!(stdout(program_with_gpu().args(args).arg(&tiny)), expected);
    let sampled = || {
        stdout(program_with_gpu().args(["run", "--gpu", "-p", "the", "-s", "5", "-n", "12", "-m"]).arg(&tiny))
    };
    assert_eq!(sampled(), sampled());
}

#[test]
fn compiled_kernels_are_kept_where_the_user_says() {
    let models = Models::new();
    let tiny = models.tiny();
    let device = usable().into_iter().next().unwrap();
    let cache = models.path("cache");
    let run = || {
        let mut command = program();
        command.args(["run", "-p", "the", "-n", "4", "--temp", "0", "--device", &device, "-m"]).arg(&tiny);
        command
    };
    let plain = stdout(&mut run());
    for _ in 0..2 {
        assert_eq!(stdout(run().env("METAL_ATTENTION_CACHE", &cache)), plain);
        // Metal and DX12 keep them by themselves.
        let n_files = std::fs::read_dir(&cache).map_or(0, Iterator::count);
        assert_eq!(n_files, usize::from(device.starts_with("vulkan")));
    }
    // A folder that cannot be made is no reason to fail.
    assert_eq!(stdout(run().env("METAL_ATTENTION_CACHE", tiny.join("x"))), plain);
}

#[test]
fn a_gpu_that_cannot_be_had_is_6() {
    let models = Models::new();
    let tiny = models.tiny();
    for device in ["vulkan:99", "metal:99", "dx12:99"] {
        let args = ["run", "-p", "x", "-n", "1", "--device", device, "-m"];
        let (code, text, messages) = outcome(program_with_gpu().args(args).arg(&tiny));
        assert_eq!((code, text.as_str()), (6, ""), "{device}: {messages}");
        for word in ["error:", "no usable GPU", "number 99", "help:", "--device cpu", "devices"] {
            assert!(messages.contains(word), "{device}: {word} is missing in\n{messages}");
        }
    }
    let (code, _, messages) = outcome(program().args(["run", "--device", "cuda", "-p", "x"]));
    assert_eq!(code, 2, "{messages}");
    assert!(messages.contains("auto, cpu, gpu, metal, vulkan, dx12"), "{messages}");
}

#[test]
fn a_model_too_large_for_a_gpu_is_5() {
    let devices = json(program().args(["devices", "--json"]));
    let device = usable().into_iter().next().unwrap();
    let report = devices.as_array().unwrap().iter().find(|report| report["device"] == device).unwrap();
    // Where the driver does not tell, nothing can be refused.
    let Some(memory) = report["memory_bytes"].as_u64() else { return };
    // Keys and values of a layer fill a binding, of all layers more than the memory.
    let binding = report["max_binding_bytes"].as_u64().unwrap();
    let n_layers = usize::try_from(memory / binding).unwrap() + 2;
    let deep = TinyModel { n_layers, n_heads: 8, n_kv_heads: 8, head_dim: 32, ..TinyModel::default() };
    let context = binding / 1024 / 32 * 32;
    let models = Models::new();
    let path = models.file("deep.gguf", deep.bytes());
    let args = ["run", "-p", "x", "--device", &device, "-c", &context.to_string(), "-m"];
    let (code, text, messages) = outcome(program().args(args).arg(path));
    assert_eq!((code, text.as_str()), (5, ""), "{messages}");
    for word in ["the GPU's memory", "are free", "--ctx-size"] {
        assert!(messages.contains(word), "{word} is missing in\n{messages}");
    }
}

#[test]
fn doctor_reports_what_cannot_be_examined_and_fails_for_it() {
    let args = ["doctor", "--device", "vulkan:99"];
    let (code, text, messages) = outcome(program().args(args));
    assert_eq!(code, 6, "{messages}");
    assert!(
        text.contains("vulkan:99 cannot be examined: no usable GPU") && text.contains("driver "),
        "{text}"
    );
    let (code, text, _) = outcome(program().args(args).arg("--json"));
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &report["examined"][0]["device"]), (6, &"vulkan:99".into()));
    assert!(report["examined"][0]["error"].as_str().unwrap().contains("number 99"), "{report}");
}

#[test]
fn info_shows_what_the_model_takes_there() {
    let models = Models::new();
    let tiny = models.tiny();
    let text = stdout(program_with_gpu().args(["info", "--gpu"]).arg(&tiny));
    for word in [
        "weights  ",
        "KV cache  ",
        " for 128 tokens",
        "prompt  ",
        "read back  ",
        "in all  ",
        " a token; bench",
    ] {
        assert!(text.contains(word), "{word} is missing in\n{text}");
    }
    let placement =
        json(program_with_gpu().args(["info", "--gpu", "-c", "64", "--json"]).arg(&tiny))["placement"]
            .clone();
    assert_eq!(placement["n_ctx"], 64);
    let plan = stdout(program_with_gpu().args(["bench", "--gpu", "--plan", "-m"]).arg(&tiny));
    assert_eq!(placement["dispatches_per_token"], plan.lines().count());
    assert!(plan.contains("blk.1.ffn_down"), "{plan}");
    let sum: u64 = ["weights_bytes", "kv_bytes", "token_bytes", "prompt_bytes", "readback_bytes"]
        .iter()
        .map(|key| placement[key].as_u64().unwrap())
        .sum();
    assert_eq!(placement["total_bytes"], sum);
}

#[test]
fn bench_measures_where_it_is_told_to() {
    let models = Models::new();
    let args = ["bench", "--gpu", "-p", "16", "-n", "4", "-r", "2", "-o", "jsonl", "-m"];
    let text = stdout(program_with_gpu().args(args).arg(models.tiny()));
    let records: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(records.len(), 2);
    for record in &records {
        assert!(record["backends"] != "CPU" && record["avg_ts"].as_f64().unwrap() > 0.0, "{record}");
        assert!(!record["gpu_info"].as_str().unwrap().is_empty() && record["n_gpu_layers"] == 2, "{record}");
    }
}

#[test]
fn every_result_can_be_compared_with_the_reference() {
    let models = Models::new();
    let tiny = models.tiny();
    let args = ["debug", "compare", "--gpu", "-p", "the end", "-m"];
    let text = stdout(program_with_gpu().args(args).arg(&tiny));
    assert!(text.starts_with("result  ") && text.contains("distance"), "{text}");
    for name in ["token_embd", "blk.0.attn_q", "blk.1.ffn_residual", "output"] {
        assert!(text.lines().any(|line| line.starts_with(name)), "{name} is missing in\n{text}");
    }
    let results = json(program_with_gpu().args(args).arg(&tiny).arg("--json"));
    let results = results.as_array().unwrap();
    assert_eq!(results.len() + 1, text.lines().count());
    assert!(results.iter().all(|result| result["is_wrong"] == false && result["n_nan"] == 0), "{results:?}");
}

#[test]
fn gpu_debug_tells_the_results_of_the_first_token() {
    let models = Models::new();
    let tiny = models.tiny();
    let args = ["run", "-p", "the end", "-n", "4", "--temp", "0", "-m"];
    let plain = stdout(program_with_gpu().args(args).arg(&tiny));
    let (_, text, messages) = outcome(program_with_gpu().args(args).arg(&tiny).env("GPU_DEBUG", "1"));
    assert_eq!(text, plain);
    assert!(messages.lines().any(|line| line.starts_with("blk.0.attn_q ")), "{messages}");
    let (_, _, messages) = outcome(program().args(args).arg(&tiny).env("GPU_DEBUG", "1"));
    assert!(!messages.contains("blk.0."), "{messages}");
    let bench = ["bench", "-p", "0", "-n", "2", "-r", "1", "-m"];
    let (code, _, messages) = outcome(program_with_gpu().args(bench).arg(&tiny).env("GPU_DEBUG", "1"));
    assert!(code == 0 && messages.lines().any(|line| line.starts_with("output ")), "{messages}");
}
