//! One exit code for each class of error, a message that helps, and nothing on stdout.

use crate::common::{Models, outcome, program, tiny_with};
use testkit::TinyModel;

/// The exit code and what stderr must have in it.
#[track_caller]
fn refused(args: &[&str], code: i32, words: &[&str]) {
    let (got, stdout, stderr) = outcome(program().args(args));
    assert_eq!(got, code, "{args:?}: {stderr}");
    assert_eq!(stdout, "", "{args:?}");
    assert!(stderr.contains("error:"), "{stderr}");
    assert!(!stderr.contains("panicked") && !stderr.contains("Error {"), "{stderr}");
    for word in words {
        assert!(stderr.contains(word), "{args:?}: {word} is missing in\n{stderr}");
    }
}

#[test]
fn usage_is_2() {
    let models = Models::new();
    let tiny = models.tiny();
    let tiny = tiny.to_str().unwrap();
    refused(&["run", "--no-such-flag"], 2, &["--no-such-flag"]);
    refused(&["fly"], 2, &["fly"]);
    refused(&["run", "-n", "-2"], 2, &["-2"]);
    refused(&["run", "-t", "0"], 2, &["--threads"]);
    refused(&["run", "--raw", "-sys", "be brief", "-p", "x"], 2, &["--system-prompt"]);
    refused(&["run", "-p", "x", "-f", "y"], 2, &["--file"]);
    refused(&["run", "-m", tiny, tiny, "-p", "x"], 2, &["two models", "help:"]);
    refused(&["run", "-m", tiny, "-p", ""], 2, &["prompt is empty", "help:", "--prompt"]);
    refused(&["run", "-m", tiny, "-p", "x", "--top-p", "2"], 2, &["top_p", "0 to 1"]);
    refused(&["run", "-m", tiny, "-p", "x", "--logit-bias", "x"], 2, &["15043+1"]);
    refused(&["run", "-m", tiny, "-p", "x", "--stop", ""], 2, &["stop string"]);
    refused(&["run", "-m", tiny, "-p", "x", "-c", "99999999999"], 2, &["99999999999", "128"]);
    refused(
        &["run", "-m", tiny, "-p", "x", "--chat-template", "chatml"],
        2,
        &["chatml", "--chat-template-file"],
    );
    refused(&["bench", "-m", tiny, "-p", "0", "-n", "0"], 2, &["nothing to measure"]);
    refused(&["bench", "--synthetic", "gpt-5"], 2, &["smollm-135m"]);
    refused(&["perplexity", "-m", tiny, "-c", "2", "-f", tiny_text(&models).as_str()], 2, &["context of 2"]);
}

#[cfg(not(feature = "bundled-model"))]
#[test]
fn no_model_at_all_is_2() {
    refused(&["run", "-p", "x"], 2, &["no model", "help:", "--model"]);
}

fn tiny_text(models: &Models) -> String {
    models.file("text.txt", "the end and then all ".repeat(40)).to_str().unwrap().to_owned()
}

#[test]
fn an_over_long_prompt_is_2_with_both_numbers() {
    let models = Models::new();
    let tiny = models.tiny();
    refused(&["run", "-m", tiny.to_str().unwrap(), "-p", &"x".repeat(500)], 2, &["500", "128", "--ctx-size"]);
}

#[test]
fn missing_and_damaged_files_are_3() {
    let models = Models::new();
    let text = models.file("text.gguf", "Once upon a time");
    let empty = models.file("empty.gguf", "");
    let bytes = TinyModel::default().bytes();
    let cut = models.file("cut.gguf", &bytes[..bytes.len() / 2]);
    let keyless = models.file("keyless.gguf", tiny_with("llama.block_count", None));
    let tiny = models.tiny();
    for (path, words) in [
        (models.path("missing.gguf"), &["missing.gguf", "because:", "help:"] as &[_]),
        (text, &["text.gguf", "not a GGUF file"]),
        (empty, &["empty.gguf"]),
        (cut, &["cut.gguf", "incomplete"]),
        (keyless, &["block_count"]),
        (models.path("."), &["error:"]),
    ] {
        let path = path.to_str().unwrap();
        refused(&["run", "-m", path, "-p", "x"], 3, words);
        refused(&["run", path, "-p", "x"], 3, words);
    }
    let tiny = tiny.to_str().unwrap();
    refused(&["info", "/no/such.gguf"], 3, &["/no/such.gguf"]);
    refused(&["tokenize", "/no/such.gguf", "-p", "x"], 3, &["/no/such.gguf"]);
    refused(&["run", "-m", tiny, "-f", "/no/such.txt"], 3, &["/no/such.txt", "because:"]);
    let latin1 = models.file("latin1.txt", b"caf\xe9");
    refused(&["run", "-m", tiny, "-f", latin1.to_str().unwrap()], 3, &["byte 3", "UTF-8"]);
}

#[test]
fn what_is_not_supported_is_4() {
    let models = Models::new();
    for (key, value, word) in [
        ("general.architecture", "mamba", "llama, qwen2, qwen3"),
        ("tokenizer.ggml.pre", "klingon", "klingon"),
        ("tokenizer.ggml.model", "bert", "bert"),
    ] {
        let path = models.file("odd.gguf", tiny_with(key, Some(value.into())));
        refused(&["run", "-m", path.to_str().unwrap(), "-p", "x"], 4, &[word]);
    }
    let broken = tiny_with("tokenizer.chat_template", Some("line\n{% if %}".into()));
    let path = models.file("template.gguf", broken);
    let path = path.to_str().unwrap();
    refused(&["run", "-m", path, "-p", "x"], 4, &["line 2", "--chat-template", "--raw"]);
    refused(&["chat", "-m", path], 4, &["line 2"]);
    // Where it is not needed it does no harm.
    program().args(["run", "-m", path, "-p", "x", "-n", "1", "--raw"]).assert().success();
    let tiny = models.tiny();
    let tiny = tiny.to_str().unwrap();
    refused(&["chat", "-m", tiny], 4, &["no chat template"]);
    refused(&["run", "-m", tiny, "-sys", "be brief", "-p", "x"], 4, &["no chat template"]);
    let raising = "{{ raise_exception('only poems') }}";
    refused(&["run", "-m", tiny, "-p", "x", "--chat-template", raising], 4, &["only poems"]);
}

#[test]
fn what_does_not_fit_is_5() {
    let models = Models::new();
    // 16 KiB a token: a terabyte of KV cache.
    let deep = TinyModel { n_layers: 64, n_heads: 2, n_kv_heads: 2, head_dim: 32, ..TinyModel::default() };
    let path = models.file("deep.gguf", deep.bytes());
    let args = ["run", "-m", path.to_str().unwrap(), "-p", "x", "-c", "67108864"];
    refused(&args, 5, &["does not fit", "--ctx-size"]);
}

#[cfg(not(feature = "gpu"))]
#[test]
fn a_gpu_that_is_not_there_is_6() {
    let models = Models::new();
    let tiny = models.tiny();
    let tiny = tiny.to_str().unwrap();
    for device in [&["--device", "vulkan"] as &[&str], &["--gpu"]] {
        let args = [&["run", "-m", tiny, "-p", "x"], device].concat();
        refused(&args, 6, &["no GPU engine", "help:", "--device cpu"]);
        refused(&[&["bench", "-m", tiny], device].concat(), 6, &["no GPU engine"]);
    }
}

#[test]
fn flags_go_before_the_environment() {
    let models = Models::new();
    let from_environment = |device: &str| {
        let mut command = program();
        command.env("METAL_ATTENTION_DEVICE", device).args(["run", "-p", "x", "-n", "1", "-m"]);
        command.arg(models.tiny());
        command
    };
    from_environment("vulkan:99").assert().code(6);
    from_environment("vulkan:99").arg("--cpu").assert().success();
    from_environment("cuda").assert().code(2);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_1() {
    let models = Models::new();
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = std::process::Command::new(crate::common::PROGRAM);
    command.args(["run", "--cpu", "-p", "the", "-n", "2", "-m"]).arg(models.tiny());
    let output = command.stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("standard output") && stderr.contains("because:"), "{stderr}");
}
