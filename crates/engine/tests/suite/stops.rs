//! How a model, or a stop string, ends a text.

use crate::common::{PROMPT, generate_cold, greedy, greedy_by_sampler, load, load_bytes, with_metadata};
use metal_attention::{FinishReason, GenerateOptions};
use testkit::TinyModel;

#[test]
fn a_stop_token_ends_the_text_and_is_not_shown() {
    let tiny = TinyModel::default();
    let free = generate_cold(&mut load(&tiny), PROMPT, &GenerateOptions { ignore_eos: true, ..greedy(20) });
    // Call the token that comes fifth, or the first after it that is new, the end of text.
    let at = (5..20).find(|&i| !free.tokens[..i].contains(&free.tokens[i])).unwrap();
    let changes = [("tokenizer.ggml.eos_token_id", Some(free.tokens[at].into()))];
    let mut model = load_bytes(with_metadata(tiny.bytes(), &changes));
    assert!(model.tokenizer().unwrap().stop_ids().contains(&free.tokens[at]));
    for options in [greedy(20), greedy_by_sampler(20)] {
        let ended = generate_cold(&mut model, PROMPT, &options);
        assert_eq!(ended.finish_reason, FinishReason::Stop);
        assert_eq!(ended.tokens, free.tokens[..=at]);
        assert_eq!(ended.text, model.tokenizer().unwrap().decode(&free.tokens[..at]));

        let on = generate_cold(&mut model, PROMPT, &GenerateOptions { ignore_eos: true, ..options });
        assert_eq!(on.finish_reason, FinishReason::Length);
        assert_eq!(on.tokens.len(), 20);
        assert!(!on.tokens.contains(&free.tokens[at]));
    }
}

#[test]
fn a_stop_string_over_several_tokens_is_never_shown() {
    let mut model = load(&TinyModel::default());
    let free = generate_cold(&mut model, PROMPT, &GenerateOptions { ignore_eos: true, ..greedy(40) });
    let chars: Vec<(usize, char)> = free.text.char_indices().collect();
    let mut over_tokens = 0;
    for i in 0..chars.len() - 3 {
        let stop = free.text[chars[i].0..chars[i + 3].0].to_owned();
        let expected = &free.text[..free.text.find(&stop).unwrap()];
        let options =
            GenerateOptions { ignore_eos: true, stop: vec!["never".into(), stop.clone()], ..greedy(40) };
        let stopped = generate_cold(&mut model, PROMPT, &options);
        assert_eq!(stopped.text, expected, "{stop:?}");
        assert_eq!(stopped.finish_reason, FinishReason::Stop);
        let last = model.tokenizer().unwrap().piece(*stopped.tokens.last().unwrap()).unwrap().to_vec();
        over_tokens += usize::from(last.len() < stop.len());
    }
    assert!(over_tokens > 0, "no stop string was longer than a token");
}

#[test]
fn a_stop_string_that_only_begins_is_shown_at_the_end() {
    let mut model = load(&TinyModel::default());
    let free = generate_cold(&mut model, PROMPT, &GenerateOptions { ignore_eos: true, ..greedy(20) });
    let end = free.text.chars().last().unwrap();
    let options =
        GenerateOptions { ignore_eos: true, stop: vec![format!("{end}, and no more")], ..greedy(20) };
    let stopped = generate_cold(&mut model, PROMPT, &options);
    assert_eq!((stopped.text, stopped.finish_reason), (free.text, FinishReason::Length));
}
