//! Chats.

use crate::common::{CHAT_TEMPLATE, greedy, load, on_cpu};
use metal_attention::{
    ChatError, Conversation, ErrorKind, GenerateOptions, LoadError, LoadOptions, Message, Model, ModelSource,
};
use std::ops::ControlFlow;
use testkit::TinyModel;

fn chatty() -> TinyModel {
    TinyModel { chat_template: Some(CHAT_TEMPLATE), context_len: 512, ..TinyModel::default() }
}

fn on(_: &str) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

#[test]
fn turns_are_rendered_whole_and_computed_in_part() {
    let mut model = load(&chatty());
    let mut chat = Conversation::new(Some("be on the end"));
    let mut session = model.session();
    let options = GenerateOptions { ignore_eos: true, ..greedy(8) };
    let first = chat.say("the end", &mut session, &options, &mut on).unwrap();
    let second = chat.say("and then", &mut session, &options, &mut on).unwrap();
    let roles: Vec<&str> = chat.messages().iter().map(|m| m.role.as_str()).collect();
    assert_eq!(roles, ["system", "user", "assistant", "user", "assistant"]);
    assert_eq!(chat.messages()[2].content, first.text.as_str());
    assert_eq!(chat.messages()[4].content, second.text.as_str());
    assert!(second.usage.cached_tokens >= first.usage.prompt_tokens, "{:?}", second.usage);

    let expected = format!(
        "<|im_start|>system\nbe on the end<|im_end|>\n<|im_start|>user\nthe end<|im_end|>\n<|im_start|>assistant\n{}<|im_end|>\n\
         <|im_start|>user\nand then<|im_end|>\n<|im_start|>assistant\n",
        first.text
    );
    assert!(chat.retract_answer());
    assert_eq!(chat.render(&model).unwrap(), expected);
    let cold = model.session().generate(&expected, &options, &mut on).unwrap();
    assert_eq!(cold.text, second.text);

    let again = chat.answer(&mut model.session(), &options, &mut on).unwrap();
    assert_eq!(again.text, second.text);
    chat.clear();
    assert_eq!(chat.messages(), [Message::new("system", "be on the end")]);
}

#[test]
fn a_failed_turn_leaves_no_trace() {
    let template = "{% if messages[-1].content == 'bad' %}{{ raise_exception('bad word') }}{% endif %}hi";
    let mut model = load(&TinyModel { chat_template: Some(template), ..TinyModel::default() });
    let mut chat = Conversation::new(None);
    chat.say("good", &mut model.session(), &greedy(2), &mut on).unwrap();
    let error = chat.say("bad", &mut model.session(), &greedy(2), &mut on).unwrap_err();
    assert!(error.to_string().contains("bad word"), "{error}");
    assert_eq!(ErrorKind::of(&error), ErrorKind::Unsupported);
    assert_eq!(chat.messages().len(), 2);
    let bad_options = GenerateOptions { stop: vec![String::new()], ..greedy(2) };
    let error = chat.say("good", &mut model.session(), &bad_options, &mut on).unwrap_err();
    assert_eq!(ErrorKind::of(&error), ErrorKind::Usage);
    assert_eq!(chat.messages().len(), 2);
    assert!(chat.retract_answer() && !chat.retract_answer());
}

#[test]
fn without_a_template_the_way_out_is_named() {
    let mut model = load(&TinyModel::default());
    let error = Conversation::new(None).say("hi", &mut model.session(), &greedy(1), &mut on).unwrap_err();
    assert!(matches!(error, ChatError::NoTemplate));
    assert_eq!(ErrorKind::of(&error), ErrorKind::Unsupported);
    assert!(error.to_string().contains("--chat-template") && error.to_string().contains("--raw"), "{error}");
}

#[test]
fn a_broken_template_hinders_only_chats() {
    let broken = TinyModel { chat_template: Some("{% if %}"), ..TinyModel::default() };
    let mut model = load(&broken);
    assert!(model.notes().iter().any(|note| note.contains("chat template")), "{:?}", model.notes());
    assert!(model.chat_template().is_err());
    model.session().generate("the", &greedy(1), &mut on).unwrap();
    let error = Conversation::new(None).say("hi", &mut model.session(), &greedy(1), &mut on).unwrap_err();
    assert!(matches!(error, ChatError::BadTemplate(_)));
    assert_eq!(ErrorKind::of(&error), ErrorKind::Unsupported);

    let load = |template: &str| {
        let options = LoadOptions { chat_template: Some(template.into()), ..on_cpu() };
        Model::load(ModelSource::Memory { name: "t".into(), bytes: broken.bytes() }, &options, &mut |_| {})
    };
    let given = load("{{ messages[0].content }}{{ eos_token }}").unwrap();
    let mut chat = Conversation::new(None);
    chat.push(Message::new("user", "hi"));
    assert_eq!(chat.render(&given).unwrap(), "hi<|endoftext|>");
    let error = load("{{").unwrap_err();
    assert!(matches!(error, LoadError::ChatTemplate(_)));
    assert_eq!(ErrorKind::of(&error), ErrorKind::Unsupported);
}
