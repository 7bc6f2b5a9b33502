//! `run`: text on stdout, everything else on stderr.

use crate::common::{CHAT_TEMPLATE, Models, PROGRAM, outcome, program, stdout};
use serde_json::Value;
use std::io::Read;
use std::process::{Command, Stdio};

#[test]
fn the_text_goes_to_stdout_and_the_rest_to_stderr() {
    let models = Models::new();
    let tiny = models.tiny();
    let args = ["run", "-p", "the end", "-n", "8", "--seed", "7"];
    let (code, text, messages) = outcome(program().args(args).arg(&tiny));
    assert_eq!(code, 0, "{messages}");
    assert!(text.starts_with("the end") && text.ends_with('\n'), "{text:?}");
    let lines: Vec<&str> = messages.lines().collect();
    assert!(lines[0].starts_with("model tiny (llama "), "{messages}");
    for word in [" on CPU: ", " | ctx 128 (model 128) | KV ", " f16 | loaded in "] {
        assert!(lines[0].contains(word), "{messages}");
    }
    let end = lines.last().unwrap();
    assert!(end.starts_with("prefill ") && end.contains(" | decode 8 tokens, "), "{messages}");
    assert!(end.ends_with("ended by length | seed 7"), "{messages}");
    assert!(!messages.contains('\x1b'), "{messages}");

    let (_, quiet_text, quiet) = outcome(program().args(args).arg(&tiny).arg("-q"));
    assert_eq!((quiet_text.as_str(), quiet.as_str()), (text.as_str(), ""));
    let (_, loud_text, loud) = outcome(program().args(args).arg(&tiny).args(["-v", "--color", "always"]));
    assert_eq!(loud_text, text);
    assert!(loud.contains("top_k: 40") && loud.contains('\x1b'), "{loud}");
    assert!(!stdout(program().args(args).arg(&tiny).arg("--no-display-prompt")).starts_with("the end"));
}

/// Whether any are granted is the system's business.
#[cfg(target_os = "linux")]
#[test]
fn a_loud_run_tells_whether_the_weights_lie_in_large_pages() {
    let models = Models::new();
    let args = ["run", "-p", "the", "-n", "1", "-v", "-m"];
    let (code, _, messages) = outcome(program().args(args).arg(models.tiny()));
    assert_eq!(code, 0, "{messages}");
    let line = messages.lines().find(|line| line.starts_with("large pages: "));
    assert!(line.is_some_and(|line| line.contains(" granted for weights of ")), "{messages}");
}

#[test]
fn a_seed_and_temperature_0_give_the_same_text_again() {
    let models = Models::new();
    let tiny = models.tiny();
    let text =
        |args: &[&str]| stdout(program().args(["run", "-p", "the", "-n", "24", "-m"]).arg(&tiny).args(args));
    assert_eq!(text(&["--seed", "3"]), text(&["--seed", "3", "-t", "1"]));
    assert_ne!(text(&["--seed", "3"]), text(&["--seed", "4"]));
    assert_eq!(text(&["--temp", "0"]), text(&["--temperature", "0", "-s", "9", "-t", "2"]));
    assert_eq!(text(&["--temp", "0"]), text(&["--top-k", "1"]));
}

#[test]
fn json_is_one_object() {
    let models = Models::new();
    let tiny = models.tiny();
    let args = ["run", "-p", "the end", "-n", "5", "-s", "3", "--json", "--max-tokens", "6", "-m"];
    // The alias is the same flag.
    program().args(args).arg(&tiny).assert().code(2);
    let args: Vec<_> = args.into_iter().filter(|arg| !["--max-tokens", "6"].contains(arg)).collect();
    let report: Value = serde_json::from_str(&stdout(program().args(&args).arg(&tiny))).unwrap();
    let keys: Vec<_> = report.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["text", "finish_reason", "usage", "timings", "device", "seed", "model"]);
    let usage: Vec<_> = report["usage"].as_object().unwrap().iter().collect();
    let names: Vec<_> = usage.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["prompt_tokens", "completion_tokens", "cached_tokens"]);
    assert_eq!(
        (&report["usage"]["completion_tokens"], &report["usage"]["cached_tokens"]),
        (&5.into(), &0.into())
    );
    let timings: Vec<_> = report["timings"].as_object().unwrap().keys().collect();
    let expected = ["load_ms", "prompt_ms", "predicted_ms", "prompt_per_second", "predicted_per_second"];
    assert_eq!(timings, expected);
    assert!(report["timings"].as_object().unwrap().values().all(|value| value.as_f64().unwrap() > 0.0));
    assert_eq!((&report["finish_reason"], &report["seed"]), (&"length".into(), &3.into()));
    assert_eq!(report["model"], "tiny");
    assert!(report["device"].as_str().unwrap().starts_with("CPU: "));
    // The text is what stdout shows after the prompt.
    let args: Vec<_> = args.into_iter().filter(|arg| *arg != "--json").collect();
    let shown = stdout(program().args(args).arg(&tiny));
    let text = report["text"].as_str().unwrap();
    assert_eq!(shown.trim_end_matches('\n'), format!("the end{text}").trim_end_matches('\n'));
}

#[test]
fn a_prompt_comes_from_flag_file_or_stdin() {
    let models = Models::new();
    let tiny = models.tiny();
    let base = || {
        let mut command = program();
        command.args(["run", "--temp", "0", "-n", "6", "-m"]).arg(&tiny);
        command
    };
    let expected = stdout(base().args(["-p", "the end"]));
    let file = models.file("prompt.txt", "the end\n");
    assert_eq!(stdout(base().arg("-f").arg(file)), expected);
    assert_eq!(stdout(base().write_stdin("the end\n")), expected);
    assert_eq!(stdout(base().args(["-p", "-"]).write_stdin("the end\r\n")), expected);
    assert!(stdout(base().write_stdin("the end\n\n")).starts_with("the end\n"));
    assert!(stdout(base().args(["-p", "- an item"])).starts_with("- an item"));
    base().write_stdin("").assert().code(2);
}

#[test]
fn the_model_comes_from_flag_argument_or_environment() {
    let models = Models::new();
    let tiny = models.tiny();
    let other = models.tiny_chat();
    let text =
        |command: &mut assert_cmd::Command| stdout(command.args(["-p", "the", "--temp", "0", "-n", "4"]));
    let by_flag = text(program().args(["run", "--raw", "-m"]).arg(&tiny));
    assert_eq!(text(program().args(["run", "--raw"]).arg(&tiny)), by_flag);
    assert_eq!(text(program().args(["run", "--raw"]).env("METAL_ATTENTION_MODEL", &tiny)), by_flag);
    let mut both = program();
    both.env("METAL_ATTENTION_MODEL", &other).args(["run", "--raw"]).arg(&tiny);
    assert_eq!(text(&mut both), by_flag);
}

#[test]
fn no_tokens_are_the_prompt_alone() {
    let models = Models::new();
    let args = ["run", "-p", "the end", "-n", "0", "-m"];
    assert_eq!(stdout(program().args(args).arg(models.tiny())), "the end\n");
    let report = stdout(program().args(args).arg(models.tiny()).arg("--json"));
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!((&report["text"], &report["finish_reason"]), (&"".into(), &"length".into()));
}

#[test]
fn generation_ends_at_the_context() {
    let models = Models::new();
    let args = ["run", "-p", "the end", "--ignore-eos", "-c", "40", "--json", "-m"];
    let report: Value = serde_json::from_str(&stdout(program().args(args).arg(models.tiny()))).unwrap();
    assert_eq!(report["finish_reason"], "length");
    let usage = &report["usage"];
    let total = usage["prompt_tokens"].as_u64().unwrap() + usage["completion_tokens"].as_u64().unwrap();
    // The last token is chosen and never put in.
    assert_eq!(total, 41);
}

#[test]
fn sampling_flags_reach_the_sampler() {
    let models = Models::new();
    let tiny = models.tiny();
    let text = |args: &[&str]| {
        let base = ["run", "-p", "the", "--temp", "0", "-n", "24", "--no-display-prompt", "-m"];
        stdout(program().args(base).arg(&tiny).args(args))
    };
    // 97 is the byte "a" in the tiny vocabulary.
    assert_eq!(text(&["--logit-bias", "97+1000"]), "a".repeat(24) + "\n");
    assert_eq!(text(&["--logit-bias", "97+1000", "--logit-bias", "97-inf"]).matches('a').count(), {
        text(&["--logit-bias", "97-inf"]).matches('a').count()
    });
    assert_eq!(text(&["--logit-bias", "97+1000", "--stop", "aaa"]), "");
    let plain = text(&[]);
    for penalty in ["--repeat-penalty", "--presence-penalty", "--frequency-penalty"] {
        assert_ne!(text(&[penalty, "50", "--repeat-last-n", "-1"]), plain, "{penalty}");
        assert_eq!(text(&[penalty, "50", "--repeat-last-n", "0"]), plain, "{penalty}");
    }
}

#[test]
fn a_chat_model_gets_its_template_and_prints_only_the_answer() {
    let models = Models::new();
    let chat = models.tiny_chat();
    let base = || {
        let mut command = program();
        command.args(["run", "-p", "the end", "--temp", "0", "-n", "6", "-v", "-m"]).arg(&chat);
        command
    };
    let (code, text, messages) = outcome(&mut base());
    assert_eq!(code, 0, "{messages}");
    assert!(!text.starts_with("the end"), "{text}");
    assert!(messages.contains(r"<|im_start|>user\nthe end<|im_end|>\n<|im_start|>assistant\n"), "{messages}");
    let (_, _, messages) = outcome(base().args(["-sys", "be brief"]));
    assert!(messages.contains(r"<|im_start|>system\nbe brief<|im_end|>\n<|im_start|>user"), "{messages}");
    assert!(stdout(base().arg("--raw")).starts_with("the end"));
    base().args(["-p", ""]).assert().code(2);

    // The same template from a file, for a model that has none.
    let file = models.file("template.jinja", CHAT_TEMPLATE);
    let args = ["run", "-p", "the end", "--temp", "0", "-n", "6", "--chat-template-file"];
    assert_eq!(stdout(program().args(args).arg(file).arg(models.tiny())), text);
}

#[test]
fn a_closed_pipe_is_quiet() {
    let models = Models::new();
    let args = ["run", "-p", "the end", "-n", "-1", "--ignore-eos", "-c", "20000"];
    let mut child = Command::new(PROGRAM)
        .env("METAL_ATTENTION_DEVICE", "cpu")
        .args(args)
        .arg(models.tiny())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 5];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    // The reader is dropped here, as `head` ends.
    let output = child.wait_with_output().unwrap();
    assert_eq!((&first, output.status.code()), (b"the e", Some(0)));
    let messages = String::from_utf8(output.stderr).unwrap();
    assert!(!messages.contains("error") && !messages.contains("panic"), "{messages}");
}
