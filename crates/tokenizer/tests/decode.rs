//! Ids into text, whole and as a stream.

mod common;

use common::{Fixture, both, bytes_and};
use tokenizer::{DecodeOptions, Detokenizer, EncodeOptions, Tokenizer};

const SPECIAL: EncodeOptions = EncodeOptions { add_special: true, parse_special: true };
const SHOWN: DecodeOptions = DecodeOptions { show_special: true, continues: false };

fn stream(tokenizer: &Tokenizer, ids: &[u32], options: DecodeOptions) -> String {
    let mut detokenizer = Detokenizer::with_options(tokenizer, options);
    let mut text = String::new();
    for &id in ids {
        let piece = detokenizer.push(id);
        // Only bytes that can never become a character may come out as U+FFFD.
        text += &piece;
    }
    text + &detokenizer.finish()
}

/// Numbers that look random and are the same each time.
fn random(seed: u64) -> impl Iterator<Item = u64> {
    let mut state = seed;
    std::iter::from_fn(move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Some(state >> 33)
    })
}

#[test]
fn a_text_comes_back_from_its_ids() {
    for (fixture, tokenizer) in both() {
        // ▁ stands for a space in SentencePiece, so there it comes back as one.
        let is_spm = tokenizer.kind() == "SPM";
        for text in fixture.texts.iter().filter(|text| !(is_spm && text.contains('▁'))) {
            let ids = tokenizer
                .encode(text, EncodeOptions { add_special: true, parse_special: false })
                .expect("ids");
            assert_eq!(&tokenizer.decode(&ids), text);
            assert_eq!(&stream(&tokenizer, &ids, DecodeOptions::default()), text);
        }
    }
}

#[test]
fn the_stream_of_any_ids_is_their_text() {
    for (_, tokenizer) in both() {
        let n_vocab = u64::try_from(tokenizer.n_vocab()).expect("size");
        for seed in 0..500 {
            // A tenth lies outside the vocabulary, and byte tokens tear characters apart.
            let ids: Vec<u32> = random(seed)
                .map(|n| u32::try_from(n % (n_vocab + n_vocab / 10)).expect("id"))
                .take(40)
                .collect();
            for show_special in [false, true] {
                for continues in [false, true] {
                    let options = DecodeOptions { show_special, continues };
                    let text = tokenizer.decode_with(&ids, options);
                    assert_eq!(stream(&tokenizer, &ids, options), text);
                    assert_eq!(String::from_utf8_lossy(&tokenizer.decode_bytes(&ids, options)), text);
                }
            }
        }
    }
}

#[test]
fn a_character_appears_only_once_it_is_whole() {
    for (_, tokenizer) in both() {
        let ids = tokenizer.encode("🫠\u{10FFFD}", EncodeOptions::default()).expect("ids");
        let mut detokenizer = Detokenizer::new(&tokenizer);
        let pieces: Vec<String> = ids.iter().map(|&id| detokenizer.push(id)).collect();
        assert!(pieces.iter().all(|piece| ["", "🫠", "\u{10FFFD}"].contains(&piece.as_str())), "{pieces:?}");
        assert_eq!(pieces.concat(), "🫠\u{10FFFD}");
        assert_eq!(detokenizer.finish(), "");

        let mut cut = Detokenizer::new(&tokenizer);
        let text: String = ids[..ids.len() - 1].iter().map(|&id| cut.push(id)).collect();
        assert_eq!(text + &cut.finish(), "🫠\u{FFFD}");
    }
}

#[test]
fn one_space_is_taken_from_the_start_of_a_sentencepiece_text() {
    let tokenizer = Fixture::load("spm.json").tokenizer(None);
    let ids = tokenizer.encode(" fox<|end|>fox", SPECIAL).expect("ids");
    let continues = DecodeOptions { continues: true, ..DecodeOptions::default() };
    assert_eq!(tokenizer.decode(&ids), " fox fox");
    assert_eq!(tokenizer.decode_with(&ids, continues), "  fox fox");
    assert_eq!(tokenizer.decode_with(&ids[1..], SHOWN), " fox<|end|> fox");
    // A control token that is shown begins the text.
    assert_eq!(tokenizer.decode_with(&ids, SHOWN), "<s>  fox<|end|> fox");
}

#[test]
fn control_tokens_are_shown_only_on_request() {
    let tokenizer =
        Tokenizer::new(bytes_and(&[("<|im_end|>", 3), ("<gap>", 4), ("<x>", 5)])).expect("tokenizer");
    let ids = tokenizer.encode("a<|im_end|>b<gap>", SPECIAL).expect("ids");
    assert_eq!(tokenizer.decode(&ids), "ab<gap>");
    assert_eq!(tokenizer.decode_with(&ids, SHOWN), "a<|im_end|>b<gap>");
    assert!(tokenizer.is_control(tokenizer.token_id("<|im_end|>").expect("id")));
    let unused = tokenizer.token_id("<x>").expect("id");
    assert_eq!(
        (tokenizer.decode_with(&[unused], SHOWN), tokenizer.piece(unused)),
        (String::new(), Some(&b""[..]))
    );
}

#[test]
fn ids_outside_the_vocabulary_are_replacement_characters() {
    for (_, tokenizer) in both() {
        assert_eq!(tokenizer.decode(&[u32::MAX]), "\u{FFFD}");
        assert_eq!(tokenizer.piece(u32::MAX), None);
        assert_eq!(tokenizer.token_text(u32::MAX), None);
        assert!(!tokenizer.is_control(u32::MAX));
    }
}

#[test]
fn pieces_are_the_bytes_behind_the_spelling() {
    let bpe = Fixture::load("bpe.json").tokenizer(Some("gpt-2"));
    assert_eq!(bpe.piece(bpe.token_id("Ġthe").expect("id")), Some(&b" the"[..]));
    let spm = Fixture::load("spm.json").tokenizer(None);
    assert_eq!(spm.piece(spm.token_id("▁the").expect("id")), Some(&b" the"[..]));
    assert_eq!(spm.piece(spm.token_id("<0xE2>").expect("id")), Some(&b"\xE2"[..]));
}
