//! Template sources, before they are parsed.

use std::borrow::Cow;

/// Replaces `{% generation %}` and `{% endgeneration %}`, which mark what the assistant said for training.
///
/// They print what is between them in a scope of its own, so `with` does the same. White-space control and line
/// numbers stay as they are.
pub(super) fn without_generation_tags(source: &str) -> Cow<'_, str> {
    if !source.contains("generation") {
        return Cow::Borrowed(source);
    }
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find("{%") {
        let (before, tag) = rest.split_at(at);
        out.push_str(before);
        let len = match generation_tag(tag) {
            Some((len, replacement)) => {
                out.push_str(&tag[..len].replacen(replacement.0, replacement.1, 1));
                len
            }
            None => {
                out.push_str("{%");
                2
            }
        };
        rest = &tag[len..];
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// The length of a generation tag that `tag` begins with, and which word in it becomes which.
fn generation_tag(tag: &str) -> Option<(usize, (&'static str, &'static str))> {
    let end = tag.find("%}")? + 2;
    let inner = tag[2..end - 2].trim_matches(['-', '+']).trim();
    match inner {
        "generation" => Some((end, ("generation", "with"))),
        "endgeneration" => Some((end, ("endgeneration", "endwith"))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generation_tags_become_with_tags() {
        for (source, expected) in [
            ("{% generation %}x{% endgeneration %}", "{% with %}x{% endwith %}"),
            ("a{%- generation -%}\n{{ x }}{%-endgeneration+%}b", "a{%- with -%}\n{{ x }}{%-endwith+%}b"),
            ("{% if add_generation_prompt %}{% endif %}", "{% if add_generation_prompt %}{% endif %}"),
            ("{% generation", "{% generation"),
            ("{%%}generation", "{%%}generation"),
        ] {
            assert_eq!(without_generation_tags(source), expected);
        }
    }
}
