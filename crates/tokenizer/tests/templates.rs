//! Conversations into text, compared with Jinja2 as `transformers` sets it up.

mod common;

use std::collections::HashMap;
use std::time::{Duration, UNIX_EPOCH};

use common::{json, read};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokenizer::{ChatTemplate, Message, RenderOptions, TemplateError};

#[derive(Deserialize)]
struct Renderings {
    conversations: HashMap<String, Conversation>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Conversation {
    messages: Vec<Message>,
    options: Map<String, Value>,
}

#[derive(Deserialize)]
struct Case {
    template: String,
    conversation: String,
    /// `None` where Jinja2 gives an error.
    text: Option<String>,
}

fn options(mut extra: Map<String, Value>) -> RenderOptions {
    let prompt = extra.remove("add_generation_prompt");
    RenderOptions {
        add_generation_prompt: prompt.is_none_or(|prompt| prompt == true),
        extra,
        now: UNIX_EPOCH + Duration::from_secs(1_721_999_109), // 2024-07-26 13:05:09
    }
}

fn render(source: &str) -> Result<String, TemplateError> {
    let messages = [Message::new("user", "hi"), Message::new("assistant", "ho")];
    ChatTemplate::new(source, "<s>", "</s>")?.render(&messages, &options(Map::new()))
}

#[test]
fn conversations_read_as_in_jinja2() {
    let renderings: Renderings = json("renderings.json");
    assert_eq!(renderings.cases.len(), 9 * renderings.conversations.len());
    for Case { template, conversation, text } in renderings.cases {
        let source = read(&format!("templates/{template}.jinja"));
        let parsed = ChatTemplate::new(&source, "<s>", "</s>").expect("the template parses");
        let Conversation { messages, options: extra } = &renderings.conversations[&conversation];
        let rendered = parsed.render(messages, &options(extra.clone()));
        match text {
            Some(text) => assert_eq!(rendered.ok(), Some(text), "{template}, {conversation}"),
            None => assert!(rendered.is_err(), "{template}, {conversation}: {rendered:?}"),
        }
    }
}

#[test]
fn errors_name_the_line_and_the_way_out() {
    for (source, line, what) in [
        ("a\n{% if %}", 2, "syntax error"),
        ("a\nb\n{{ x.y.z }}", 3, "undefined"),
        ("{{ raise_exception('no systems, please') }}", 1, ": no systems, please;"),
        ("\n{{ messages | no_such_filter }}", 2, "no_such_filter"),
        ("{{ strftime_now('%Q') }}", 1, "%Q"),
        ("{{ nothing | tojson }}", 1, "undefined"),
    ] {
        let error = render(source).expect_err(source);
        assert_eq!(error.line, Some(line), "{error}");
        let error = error.to_string();
        assert!(error.contains(&format!("line {line}")) && error.contains(what), "{error}");
        assert!(error.contains("--chat-template"), "{error}");
    }
}

#[test]
fn a_template_cannot_use_up_time_or_memory() {
    let nested =
        "{% set ns = namespace(x=[]) %}{% for i in range(10000) %}{% set ns.x = [ns.x] %}{% endfor %}";
    for (source, what) in [
        (
            "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}".to_owned(),
            "steps",
        ),
        (format!("{{% for i in range(99999) %}}{}{{% endfor %}}", "x".repeat(9999)), "longer than"),
        ("{{ 'x' | indent(1000000000000) }}".to_owned(), "indent"),
        ("{{ 'x' * 1000000000000 }}".to_owned(), "too large"),
        (format!("{nested}{{{{ ns.x }}}}"), "nests deeper"),
        (format!("{nested}{{{{ ns.x | tojson }}}}"), "nests deeper"),
    ] {
        let error = render(&source).expect_err(what).to_string();
        assert!(error.contains(what), "{error}");
    }
}

#[test]
fn python_shows_as_in_jinja2() {
    // Expected: jinja2 3.1.6.
    for (source, expected) in [
        ("{{ bos_token }}{{ messages[-1].content }}{{ eos_token }}{{ undefined }}", "<s>ho</s>"),
        ("{{ [none, true, 'a\\'b', 'a\"b', {'k': [1.0]}] }}", r#"[None, True, "a'b", 'a"b', {'k': [1.0]}]"#),
        ("{{ none }} {{ false }} {{ 'x' ~ 1 }}", "None False x1"),
        ("{{ none is iterable }} {{ 'a' is iterable }} {{ messages is iterable }}", "False True True"),
        ("{{ 'ab'.removeprefix('a') }}{{ 'ab'.removesuffix('b') }}{{ 'ab'.removeprefix('x') }}", "baab"),
        (
            "{{ ' a '.strip() }}{{ 'a-b'.split('-')[1] }}{{ 'abc'[::-1] }}{{ 'abc'.startswith('ab') }}",
            "abcbaTrue",
        ),
        ("{% for i in range(2, -1, -1) %}{{ i }}{% endfor %}", "210"),
        ("{% for m in messages %}\n  {% if m.role == 'user' %}\nu\n  {% endif %}\n{% endfor %}\n", "u\n"),
        ("{% set x = 1 %}{% generation %}{% set x = 2 %}{{ x }}{% endgeneration %}{{ x }}", "21"),
        ("{{ 'a\nb' | indent }}|{{ 'a\nb' | indent(width=1, first=true) }}", "a\n    b| a\n b"),
        ("{{ {'b': 1, 'a': ['<', 'é']} | tojson }}", r#"{"b": 1, "a": ["<", "é"]}"#),
        (
            "{{ tools is none }} {{ documents is none }} {{ strftime_now('%d %b %Y') }}",
            "True True 26 Jul 2024",
        ),
    ] {
        assert_eq!(render(source).as_deref().map_err(ToString::to_string), Ok(expected), "{source}");
    }
}

#[test]
fn further_variables_reach_the_template_and_go_before_its_own() {
    let extra = Map::from_iter([("x".to_owned(), 1.into()), ("bos_token".to_owned(), "<b>".into())]);
    let template =
        ChatTemplate::new("{{ x }}{{ bos_token }}{{ add_generation_prompt }}", "<s>", "").expect("template");
    let options = RenderOptions { extra, ..RenderOptions::default() };
    assert_eq!(template.render(&[], &options).expect("text"), "1<b>True");
}
