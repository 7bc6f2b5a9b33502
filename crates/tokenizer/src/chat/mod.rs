//! Conversations into the text that a model was trained on.

mod clock;
mod json;
mod message;
mod python;
mod source;
mod template;

pub use message::Message;
pub use template::{ChatTemplate, RenderOptions, TemplateError};
