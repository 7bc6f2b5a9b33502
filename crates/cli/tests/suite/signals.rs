//! Ctrl-C and SIGTERM.

use crate::common::{Models, PROGRAM};
use serde_json::Value;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Makes a text that would take long.
const LONG: [&str; 7] = ["-n", "-1", "--ignore-eos", "-c", "100000", "-t", "1"];

fn start(model: &Path, args: &[&str]) -> Child {
    let mut command = Command::new(PROGRAM);
    command.env("METAL_ATTENTION_DEVICE", "cpu");
    command.args(args).arg("-m").arg(model);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn send(signal: &str, child: &Child) {
    let status = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

/// Waits for the first text, sends the signal, and gives exit code, stdout and stderr.
fn stopped(mut child: Child, signal: &str) -> (Option<i32>, String, String) {
    let mut out = child.stdout.take().unwrap();
    let mut text = vec![0; 16];
    out.read_exact(&mut text).unwrap();
    send(signal, &child);
    out.read_to_end(&mut text).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8(text).unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn ctrl_c_keeps_the_text_and_is_130() {
    let models = Models::new();
    let child = start(&models.tiny(), &[&["run", "-p", "the end"] as &[_], &LONG].concat());
    let (code, text, messages) = stopped(child, "-INT");
    assert_eq!(code, Some(130), "{messages}");
    assert!(text.starts_with("the end") && text.ends_with('\n'), "{text}");
    assert!(messages.contains("ended by cancelled"), "{messages}");
}

#[test]
fn sigterm_is_143() {
    let models = Models::new();
    let child = start(&models.tiny(), &[&["run", "-p", "the end"] as &[_], &LONG].concat());
    let (code, _, messages) = stopped(child, "-TERM");
    assert_eq!(code, Some(143), "{messages}");
    assert!(messages.contains("ended by cancelled"), "{messages}");
}

#[test]
fn json_is_whole_after_ctrl_c() {
    let models = Models::new();
    let mut child =
        start(&models.tiny(), &[&["run", "-p", "the end", "--json", "-v"] as &[_], &LONG].concat());
    // There is no text to wait for: the last line before the work begins has to do.
    let mut messages = String::new();
    let mut stderr = child.stderr.take().unwrap();
    while !messages.contains("sampling: ") {
        let mut byte = [0];
        stderr.read_exact(&mut byte).unwrap();
        messages.push(char::from(byte[0]));
    }
    send("-INT", &child);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["finish_reason"], "cancelled");
}

#[test]
fn ctrl_c_ends_a_chat_without_a_terminal() {
    let models = Models::new();
    // While an answer is written.
    let mut child = start(&models.tiny_chat(), &[&["chat", "--show-timings"] as &[_], &LONG].concat());
    child.stdin.as_mut().unwrap().write_all(b"the end\nand all\n").unwrap();
    let (code, _, messages) = stopped(child, "-INT");
    assert_eq!(code, Some(130), "{messages}");
    assert_eq!(messages.matches("ended by cancelled").count(), 1, "{messages}");
    // While it waits for a line.
    let args = ["chat", "-n", "3", "--temp", "0", "--logit-bias", "98+1000"];
    let mut child = start(&models.tiny_chat(), &args);
    child.stdin.as_mut().unwrap().write_all(b"the end\n").unwrap();
    let mut answer = [0; 4];
    child.stdout.as_mut().unwrap().read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"bbb\n");
    send("-INT", &child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
}
