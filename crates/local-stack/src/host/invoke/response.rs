//! What the handler's answer means (azure-functions-host `ProcessDefaultInvocationRequest`).

use bytes::Bytes;
use serde_json::{Map, Value};

/// An HTTP answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content_type: Option<String>,
    pub(crate) content_length: Option<u64>,
    pub(crate) body: Bytes,
}

/// A successful invocation's answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct HandlerResult {
    pub(crate) outputs: Map<String, Value>,
    pub(crate) logs: Vec<String>,
    pub(crate) return_value: Value,
}

/// What an answer means.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Meaning {
    Success(HandlerResult),
    Failure(String),
    /// The answer becomes `null` in the host, which then waits until the function's timeout.
    NeverCompletes(&'static str),
}

impl Answer {
    pub(crate) fn meaning(&self) -> Meaning {
        if !(200..300).contains(&self.status) {
            return Meaning::Failure(format!(
                "Response status code does not indicate success: {}",
                self.status
            ));
        }
        if self.body.is_empty() && (self.status == 204 || self.content_length == Some(0)) {
            return Meaning::NeverCompletes("it answered with an empty body");
        }
        if !self.is_json() {
            let content_type = self.content_type.as_deref().unwrap_or("none");
            return Meaning::Failure(format!(
                "the answer's Content-Type must be application/json or text/json, it is {content_type}"
            ));
        }
        if self.body.trim_ascii().is_empty() {
            return Meaning::NeverCompletes("it answered with an empty body");
        }
        match serde_json::from_slice(&self.body) {
            Ok(Value::Null) => Meaning::NeverCompletes("it answered with null"),
            Ok(Value::Object(members)) => match HandlerResult::read(members) {
                Ok(result) => Meaning::Success(result),
                Err(reason) => Meaning::Failure(reason),
            },
            Ok(_) => Meaning::Failure("the answer is not a JSON object".to_owned()),
            Err(error) => Meaning::Failure(format!("the answer is not JSON: {error}")),
        }
    }

    fn is_json(&self) -> bool {
        let media_type = self.content_type.as_deref().unwrap_or_default();
        let media_type = media_type.split(';').next().unwrap_or_default().trim();
        ["application/json", "text/json"]
            .iter()
            .any(|json| json.eq_ignore_ascii_case(media_type))
    }
}

impl HandlerResult {
    /// Member names are matched without regard to case, unknown ones ignored.
    fn read(members: Map<String, Value>) -> Result<Self, String> {
        let mut result = Self::default();
        for (name, value) in members {
            match (name.to_ascii_lowercase().as_str(), value) {
                ("outputs" | "logs", Value::Null) => {}
                ("outputs", Value::Object(outputs)) => result.outputs = outputs,
                ("outputs", _) => return Err("Outputs is not an object".to_owned()),
                ("logs", Value::Array(lines)) => {
                    let text = |line| match line {
                        Value::String(text) => Ok(text),
                        Value::Array(_) | Value::Object(_) => {
                            Err("Logs has an element that is not a string".to_owned())
                        }
                        scalar => Ok(scalar.to_string()),
                    };
                    result.logs = lines.into_iter().map(text).collect::<Result<_, _>>()?;
                }
                ("logs", _) => return Err("Logs is not a list".to_owned()),
                ("returnvalue", value) => result.return_value = value,
                _ => {}
            }
        }
        Ok(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, content_type: Option<&str>, body: &'static str) -> Answer {
        Answer {
            status,
            content_type: content_type.map(str::to_owned),
            content_length: Some(body.len() as u64),
            body: Bytes::from_static(body.as_bytes()),
        }
    }

    const JSON: Option<&str> = Some("application/json; charset=utf-8");

    #[test]
    fn the_golden_answers_succeed() {
        macro_rules! golden {
            ($name:literal) => {
                include_str!(concat!(
                    "../../../../custom-handler/tests/golden/",
                    $name,
                    ".json"
                ))
            };
        }
        for body in [
            golden!("r1-minimal"),
            golden!("r2-output-and-logs"),
            golden!("r3-return-value"),
            golden!("r4-http-output"),
        ] {
            assert!(
                matches!(answer(200, JSON, body).meaning(), Meaning::Success(_)),
                "{body}"
            );
        }
        let Meaning::Success(result) = answer(202, JSON, golden!("r2-output-and-logs")).meaning()
        else {
            panic!("not a success")
        };
        assert_eq!(result.logs, ["order 42 done"]);
        assert_eq!(result.outputs["outq"][1], "second");
        assert!(matches!(
            answer(500, JSON, golden!("r5-problem")).meaning(),
            Meaning::Failure(_)
        ));
    }

    #[test]
    fn an_empty_success_never_completes() {
        let chunked = |content_type| Answer {
            content_length: None,
            ..answer(200, content_type, "")
        };
        for answer in [
            answer(200, JSON, ""),
            answer(200, None, ""),
            answer(200, Some("text/plain"), ""),
            Answer {
                content_length: None,
                ..answer(204, None, "")
            },
            chunked(JSON),
            answer(200, JSON, "null"),
            answer(200, JSON, " null "),
        ] {
            assert!(
                matches!(answer.meaning(), Meaning::NeverCompletes(_)),
                "{answer:?}"
            );
        }
        // Without a known length and without a JSON type, the type is looked at first.
        assert!(matches!(
            chunked(Some("text/plain")).meaning(),
            Meaning::Failure(_)
        ));
    }

    #[test]
    fn what_is_not_a_json_object_fails() {
        for answer in [
            answer(200, Some("text/plain"), "ok"),
            answer(200, None, "{}"),
            answer(200, Some("application/problem+json"), "{}"),
            answer(200, JSON, "not-json"),
            answer(200, JSON, "[]"),
            answer(200, JSON, r#"{"Outputs": 1}"#),
            answer(200, JSON, r#"{"Logs": "one"}"#),
            answer(404, JSON, "{}"),
            answer(500, None, ""),
        ] {
            assert!(
                matches!(answer.meaning(), Meaning::Failure(_)),
                "{answer:?}"
            );
        }
    }

    #[test]
    fn member_names_are_matched_without_regard_to_case() {
        let Meaning::Success(result) = answer(
            200,
            JSON,
            r#"{"LOGS": ["a", 1], "outputs": {"Q": []}, "x": 1}"#,
        )
        .meaning() else {
            panic!("not a success")
        };
        assert_eq!(result.logs, ["a", "1"]);
        assert!(result.outputs.contains_key("Q"));
    }
}
