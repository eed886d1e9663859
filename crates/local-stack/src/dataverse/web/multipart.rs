//! `multipart/mixed` as `$batch` uses it: taking requests apart, putting answers together.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use uuid::Uuid;

use super::message::{ApiRequest, ApiResponse};
use crate::dataverse::error::ApiError;
use crate::dataverse::odata::path::below_root;

/// One part: its headers and its content.
#[derive(Debug)]
pub(super) struct Part<'a> {
    pub(super) headers: HeaderMap,
    pub(super) content: &'a [u8],
}

impl Part<'_> {
    pub(super) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.and_then(|v| v.to_str().ok()).unwrap_or_default()
    }
}

/// The boundary of a `multipart/mixed` content type, quoted or not.
pub(super) fn boundary(content_type: &str) -> Option<&str> {
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("multipart/mixed") {
        return None;
    }
    content_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let boundary = name.trim().eq_ignore_ascii_case("boundary");
        boundary.then(|| value.trim().trim_matches('"'))
    })
}

fn unreadable() -> ApiError {
    ApiError::payload("", "Stream was not readable.")
}

/// Splits a body at its boundary. Lines end in CRLF, the last one too.
pub(super) fn parts<'a>(body: &'a [u8], boundary: &str) -> Result<Vec<Part<'a>>, ApiError> {
    let open = format!("--{boundary}");
    let close = format!("--{boundary}--");
    let mut parts = Vec::new();
    let mut started = None;
    let mut at = 0;
    while let Some(length) = find(&body[at..], b"\r\n") {
        let line = body[at..at + length].trim_ascii_end();
        let next = at + length + 2;
        if line == open.as_bytes() || line == close.as_bytes() {
            if let Some(from) = started {
                // The line break before a boundary belongs to the boundary.
                let to = at.saturating_sub(2).max(from);
                parts.push(part(&body[from..to])?);
            }
            if line == close.as_bytes() {
                return Ok(parts);
            }
            started = Some(next);
        }
        at = next;
    }
    Err(unreadable())
}

fn part(bytes: &[u8]) -> Result<Part<'_>, ApiError> {
    let (head, content) = split_head(bytes);
    Ok(Part {
        headers: headers(head)?,
        content,
    })
}

/// Splits at the first empty line; without one, everything is head.
fn split_head(bytes: &[u8]) -> (&[u8], &[u8]) {
    if let Some(rest) = bytes.strip_prefix(b"\r\n") {
        return (&[], rest);
    }
    match find(bytes, b"\r\n\r\n") {
        Some(at) => (&bytes[..at], &bytes[at + 4..]),
        None => (bytes, &[]),
    }
}

fn headers(head: &[u8]) -> Result<HeaderMap, ApiError> {
    let head = std::str::from_utf8(head).map_err(|_| unreadable())?;
    let mut headers = HeaderMap::new();
    for line in head.split("\r\n").filter(|line| !line.is_empty()) {
        let read = || {
            let (name, value) = line.split_once(':')?;
            let name = name.trim().parse::<HeaderName>().ok()?;
            Some((name, value.trim().parse::<HeaderValue>().ok()?))
        };
        let (name, value) = read().ok_or_else(unreadable)?;
        headers.append(name, value);
    }
    Ok(headers)
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}

/// Reads the HTTP request inside an `application/http` part.
pub(super) fn request(part: &Part<'_>) -> Result<ApiRequest, ApiError> {
    if !part.header("content-type").starts_with("application/http") {
        return Err(unreadable());
    }
    let line_end = find(part.content, b"\r\n").unwrap_or(part.content.len());
    let line = std::str::from_utf8(&part.content[..line_end]).map_err(|_| unreadable())?;
    let mut words = line.split(' ');
    let (Some(method), Some(url), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(unreadable());
    };
    if !version.starts_with("HTTP/1.") {
        return Err(unreadable());
    }
    let rest = part.content.get(line_end + 2..).unwrap_or_default();
    let (head, body) = split_head(rest);
    let relative = below_root(url).unwrap_or(url).trim_start_matches('/');
    let (path, query) = relative.split_once('?').unwrap_or((relative, ""));
    Ok(ApiRequest {
        method: method.parse::<Method>().map_err(|_| unreadable())?,
        path: path.to_owned(),
        query: query.to_owned(),
        headers: headers(head)?,
        body: Bytes::copy_from_slice(body),
    })
}

/// A body being put together.
#[derive(Debug)]
pub(super) struct Writer {
    boundary: String,
    body: Vec<u8>,
}

impl Writer {
    /// `prefix` is `batchresponse` or `changesetresponse`: some clients search for these very words.
    pub(super) fn new(prefix: &str) -> Self {
        Self {
            boundary: format!("{prefix}_{}", Uuid::new_v4()),
            body: Vec::new(),
        }
    }

    pub(super) fn content_type(&self) -> String {
        format!("multipart/mixed; boundary={}", self.boundary)
    }

    /// Adds the answer to one operation.
    pub(super) fn add(&mut self, content_id: Option<&str>, answer: &ApiResponse) {
        self.line(&format!("--{}", self.boundary));
        self.line("Content-Type: application/http");
        self.line("Content-Transfer-Encoding: binary");
        if let Some(id) = content_id {
            self.line(&format!("Content-ID: {id}"));
        }
        self.line("");
        let reason = answer.status.canonical_reason().unwrap_or_default();
        self.line(&format!("HTTP/1.1 {} {reason}", answer.status.as_u16()));
        if answer.status.is_client_error() || answer.status.is_server_error() {
            self.line(&format!("REQ_ID: {}", Uuid::new_v4()));
        }
        for (name, value) in &answer.headers {
            let value = value.to_str().unwrap_or_default();
            self.line(&format!("{}: {value}", spelled(name.as_str())));
        }
        self.line("");
        self.body.extend_from_slice(&answer.body);
        self.line("");
    }

    /// Adds a change set's answers.
    pub(super) fn nest(&mut self, inner: Self) {
        self.line(&format!("--{}", self.boundary));
        self.line(&format!("Content-Type: {}", inner.content_type()));
        self.line("");
        self.body.extend_from_slice(&inner.finish());
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.line(&format!("--{}--", self.boundary));
        self.body
    }

    fn line(&mut self, line: &str) {
        self.body.extend_from_slice(line.as_bytes());
        self.body.extend_from_slice(b"\r\n");
    }
}

/// Header names as Dataverse spells them, for readers that compare them literally.
fn spelled(name: &str) -> &str {
    match name {
        "content-type" => "Content-Type",
        "odata-version" => "OData-Version",
        "odata-entityid" => "OData-EntityId",
        "location" => "Location",
        "preference-applied" => "Preference-Applied",
        "retry-after" => "Retry-After",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boundary_is_found_quoted_or_not() {
        assert_eq!(boundary("multipart/mixed; boundary=\"a b\""), Some("a b"));
        assert_eq!(boundary("multipart/mixed;boundary=x_1"), Some("x_1"));
        assert_eq!(boundary("application/json"), None);
    }

    #[test]
    fn a_request_is_read_out_of_its_part() {
        let body = b"\r\n--b\r\nContent-Type: application/http\r\n\r\nPATCH http://h/api/data/v9.2/accounts(1)?tag=x HTTP/1.1\r\nIf-Match: *\r\n\r\n{\"name\":\"A\"}\r\n--b--\r\n";
        let parts = parts(body, "b").unwrap();
        let request = request(&parts[0]).unwrap();
        assert_eq!(request.method, Method::PATCH);
        assert_eq!(
            (request.path.as_str(), request.query.as_str()),
            ("accounts(1)", "tag=x")
        );
        assert_eq!(request.header("if-match"), Some("*"));
        assert_eq!(&request.body[..], b"{\"name\":\"A\"}");
    }

    #[test]
    fn a_request_without_headers_or_body_is_read() {
        let body = b"--b\r\nContent-Type: application/http\r\n\r\nGET WhoAmI HTTP/1.1\r\n--b--\r\n";
        let parts = parts(body, "b").unwrap();
        assert_eq!(request(&parts[0]).unwrap().path, "WhoAmI");
    }

    #[test]
    fn a_body_without_its_last_line_end_is_unreadable() {
        let body = b"--b\r\nContent-Type: application/http\r\n\r\nGET WhoAmI HTTP/1.1\r\n\r\n--b--";
        assert_eq!(parts(body, "b").unwrap_err().code, "0x80048d19");
    }
}
