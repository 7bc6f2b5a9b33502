//! Chat templates in the environment that Hugging Face gives them.

use std::io;
use std::time::SystemTime;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, Error, ErrorKind, Value};
use serde_json::Map;

use super::{Message, clock, json, python, source};

/// Instructions that one rendering may take: hundreds of times what a long conversation needs.
const FUEL: u64 = 20_000_000;
/// Bytes that one rendering may write.
const MAX_OUTPUT_BYTES: usize = 64 << 20;
/// What errors call the template.
const NAME: &str = "chat template";

/// A chat template that does not parse, or cannot render a conversation.
#[derive(Debug, thiserror::Error)]
#[error("{NAME}{}: {what}; give another one with --chat-template", line.map(|line| format!(", line {line}")).unwrap_or_default())]
pub struct TemplateError {
    /// Line in the template, from 1; `None` if no line is to blame.
    pub line: Option<usize>,
    /// What is wrong, in the template's own words if it raised the error itself.
    pub what: String,
    /// What the template engine said.
    #[source]
    source: Error,
}

impl TemplateError {
    fn new(error: Error) -> Self {
        let what = match (error.kind(), error.detail()) {
            (ErrorKind::OutOfFuel, _) => "rendering takes too many steps".to_owned(),
            (ErrorKind::WriteFailure, _) => format!("the text is longer than {MAX_OUTPUT_BYTES} bytes"),
            // The kind of what a template raises itself.
            (ErrorKind::InvalidOperation, Some(detail)) => detail.to_owned(),
            (kind, Some(detail)) => format!("{kind}: {detail}"),
            (kind, None) => kind.to_string(),
        };
        Self { line: error.line(), what, source: error }
    }
}

/// What a rendering depends on besides the conversation.
#[derive(Debug, Clone)]
pub struct RenderOptions {
    /// End with the words that make the assistant speak.
    pub add_generation_prompt: bool,
    /// Further variables of the template: `tools`, `documents`, `enable_thinking`.
    pub extra: Map<String, serde_json::Value>,
    /// What `strftime_now` says, in UTC.
    pub now: SystemTime,
}

impl Default for RenderOptions {
    /// A generation prompt, no further variables, the time of the call.
    fn default() -> Self {
        Self { add_generation_prompt: true, extra: Map::new(), now: SystemTime::now() }
    }
}

/// A parsed chat template, to be shared between threads.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    source: String,
    bos: String,
    eos: String,
}

impl ChatTemplate {
    /// Parses `source`; `bos` and `eos` are the texts of those tokens, empty where the vocabulary has none.
    ///
    /// # Errors
    /// [`TemplateError`] with the line that does not parse.
    pub fn new(source: &str, bos: &str, eos: &str) -> Result<Self, TemplateError> {
        let source = source::without_generation_tags(source).into_owned();
        let environment = environment(SystemTime::UNIX_EPOCH).map_err(TemplateError::new)?;
        environment.template_from_named_str(NAME, &source).map_err(TemplateError::new)?;
        Ok(Self { source, bos: bos.to_owned(), eos: eos.to_owned() })
    }

    /// The text of a conversation. It holds control tokens by name, BOS too if the template writes it: encode it
    /// with `parse_special`.
    ///
    /// # Errors
    /// [`TemplateError`] if the template raises an error (it may refuse a role or an order of roles), asks for
    /// what is not there, or takes too many steps.
    pub fn render(&self, messages: &[Message], options: &RenderOptions) -> Result<String, TemplateError> {
        let messages: Vec<_> = messages.iter().map(Message::to_template).collect();
        let mut variables = options.extra.clone();
        // What a caller passes in `extra` goes first: it may want another BOS, say.
        for (name, text) in [("bos_token", &self.bos), ("eos_token", &self.eos)] {
            variables.entry(name).or_insert_with(|| text.as_str().into());
        }
        variables.insert("messages".into(), messages.into());
        variables.insert("add_generation_prompt".into(), options.add_generation_prompt.into());
        // Hugging Face always passes these two, and templates test them against none.
        for name in ["tools", "documents"] {
            variables.entry(name).or_insert(serde_json::Value::Null);
        }

        let environment = environment(options.now).map_err(TemplateError::new)?;
        let template = environment.template_from_named_str(NAME, &self.source).map_err(TemplateError::new)?;
        let mut out = Capped(Vec::new());
        template.render_captured_to(Serde(&variables), &mut out).map_err(TemplateError::new)?;
        String::from_utf8(out.0).map_err(|error| {
            let error = Error::new(ErrorKind::WriteFailure, "the output is not UTF-8").with_source(error);
            TemplateError::new(error)
        })
    }
}

/// Jinja as `apply_chat_template` of `transformers` sets it up.
fn environment(now: SystemTime) -> Result<Environment<'static>, Error> {
    let mut environment = Environment::new();
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.set_fuel(Some(FUEL));
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_unknown_method_callback(python::method);
    environment.set_formatter(python::print);
    environment.add_test("iterable", python::is_iterable);
    environment.add_filter("tojson", json::tojson);
    environment.add_filter("indent", python::indent);
    environment.add_function("raise_exception", |message: String| -> Result<Value, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, message))
    });
    environment.add_function("strftime_now", move |format: String| {
        clock::strftime(now, &format).map_err(|directive| {
            Error::new(ErrorKind::InvalidOperation, format!("strftime_now does not know `{directive}`"))
        })
    });
    Ok(environment)
}

/// Output that ends in an error rather than in all of memory.
struct Capped(Vec<u8>);

impl io::Write for Capped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_OUTPUT_BYTES {
            return Err(io::Error::other(format!("more than {MAX_OUTPUT_BYTES} bytes of output")));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
