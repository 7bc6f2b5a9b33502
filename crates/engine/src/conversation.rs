//! A chat: messages, rendered anew for each turn.

use crate::error::GenerateError;
use crate::generate::{GenerateOptions, Generation};
use crate::language_model::Model;
use crate::session::Session;
use std::ops::ControlFlow;
use std::sync::Arc;
use tokenizer::{Message, RenderOptions, TemplateError};

/// A chat. Each turn renders all of it by the model's template; what the session's KV cache holds of that already is not
/// computed again.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Conversation {
    messages: Vec<Message>,
}

/// A turn that failed. The conversation is as it was before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChatError {
    /// The model has no chat template.
    #[error(
        "the model has no chat template, so it may not be made for chats; \
         give a template with --chat-template, or the bare prompt with run --raw"
    )]
    NoTemplate,
    /// The file's chat template does not parse.
    #[error(transparent)]
    BadTemplate(Arc<TemplateError>),
    /// The chat template cannot render this conversation.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The answer could not be generated.
    #[error(transparent)]
    Generate(#[from] GenerateError),
}

impl Conversation {
    /// A conversation that begins with a system prompt, if there is one.
    #[must_use]
    pub fn new(system: Option<&str>) -> Self {
        Self { messages: system.map(|text| Message::new("system", text)).into_iter().collect() }
    }

    /// All messages so far.
    #[must_use]
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// Adds a message without asking for an answer.
    pub fn push(&mut self, message: Message) {
        self.messages.push(message);
    }

    /// Forgets all messages but the system prompt.
    pub fn clear(&mut self) {
        self.messages.retain(|message| message.role == "system");
    }

    /// The prompt that asks for the next answer, as the template writes it.
    ///
    /// # Errors
    /// There is no template, or it cannot render this conversation.
    pub fn render(&self, model: &Model) -> Result<String, ChatError> {
        let template = model.chat_template().map_err(ChatError::BadTemplate)?.ok_or(ChatError::NoTemplate)?;
        Ok(template.render(&self.messages, &RenderOptions::default())?)
    }

    /// Says `text` as the user, generates the answer and adds it; what was said of a cancelled answer counts.
    ///
    /// # Errors
    /// See [`ChatError`].
    pub fn say(
        &mut self,
        text: &str,
        session: &mut Session<'_>,
        options: &GenerateOptions,
        on_piece: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Generation, ChatError> {
        self.push(Message::new("user", text));
        let answer = self.answer(session, options, on_piece);
        if answer.is_err() {
            self.messages.pop();
        }
        answer
    }

    /// Generates an answer to the messages so far and adds it.
    ///
    /// # Errors
    /// See [`ChatError`].
    pub fn answer(
        &mut self,
        session: &mut Session<'_>,
        options: &GenerateOptions,
        on_piece: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Generation, ChatError> {
        let prompt = self.render(session.model())?;
        let generation = session.generate(&prompt, options, on_piece)?;
        self.push(Message::new("assistant", generation.text.as_str()));
        Ok(generation)
    }

    /// Takes back the last answer, so that [`Conversation::answer`] gives another one; whether there was one.
    pub fn retract_answer(&mut self) -> bool {
        self.messages.pop_if(|message| message.role == "assistant").is_some()
    }
}
