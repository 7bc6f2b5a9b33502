//! One turn of a conversation.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One turn of a conversation, in the shape of OpenAI's chat API.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks: `system`, `user`, `assistant`, `tool`, or what else the template knows.
    pub role: String,
    /// What is said: a text; for some models a list of parts; null where there are only tool calls.
    #[serde(default)]
    pub content: Value,
    /// Any other field that the template reads: `tool_calls`, `name`, `reasoning_content`.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Message {
    /// A turn without other fields.
    pub fn new(role: impl Into<String>, content: impl Into<Value>) -> Self {
        Self { role: role.into(), content: content.into(), extra: Map::new() }
    }

    /// The fields as a template sees them.
    ///
    /// The arguments of tool calls, which the API sends as JSON in a string, become the object that templates expect.
    pub(crate) fn to_template(&self) -> Map<String, Value> {
        let mut fields = Map::new();
        fields.insert("role".into(), self.role.clone().into());
        fields.insert("content".into(), self.content.clone());
        fields.extend(self.extra.clone());
        if let Some(Value::Array(calls)) = fields.get_mut("tool_calls") {
            for call in calls {
                let arguments = match call.pointer("/function/arguments").is_some() {
                    true => call.pointer_mut("/function/arguments"),
                    false => call.pointer_mut("/arguments"),
                };
                if let Some(arguments) = arguments
                    && let Some(Ok(object @ Value::Object(_))) = arguments.as_str().map(serde_json::from_str)
                {
                    *arguments = object;
                }
            }
        }
        fields
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn arguments_in_a_string_become_an_object() {
        for (sent, seen) in [
            (json!("{\"a\": 1}"), json!({"a": 1})),
            (json!({"a": 1}), json!({"a": 1})),
            (json!("no json"), json!("no json")),
            (json!("[1]"), json!("[1]")),
        ] {
            let mut message = Message::new("assistant", Value::Null);
            message
                .extra
                .insert("tool_calls".into(), json!([{"function": {"name": "f", "arguments": sent}}]));
            assert_eq!(message.to_template()["tool_calls"][0]["function"]["arguments"], seen);
        }
    }

    #[test]
    fn a_message_reads_from_the_api_shape() {
        let message: Message =
            serde_json::from_value(json!({"role": "tool", "content": "42", "name": "f"})).expect("message");
        assert_eq!(message.content, "42");
        assert_eq!(message.extra["name"], "f");
    }
}
