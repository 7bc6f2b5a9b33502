//! `tokenize`, in the forms of llama-tokenize.

use crate::common::{Models, program, stdout, vocabulary_only};

#[test]
fn a_vocabulary_is_enough() {
    let models = Models::new();
    let words = models.file("words.gguf", vocabulary_only());
    let tokenize = |args: &[&str]| stdout(program().arg("tokenize").arg(&words).args(args));
    // Ids of single bytes are the bytes; merges follow from 256 on.
    let pieces = ["   116 -> 't'", "   257 -> 'he'", "    32 -> ' '", "   101 -> 'e'", "   267 -> 'nd'"];
    assert_eq!(tokenize(&["-p", "the end"]), pieces.join("\n") + "\n");
    assert_eq!(tokenize(&["-p", "the end", "--ids"]), "[116, 257, 32, 101, 267]\n");
    let ids = tokenize(&["-p", "the end<|im_end|>", "--ids"]);
    assert!(ids.starts_with('[') && ids.ends_with(", 272]\n"), "{ids}");
    let plain = tokenize(&["-p", "the end<|im_end|>", "--ids", "--no-parse-special"]);
    assert!(plain.matches(',').count() > ids.matches(',').count() + 3, "{plain}");
    assert_eq!(tokenize(&["-p", "", "--ids"]), "[]\n");
    assert!(tokenize(&["-p", "the<|im_end|>"]).ends_with("   272 -> '<|im_end|>'\n"));
}

#[test]
fn text_is_taken_as_it_is() {
    let models = Models::new();
    let words = models.file("words.gguf", vocabulary_only());
    let text = models.file("text.txt", "the end\n");
    let base = || {
        let mut command = program();
        command.arg("tokenize").arg(&words).args(["--ids", "--show-count"]);
        command
    };
    let expected = stdout(base().args(["-p", "the end\n"]));
    assert_eq!(stdout(base().arg("-f").arg(text)), expected);
    assert_eq!(stdout(base().arg("--stdin").write_stdin("the end\n")), expected);
    let n = expected.lines().next().unwrap().split(',').count();
    assert!(expected.ends_with(&format!("Total number of tokens: {n}\n")), "{expected}");
    // A token that is half a character is written as its bytes.
    let output = program().arg("tokenize").arg(&words).args(["-p", "é"]).output().unwrap();
    assert!(output.stdout.windows(3).any(|bytes| bytes == b"'\xc3'"), "{output:?}");
}
