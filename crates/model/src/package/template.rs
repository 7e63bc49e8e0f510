//! Filling in a package's template: the part of mustache that packages use.
//!
//! `{{a.b}}` is a value, `{{#a.b}}…{{/a.b}}` is there if the value is set, `{{^a.b}}…{{/a.b}}` if it is not. Names start at
//! the outermost object; `false`, `null`, empty text and what is absent are not set. The result is JSON, so text is
//! escaped as JSON and not as HTML: no option can break out of its quotes.
//!
//! Templates are built in; a fault in one is a bug of ours, and [`TemplateFault`] tells the test which.

use serde_json::Value;

/// What is wrong with a template.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TemplateFault {
    #[error("a tag is not closed: {0}")]
    OpenTag(String),
    #[error("section '{0}' is not closed")]
    OpenSection(String),
    #[error("'{0}' closes nothing")]
    NotOpen(String),
}

/// The template with the values of `view`.
pub(super) fn fill(template: &str, view: &Value) -> Result<String, TemplateFault> {
    let mut filled = String::new();
    // The sections that we are in, and whether what is in them is kept.
    let mut sections: Vec<(&str, bool)> = Vec::new();
    let mut rest = template;
    while let Some(start) = rest.find("{{") {
        let is_kept = sections.iter().all(|(_, is_kept)| *is_kept);
        if is_kept {
            filled.push_str(&rest[..start]);
        }
        let tag = &rest[start + 2..];
        let end = tag.find("}}").ok_or_else(|| {
            let shown = tag.lines().next().unwrap_or_default();
            TemplateFault::OpenTag(shown.to_owned())
        })?;
        rest = &tag[end + 2..];
        let tag = &tag[..end];
        if let Some(name) = tag.strip_prefix('#') {
            sections.push((name, is_set(lookup(view, name))));
        } else if let Some(name) = tag.strip_prefix('^') {
            sections.push((name, !is_set(lookup(view, name))));
        } else if let Some(name) = tag.strip_prefix('/') {
            match sections.pop() {
                Some((open, _)) if open == name => {}
                Some(_) | None => return Err(TemplateFault::NotOpen(name.to_owned())),
            }
        } else if is_kept {
            filled.push_str(&shown(lookup(view, tag)));
        }
    }
    if let Some((name, _)) = sections.pop() {
        return Err(TemplateFault::OpenSection(name.to_owned()));
    }
    filled.push_str(rest);
    Ok(filled)
}

fn lookup<'a>(view: &'a Value, name: &str) -> &'a Value {
    name.split('.').fold(view, |value, key| &value[key])
}

/// Whether a section of this value is there.
pub(super) fn is_set(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(is_set) => *is_set,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Number(_) | Value::Object(_) => true,
    }
}

/// A value as it stands in JSON; text without its quotes, which the template has.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(_) => {
            let quoted = value.to_string();
            quoted[1..quoted.len() - 1].to_owned()
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_and_sections() {
        let view = json!({"a": {"b-c": 1.5, "yes": true, "no": false, "text": "x", "none": ""}});
        for (template, expected) in [
            ("plain", "plain"),
            ("<{{a.b-c}}> {{a.yes}} {{a.text}}", "<1.5> true x"),
            ("{{a.gone}}{{gone.b}}", ""),
            ("{{#a.yes}}1{{/a.yes}}{{^a.yes}}2{{/a.yes}}", "1"),
            ("{{#a.no}}1{{/a.no}}{{^a.no}}2{{/a.no}}", "2"),
            ("{{#a.none}}1{{/a.none}}{{#a.text}}2{{/a.text}}", "2"),
            ("{{#a.no}}{{#a.yes}}{{a.text}}{{/a.yes}}{{/a.no}}|", "|"),
            ("{{#a.yes}}{{^a.gone}}{{a.text}}{{/a.gone}}{{/a.yes}}", "x"),
        ] {
            assert_eq!(fill(template, &view).as_deref(), Ok(expected), "{template}");
        }
    }

    #[test]
    fn text_stays_in_its_quotes() {
        let view = json!({"text": "a\"b\\c\nd\u{1}{{text}}"});
        let filled = fill(r#"{"key": "{{text}}"}"#, &view).unwrap();
        let parsed: Value = serde_json::from_str(&filled).unwrap();
        assert_eq!(parsed["key"], view["text"]);
    }

    #[test]
    fn faults_of_templates_are_named() {
        for (template, expected) in [
            ("a {{b", TemplateFault::OpenTag("b".to_owned())),
            ("{{#b}}", TemplateFault::OpenSection("b".to_owned())),
            ("{{#b}}{{/c}}", TemplateFault::NotOpen("c".to_owned())),
            ("{{/c}}", TemplateFault::NotOpen("c".to_owned())),
        ] {
            assert_eq!(fill(template, &Value::Null), Err(expected), "{template}");
        }
    }
}
