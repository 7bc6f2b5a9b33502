//! `info`, `devices` and `doctor`.

use crate::common::{CHAT_TEMPLATE, Models, outcome, program, stdout, tiny_with};
use serde_json::Value;

#[test]
fn the_summary_is_readable() {
    let models = Models::new();
    let text = stdout(program().arg("info").arg(models.tiny_chat()));
    for word in [
        "tiny",
        "llama ",
        "GGUF v3",
        "4096 tokens",
        "BPE (gpt-2), 273 tokens",
        "<|im_end|> (272)",
        "--template",
    ] {
        assert!(text.contains(word), "{word} is missing in\n{text}");
    }
    assert!(stdout(program().arg("info").arg(models.tiny())).contains("chat template  none"));
}

#[test]
fn parts_are_printed_alone() {
    let models = Models::new();
    let chat = models.tiny_chat();
    let part = |flag: &str| stdout(program().args(["info", flag]).arg(&chat));
    assert_eq!(part("--template"), CHAT_TEMPLATE.to_owned() + "\n");
    let kv = part("--kv");
    assert!(kv.contains("general.architecture = \"llama\"\n") && kv.contains("... 273 in all]"), "{kv}");
    let tensors = part("--tensors");
    assert_eq!(tensors.lines().count(), 20, "{tensors}");
    assert!(tensors.lines().any(|line| line.starts_with("token_embd.weight") && line.contains("[273, 64]")));
    program().args(["info", "--template"]).arg(models.tiny()).assert().code(1);
}

#[test]
fn json_has_the_parts_that_are_asked_for() {
    let models = Models::new();
    let chat = models.tiny_chat();
    let json = |args: &[&str]| -> Value {
        serde_json::from_str(&stdout(program().args(["info", "--json"]).args(args).arg(&chat))).unwrap()
    };
    let plain = json(&[]);
    assert_eq!((&plain["architecture"], &plain["spec"]["n_ctx_train"]), (&"llama".into(), &4096.into()));
    assert_eq!(plain["tokenizer"]["n_tokens"], 273);
    assert_eq!(plain["has_chat_template"], true);
    assert!(plain["metadata"].is_null() && plain["tensors"].is_null() && plain["chat_template"].is_null());
    let full = json(&["--kv", "--tensors", "--template"]);
    assert_eq!(full["chat_template"], CHAT_TEMPLATE);
    assert_eq!(full["metadata"]["tokenizer.ggml.tokens"].as_array().unwrap().len(), 273);
    let n_params: u64 = full["tensors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tensor| {
            tensor["shape"].as_array().unwrap().iter().map(|dim| dim.as_u64().unwrap()).product::<u64>()
        })
        .sum();
    assert_eq!(full["n_params"], n_params);
}

#[test]
fn what_cannot_run_can_be_looked_at() {
    let models = Models::new();
    let path = models.file("odd.gguf", tiny_with("general.architecture", Some("mamba".into())));
    let (code, text, messages) = outcome(program().arg("info").arg(&path));
    assert_eq!(code, 0, "{messages}");
    assert!(
        text.contains("mamba") && messages.contains("mamba") && messages.contains("qwen2"),
        "{text}{messages}"
    );
    let json: Value = serde_json::from_str(&stdout(program().args(["info", "--json"]).arg(&path))).unwrap();
    assert!(json["spec"].is_null() && !json["warnings"].as_array().unwrap().is_empty());
}

#[cfg(not(feature = "gpu"))]
#[test]
fn devices_names_the_cpu_and_says_that_there_is_no_gpu() {
    let text = stdout(program().arg("devices"));
    assert!(text.contains("CPU: ") && text.contains("no GPU engine"), "{text}");
    let json: Vec<Value> = serde_json::from_str(&stdout(program().args(["devices", "--json"]))).unwrap();
    assert_eq!((json.len(), &json[0]["kind"]), (1, &"cpu".into()));
    assert!(json[0]["threads"].as_u64().unwrap() > 0);
}

#[test]
fn what_a_model_takes_is_told_where_it_is_asked_for() {
    let models = Models::new();
    let text = stdout(program().args(["info", "--device", "cpu"]).arg(models.tiny()));
    for word in ["on  ", "CPU: ", "KV cache", " for 128 tokens", "in all  "] {
        assert!(text.contains(word), "{word} is missing in\n{text}");
    }
    assert!(!stdout(program().arg("info").arg(models.tiny())).contains("in all"));
    let args = ["info", "--device", "cpu", "-c", "64", "--json"];
    let report: Value = serde_json::from_str(&stdout(program().args(args).arg(models.tiny()))).unwrap();
    let placement = &report["placement"];
    assert_eq!((&placement["n_ctx"], &placement["dispatches_per_token"]), (&64.into(), &Value::Null));
    assert!(placement["total_bytes"].as_u64() > placement["kv_bytes"].as_u64(), "{placement}");
}

#[test]
fn doctor_says_what_a_report_needs() {
    let text = stdout(program().arg("doctor"));
    for word in ["metal-attention ", " build, ", "system ", "kernel ", "memory ", "cpu ", " threads"] {
        assert!(text.contains(word), "{word} is missing in\n{text}");
    }
    let report: Value = serde_json::from_str(&stdout(program().args(["doctor", "--json"]))).unwrap();
    for key in ["version", "build", "os", "kernel", "architecture", "cpu", "memory_bytes", "devices"] {
        assert!(!report[key].is_null(), "{key}: {report}");
    }
    assert_eq!(report["devices"][0]["device"], "cpu");
}
