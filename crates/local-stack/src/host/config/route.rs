//! Routes of HTTP triggers: ASP.NET's templates, as far as function apps use them.

use uuid::Uuid;

/// A template such as `orders/{id:int}/{*rest}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    template: String,
    segments: Vec<Segment>,
}

/// The parameters in a path, in order: name and value.
pub(crate) type Parameters = Vec<(String, String)>;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Literal(String),
    Parameter {
        name: String,
        constraint: Option<Constraint>,
        is_optional: bool,
    },
    /// Takes the rest of the path, whatever it is.
    Rest(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Constraint {
    Int,
    Long,
    Bool,
    Guid,
    Alpha,
}

impl Route {
    /// Reads a template.
    ///
    /// # Errors
    /// What of it is wrong, or not modelled.
    pub(crate) fn parse(template: &str) -> Result<Self, String> {
        let template = template.trim_matches('/');
        let parts = template.split('/').filter(|part| !part.is_empty());
        let segments = parts.map(segment).collect::<Result<Vec<_>, _>>()?;
        let is_last = |place| place + 1 == segments.len();
        for (place, segment) in segments.iter().enumerate() {
            let must_be_last = match segment {
                Segment::Literal(_) => false,
                Segment::Parameter { is_optional, .. } => *is_optional,
                Segment::Rest(_) => true,
            };
            if must_be_last && !is_last(place) {
                return Err("optional and catch-all parameters must come last".to_owned());
            }
        }
        Ok(Route {
            template: template.to_owned(),
            segments,
        })
    }

    /// As it was written, without slashes around it.
    pub(crate) fn template(&self) -> &str {
        &self.template
    }

    /// The parameters of a decoded path that it fits, in order.
    pub(crate) fn matches(&self, path: &str) -> Option<Parameters> {
        let mut parts = path.split('/').filter(|part| !part.is_empty());
        let mut parameters = Vec::new();
        for segment in &self.segments {
            match segment {
                Segment::Literal(text) => {
                    parts
                        .next()
                        .filter(|part| part.eq_ignore_ascii_case(text))?;
                }
                Segment::Parameter {
                    name,
                    constraint,
                    is_optional,
                } => match parts.next() {
                    Some(part) if constraint.is_none_or(|it| it.allows(part)) => {
                        parameters.push((name.clone(), part.to_owned()));
                    }
                    None if *is_optional => {}
                    _ => return None,
                },
                Segment::Rest(name) => {
                    let rest: Vec<&str> = parts.by_ref().collect();
                    parameters.push((name.clone(), rest.join("/")));
                }
            }
        }
        parts.next().is_none().then_some(parameters)
    }

    /// Which of two routes that both fit comes first: the one that says more, from the left.
    pub(crate) fn precedence(&self) -> Vec<u8> {
        let rank = |segment: &Segment| match segment {
            Segment::Literal(_) => 1,
            Segment::Parameter { constraint, .. } if constraint.is_some() => 2,
            Segment::Parameter { .. } => 3,
            Segment::Rest(_) => 4,
        };
        self.segments.iter().map(rank).collect()
    }
}

fn segment(part: &str) -> Result<Segment, String> {
    let Some(inner) = part
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'))
    else {
        return match part.contains(['{', '}']) {
            true => Err(format!(
                "{part:?}: a parameter must be a whole segment here"
            )),
            false => Ok(Segment::Literal(part.to_owned())),
        };
    };
    if let Some(name) = inner.strip_prefix('*') {
        return Ok(Segment::Rest(name.trim_start_matches('*').to_owned()));
    }
    let (inner, is_optional) = match inner.strip_suffix('?') {
        Some(inner) => (inner, true),
        None => (inner, false),
    };
    let (name, constraint) = match inner.split_once(':') {
        Some((name, constraint)) => (name, Some(Constraint::parse(constraint)?)),
        None => (inner, None),
    };
    if name.is_empty() || name.contains(['{', '}', '=']) {
        return Err(format!("{part:?} is not a parameter"));
    }
    Ok(Segment::Parameter {
        name: name.to_owned(),
        constraint,
        is_optional,
    })
}

impl Constraint {
    fn parse(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "int" => Ok(Constraint::Int),
            "long" => Ok(Constraint::Long),
            "bool" => Ok(Constraint::Bool),
            "guid" => Ok(Constraint::Guid),
            "alpha" => Ok(Constraint::Alpha),
            _ => Err(format!(
                "the constraint {text:?} is not modelled by the stand-in (int, long, bool, guid, alpha are)"
            )),
        }
    }

    fn allows(self, part: &str) -> bool {
        match self {
            Constraint::Int => part.parse::<i32>().is_ok(),
            Constraint::Long => part.parse::<i64>().is_ok(),
            Constraint::Bool => ["true", "false"].contains(&part.to_ascii_lowercase().as_str()),
            Constraint::Guid => part.parse::<Uuid>().is_ok(),
            Constraint::Alpha => part.chars().all(|c| c.is_ascii_alphabetic()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matched(template: &str, path: &str) -> Option<Parameters> {
        Route::parse(template).unwrap().matches(path)
    }

    fn parameters(pairs: &[(&str, &str)]) -> Option<Parameters> {
        let owned = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Some(owned.collect())
    }

    #[test]
    fn a_path_fits_segment_by_segment_and_gives_the_parameters() {
        let template = "orders/{id:int}/{part?}";
        assert_eq!(matched(template, "Orders/7"), parameters(&[("id", "7")]));
        assert_eq!(
            matched(template, "orders/7/x/"),
            parameters(&[("id", "7"), ("part", "x")])
        );
        for path in ["orders", "orders/seven", "orders/7/x/y", "other/7"] {
            assert_eq!(matched(template, path), None, "{path}");
        }
        assert_eq!(
            matched("files/{*path}", "files/a/b"),
            parameters(&[("path", "a/b")])
        );
        assert_eq!(
            matched("/{kind:alpha}/", "abc"),
            parameters(&[("kind", "abc")])
        );
    }

    #[test]
    fn what_says_more_comes_first() {
        let order = |template| Route::parse(template).unwrap().precedence();
        assert!(order("orders/new") < order("orders/{id:int}"));
        assert!(order("orders/{id:int}") < order("orders/{id}"));
        assert!(order("orders/{id}") < order("orders/{*rest}"));
    }

    #[test]
    fn what_is_not_a_template_is_refused_by_name() {
        for (template, named) in [
            ("a/{id:regex(x)}", "regex"),
            ("a/x{id}", "x{id}"),
            ("{*rest}/a", "last"),
            ("{id?}/a", "last"),
            ("{}", "{}"),
        ] {
            let refused = Route::parse(template).unwrap_err();
            assert!(refused.contains(named), "{refused}");
        }
    }
}
