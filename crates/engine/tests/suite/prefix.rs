//! What is in the cache is not computed again, and changes nothing.

use crate::common::{PROMPT, generate, generate_cold, greedy, load, seeded};
use metal_attention::{GenerateError, GenerateOptions};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use testkit::TinyModel;

#[test]
fn a_warm_cache_gives_the_text_of_a_cold_one() {
    let mut model = load(&TinyModel::default());
    for options in [greedy(12), seeded(7, 12)] {
        let options = GenerateOptions { ignore_eos: true, ..options };
        let prompts = [
            PROMPT.to_owned(),
            format!("{PROMPT} and on"),
            "the end and there".to_owned(),
            "something else".to_owned(),
            "something else".to_owned(),
        ];
        let cold: Vec<String> = prompts.iter().map(|p| generate_cold(&mut model, p, &options).text).collect();
        let ids: Vec<Vec<u32>> = prompts.iter().map(|p| model.encode_prompt(p).unwrap()).collect();
        let mut session = model.session();
        for (i, prompt) in prompts.iter().enumerate() {
            let held = session.tokens().to_vec();
            let warm = generate(&mut session, prompt, &options);
            assert_eq!(warm.text, cold[i], "{prompt}");
            let common = held.iter().zip(&ids[i]).take_while(|(a, b)| a == b).count();
            assert_eq!(warm.usage.cached_tokens, common.min(ids[i].len() - 1), "{prompt}");
            assert!(i == 0 || i == 3 || warm.usage.cached_tokens > 0, "{prompt}");
            // All but the last token, which nothing follows.
            let all = [ids[i].as_slice(), &warm.tokens].concat();
            assert_eq!(session.tokens(), &all[..all.len() - 1]);
        }
    }
}

#[test]
fn a_text_can_be_continued_from_the_tokens_that_it_ended_with() {
    let mut model = load(&TinyModel::default());
    let whole = generate_cold(&mut model, PROMPT, &GenerateOptions { ignore_eos: true, ..greedy(30) });
    let prompt = model.encode_prompt(PROMPT).unwrap();
    let mut session = model.session();
    let mut tokens = prompt.clone();
    for (i, options) in [greedy(10), greedy(10), greedy(10)].into_iter().enumerate() {
        let options = GenerateOptions { ignore_eos: true, ..options };
        let part = session.generate(&tokens, &options, &mut |_| ControlFlow::Continue(())).unwrap();
        assert_eq!(part.usage.cached_tokens, if i == 0 { 0 } else { tokens.len() - 1 });
        tokens.extend(part.tokens);
    }
    assert_eq!(tokens[prompt.len()..], whole.tokens);
}

#[test]
fn a_session_is_sound_after_it_was_broken_off_or_cleared() {
    let mut model = load(&TinyModel::default());
    let options = GenerateOptions { ignore_eos: true, ..greedy(20) };
    let cold = generate_cold(&mut model, PROMPT, &options);
    let mut session = model.session();
    let broken = session.generate("the other", &options, &mut |_| ControlFlow::Break(())).unwrap();
    assert!(broken.tokens.len() < 20);
    assert_eq!(generate(&mut session, PROMPT, &options).text, cold.text);

    let cancel = Some(Arc::new(AtomicBool::new(true)));
    let cancelled = generate(&mut session, "another", &GenerateOptions { cancel, ..options.clone() });
    assert_eq!(cancelled.usage.completion_tokens, 0);
    assert_eq!(generate(&mut session, PROMPT, &options).text, cold.text);

    session.clear();
    assert!(session.tokens().is_empty());
    let again = generate(&mut session, PROMPT, &options);
    assert_eq!((again.text, again.usage.cached_tokens), (cold.text, 0));
}

#[test]
fn a_refused_prompt_leaves_the_cache_as_it_was() {
    let mut model = load(&TinyModel::default());
    let mut session = model.session();
    generate(&mut session, PROMPT, &greedy(5));
    let held = session.tokens().to_vec();
    let error = session.generate(&vec![1; 129], &greedy(5), &mut |_| ControlFlow::Continue(())).unwrap_err();
    assert!(
        matches!(error, GenerateError::PromptTooLong { prompt_tokens: 129, context_len: 128 }),
        "{error}"
    );
    assert_eq!(session.tokens(), held);
}
