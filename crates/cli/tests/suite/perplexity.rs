//! `perplexity`.

use crate::common::{Models, outcome, program, stdout};
use serde_json::Value;

#[test]
fn the_estimate_is_the_last_line_and_the_same_as_json() {
    let models = Models::new();
    let tiny = models.tiny();
    let text = models.file("text.txt", "the end and then all of it ".repeat(40));
    let base = || {
        let mut command = program();
        command.args(["perplexity", "-c", "64", "-f"]).arg(&text).arg("-m").arg(&tiny);
        command
    };
    let (code, estimate, messages) = outcome(&mut base());
    assert_eq!(code, 0, "{messages}");
    let numbers = estimate.strip_prefix("Final estimate: PPL = ").unwrap().trim_end();
    let (perplexity, error) = numbers.split_once(" +/- ").unwrap();
    let (perplexity, error): (f64, f64) = (perplexity.parse().unwrap(), error.parse().unwrap());
    assert!(perplexity > 1.0 && error > 0.0, "{estimate}");
    assert!(messages.contains("[1]") && messages.contains("[2]"), "{messages}");

    let report: Value = serde_json::from_str(&stdout(base().arg("--json"))).unwrap();
    assert!((report["perplexity"].as_f64().unwrap() - perplexity).abs() < 1e-4);
    assert!((report["standard_error"].as_f64().unwrap() - error).abs() < 1e-5);
    let chunks = report["chunks"].as_u64().unwrap();
    assert!(chunks > 2 && report["n_scored"] == chunks * 31, "{report}");
    let one: Value = serde_json::from_str(&stdout(base().args(["--json", "--chunks", "1", "-q"]))).unwrap();
    assert_eq!(one["chunks"], 1);
    base().args(["--chunks", "0"]).assert().code(2);
}

#[test]
fn a_text_that_is_too_short_is_a_mistake() {
    let models = Models::new();
    let command = &mut program();
    command.args(["perplexity", "-c", "64", "-m"]).arg(models.tiny()).write_stdin("the end");
    let (code, _, messages) = outcome(command);
    assert!(code == 2 && messages.contains("128"), "{messages}");
}
