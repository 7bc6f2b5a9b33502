//! Every flag, pinned: a change here is a change for users.

use crate::common::{outcome, program, stdout};

// The help names the bundled model.
#[cfg(feature = "bundled-model")]
#[test]
fn every_flag_is_pinned() {
    let mut text = stdout(program().arg("--help"));
    let commands = [
        "run",
        "chat",
        "bench",
        "info",
        "tokenize",
        "perplexity",
        "devices",
        "doctor",
        "debug compare",
        "completions",
    ];
    for command in commands {
        text += &format!("\n=== {command} ===\n");
        text += &stdout(program().args(command.split(' ')).arg("--help"));
    }
    insta::assert_snapshot!(text);
}

#[test]
fn no_command_is_help_and_a_mistake() {
    let (code, text, messages) = outcome(&mut program());
    assert_eq!((code, text.as_str()), (2, ""));
    assert!(messages.contains("Usage: metal-attention"), "{messages}");
    assert!(stdout(program().arg("--version")).starts_with("metal-attention "));
}

#[test]
fn completions_are_scripts() {
    for (shell, word) in
        [("bash", "complete -F"), ("zsh", "#compdef metal-attention"), ("fish", "complete -c")]
    {
        let script = stdout(program().args(["completions", shell]));
        assert!(script.contains(word) && script.contains("perplexity"), "{shell}");
        assert!(script.contains("vulkan"), "{shell}");
    }
}
