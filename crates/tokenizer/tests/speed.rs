//! That time grows with the text and not with its square; how fast it is, `examples/encode_speed.rs` measures.

mod common;

use std::time::{Duration, Instant};

use common::both;
use tokenizer::EncodeOptions;

/// A quadratic way takes minutes for these; the machine may be slow and busy.
const LIMIT: Duration = Duration::from_secs(5);

#[test]
fn no_text_takes_quadratic_time() {
    const N: usize = 200_000;
    let texts = [
        "a".repeat(N),
        " ".repeat(N),
        "\n".repeat(N),
        " \t".repeat(N / 2),
        "!".repeat(N),
        "1".repeat(N),
        "日本語".repeat(N / 9),
        "e\u{301}".repeat(N / 3),
        "<|end|>".repeat(N / 7),
        "<gap".repeat(N / 4),
        "the quick fox ".repeat(N / 14),
    ];
    for (_, tokenizer) in both() {
        for text in &texts {
            let start = Instant::now();
            let options = EncodeOptions { add_special: true, parse_special: true };
            let ids = tokenizer.encode(text, options).expect("ids");
            let again = tokenizer.decode(&ids);
            let taken = start.elapsed();
            assert!(
                again == *text || text.contains("<|end|>"),
                "{:?}",
                again.chars().take(14).collect::<String>()
            );
            assert!(
                taken < LIMIT,
                "{taken:?} for {} bytes of {:?}",
                text.len(),
                text.chars().take(14).collect::<String>()
            );
        }
    }
}
