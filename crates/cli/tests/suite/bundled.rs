//! Without a model, the bundled one.

use crate::common::{Models, outcome, program, stdout};
use serde_json::Value;

#[test]
fn the_bundled_model_tells_a_tale() {
    let args = ["run", "-p", "Once upon a time", "-n", "48", "--temp", "0"];
    let (code, text, messages) = outcome(program().args(args));
    assert_eq!(code, 0, "{messages}");
    assert!(text.starts_with("Once upon a time ") && text.split_whitespace().count() > 25, "{text}");
    assert!(messages.starts_with("model tales (llama 7.3M Q4_0, "), "{messages}");
    assert_eq!(stdout(program().args(args)), text);
    assert_eq!(stdout(program().args(args).args(["-t", "1"])), text);
}

/// README shows a tale: whoever gives its command gets it.
#[test]
fn the_tale_of_the_readme_is_told() {
    let readme = include_str!("../../../../README.md");
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let shown = readme.split("/dev/dri and the like)").nth(1).and_then(|rest| rest.split("prefill").next());
    let args = ["run", "--cpu", "-p", "Once upon a time", "-n", "64", "-s", "2"];
    assert_eq!(words(&stdout(program().args(args))), words(shown.unwrap()));
}

#[test]
fn every_command_has_it() {
    assert!(stdout(program().arg("info")).contains("tales"));
    assert!(
        stdout(program().args(["tokenize", "-p", "Once upon a time", "--show-count"])).ends_with(": 5\n")
    );
    let text = Models::new();
    let text_file = text.file("text.txt", "Once upon a time there was a king. ".repeat(60));
    let args = ["perplexity", "-c", "128", "--chunks", "1", "--json", "-f"];
    let report: Value = serde_json::from_str(&stdout(program().args(args).arg(text_file))).unwrap();
    assert!(report["perplexity"].as_f64().unwrap() < 100.0, "{report}");
    assert!(stdout(program().args(["bench", "-p", "8", "-n", "2", "-r", "1"])).contains("llama 7.3M Q4_0"));
    program().arg("chat").assert().code(4);
}
