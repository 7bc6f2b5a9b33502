//! `debug`, and what is only for a GPU.

use crate::common::{Models, outcome, program, stdout};

#[test]
fn the_cpu_is_compared_by_its_logits() {
    let models = Models::new();
    let (code, text, messages) = outcome(program().args(["debug", "compare", "-m"]).arg(models.tiny()));
    assert_eq!(code, 0, "{messages}");
    assert!(text.lines().any(|line| line.starts_with("output ") && line.contains("[273]")), "{text}");
    assert!(messages.contains("tokens on CPU"), "{messages}");
}

#[test]
fn the_cpu_has_no_plan() {
    let models = Models::new();
    let (code, text, messages) = outcome(program().args(["bench", "--plan", "-m"]).arg(models.tiny()));
    assert_eq!((code, text.as_str()), (2, ""), "{messages}");
    assert!(messages.contains("no plan") && messages.contains("--gpu"), "{messages}");
}

#[test]
fn the_commands_are_listed() {
    assert!(stdout(program().args(["debug", "--help"])).contains("compare"));
}
