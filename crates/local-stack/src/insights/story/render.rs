//! A story as text.

use std::fmt::Write;

use time::format_description::well_known::Rfc3339;

use super::{Kind, Node, Story};

/// Whether to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paint {
    /// For a terminal.
    Colour,
    /// For a file or another program.
    Plain,
}

impl Paint {
    fn paint(self, code: &str, text: &str) -> String {
        match self {
            Self::Colour => format!("\x1b[{code}m{text}\x1b[0m"),
            Self::Plain => text.to_owned(),
        }
    }
}

/// Custom dimensions that are worth a place in the line of a request, and how they are called there.
const TOLD: [(&str, &str); 7] = [
    ("disposition", ""),
    ("outcome", ""),
    ("delay_ms", "again in ms "),
    ("reason", "reason "),
    ("target", "target "),
    ("notifications", "notifications "),
    ("page_rows", "rows "),
];

/// The story as a tree: start offset, duration, cloud role, and what it was.
pub fn render(story: &Story, paint: Paint) -> String {
    let mut text = String::new();
    let list = |what: &str, of: Vec<&str>| match of.len() {
        0 => String::new(),
        1..=3 => format!("{what} {}\n", of.join(", ")),
        many => format!("{what} {} and {} more\n", of[..3].join(", "), many - 3),
    };
    text += &list(
        "row        ",
        story.rows.iter().map(String::as_str).collect(),
    );
    let correlation = story.correlation_ids.iter().map(String::as_str);
    text += &list("correlation", correlation.collect());
    let operations = story.operations.iter().map(String::as_str);
    text += &list("operation  ", operations.collect());
    let retries = match story.retries {
        0 => String::new(),
        1 => ", 1 retry".to_owned(),
        many => format!(", {many} retries"),
    };
    let began = story.began.format(&Rfc3339).unwrap_or_default();
    let _ = writeln!(
        text,
        "began       {began}, took {}{retries}\n",
        took(story.took_ms)
    );
    let roles = widest(&story.roots);
    for root in &story.roots {
        line(&mut text, root, "", "", roles, paint);
    }
    text
}

fn widest(nodes: &[Node]) -> usize {
    let each = nodes
        .iter()
        .map(|node| node.role.chars().count().max(widest(&node.children)));
    each.max().unwrap_or(0)
}

fn line(text: &mut String, node: &Node, own: &str, below: &str, roles: usize, paint: Paint) {
    let offset = format!("+{}", took(node.offset_ms));
    let lasted = match node.kind {
        Kind::Request | Kind::Dependency => took(node.took_ms),
        _ => String::new(),
    };
    let role = format!("{:<roles$}", node.role);
    let what = what(node);
    let what = match (node.failed, node.kind, node.linked) {
        (true, ..) => paint.paint("31", &what),
        (_, Kind::Message, _) => paint.paint("33", &what),
        (_, _, true) => paint.paint("2", &what),
        (_, Kind::Request, _) => paint.paint("1", &what),
        _ => what,
    };
    let tree = paint.paint("2", own);
    let _ = writeln!(
        text,
        "{offset:>10} {lasted:>9}  {}  {tree}{what}",
        paint.paint("36", &role)
    );
    for (index, child) in node.children.iter().enumerate() {
        let is_last = index + 1 == node.children.len();
        let (branch, rest) = if is_last {
            ("└─ ", "   ")
        } else {
            ("├─ ", "│  ")
        };
        line(
            text,
            child,
            &format!("{below}{branch}"),
            &format!("{below}{rest}"),
            roles,
            paint,
        );
    }
}

/// What an item was, in words.
fn what(node: &Node) -> String {
    let mut words = Vec::new();
    if node.linked {
        words.push("shared:".to_owned());
    }
    match node.kind {
        Kind::Exception => words.push(format!("! {}: {}", node.name, node.detail)),
        Kind::Message => words.push(format!("! {}", node.name)),
        Kind::Dependency if node.detail != "InProc" => {
            words.push(node.name.clone());
            let peer = node.properties.get("peer").map_or("", String::as_str);
            let to = match (peer, node.target.as_str()) {
                ("", "") => String::new(),
                ("", target) => format!("to {target}"),
                (peer, _) => format!("to {peer}"),
            };
            words.push(to);
            words.push(node.result.clone());
        }
        _ => words.push(node.name.clone()),
    }
    if node.retry > 0 {
        words.push(format!("(retry {})", node.retry));
    }
    if matches!(node.kind, Kind::Request | Kind::Dependency) {
        if node.success == Some(false) {
            words.push("failed".to_owned());
        }
        for (name, label) in TOLD {
            if let Some(value) = node.properties.get(name) {
                words.push(format!("{label}{value}"));
            }
        }
    }
    words.retain(|word| !word.is_empty());
    // Text of others never breaks the tree.
    let text = words.join(" ");
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// Milliseconds in the unit that reads best.
fn took(ms: f64) -> String {
    match ms {
        ms if ms >= 60_000.0 => {
            let seconds = (ms / 1e3).round();
            format!(
                "{:.0} min {:.0} s",
                (seconds / 60.0).floor(),
                seconds % 60.0
            )
        }
        ms if ms >= 10_000.0 => format!("{:.1} s", ms / 1e3),
        ms if ms >= 10.0 || ms == 0.0 => format!("{ms:.0} ms"),
        ms => format!("{ms:.1} ms"),
    }
}
