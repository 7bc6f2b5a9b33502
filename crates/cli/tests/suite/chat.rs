//! `chat` with lines from a pipe.

use crate::common::{Models, outcome, program};

/// Answers are a few bytes; each ends its line. Gives stdout and stderr.
fn talk(models: &Models, lines: &str, args: &[&str]) -> (i32, String, String) {
    let base = ["chat", "--temp", "0", "-n", "4", "--show-timings", "-m"];
    outcome(program().args(base).arg(models.tiny_chat()).args(args).write_stdin(lines))
}

fn cached(messages: &str) -> Vec<bool> {
    messages.lines().filter(|line| line.starts_with("prefill ")).map(|line| line.contains("cached")).collect()
}

#[test]
fn turns_follow_each_other_and_end_with_the_input() {
    let models = Models::new();
    let (code, text, messages) = talk(&models, "the end\nand then\n", &["-sys", "be brief"]);
    assert_eq!(code, 0, "{messages}");
    assert!(!text.contains('>') && text.ends_with('\n'), "{text:?}");
    // The second turn goes on from the first.
    assert_eq!(cached(&messages), [false, true], "{messages}");
    let (_, again, _) = talk(&models, "the end\nand then\n", &["-sys", "be brief"]);
    assert_eq!(again, text);
}

#[test]
fn clear_forgets() {
    let models = Models::new();
    let (_, once, _) = talk(&models, "the end\n", &[]);
    let (code, text, messages) = talk(&models, "the end\n/clear\n\nthe end", &[]);
    assert_eq!((code, text), (0, once.repeat(2)), "{messages}");
    assert_eq!(cached(&messages), [false, false], "{messages}");
}

#[test]
fn commands_are_not_messages() {
    let models = Models::new();
    let (code, text, messages) = talk(&models, "/help\n/fly\n/regen\n/exit\nthe end\n", &[]);
    assert_eq!((code, text.as_str()), (0, ""), "{messages}");
    for word in ["/clear", "no command /fly", "no answer yet"] {
        assert!(messages.contains(word), "{messages}");
    }
}

#[test]
fn regen_answers_again_and_read_puts_a_file_before_the_message() {
    let models = Models::new();
    let (_, once, _) = talk(&models, "the end\n", &[]);
    let (code, text, messages) = talk(&models, "the end\n/regen\n", &[]);
    assert_eq!((code, text), (0, once.repeat(2)), "{messages}");

    let file = models.file("long.txt", "and then all ".repeat(9));
    let (code, _, messages) = talk(&models, &format!("/read {}\nthe end\n", file.display()), &[]);
    assert_eq!(code, 0, "{messages}");
    let (_, _, without) = talk(&models, "the end\n", &[]);
    let n_prompt = |messages: &str| -> usize {
        let line = messages.lines().find_map(|line| line.strip_prefix("prefill ")).unwrap();
        line.split(' ').next().unwrap().parse().unwrap()
    };
    assert!(n_prompt(&messages) > n_prompt(&without) + 20, "{messages}");
}

#[test]
fn a_script_ends_at_the_first_mistake() {
    let models = Models::new();
    let lines = format!("the end\n{}\nthe end\n", "x".repeat(300));
    let (code, text, messages) = talk(&models, &lines, &["-c", "128"]);
    assert_eq!(code, 2, "{messages}");
    assert_eq!(cached(&messages).len(), 1, "{text}{messages}");
    assert!(messages.contains("128"), "{messages}");
    assert_eq!(talk(&models, "/read /no/such/file\n", &[]).0, 3);
}
