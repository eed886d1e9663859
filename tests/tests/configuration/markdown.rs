//! Markdown.

/// The anchor that GitHub gives a heading.
pub(super) fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter_map(|c| match c {
        ' ' => Some('-'),
        c if c.is_alphanumeric() || matches!(c, '-' | '_') => Some(c.to_ascii_lowercase()),
        _ => None,
    });
    kept.collect()
}

/// A link to a heading of the same document.
pub(super) fn link(text: &str, heading: &str) -> String {
    format!("[{text}](#{})", anchor(heading))
}

/// Code, which may hold backticks of its own nowhere in these documents.
pub(super) fn code(text: &str) -> String {
    format!("`{text}`")
}

/// A table.
pub(super) fn table<const N: usize>(heads: [&str; N], rows: &[[String; N]]) -> String {
    let line = |cells: &[String]| {
        let cells: Vec<_> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let mut text = line(&heads.map(str::to_owned));
    text.push_str(&format!("|{}\n", "---|".repeat(N)));
    rows.iter().for_each(|row| text.push_str(&line(row)));
    text
}

/// The lines of a doc comment as one.
pub(super) fn prose(comment: &str) -> String {
    comment.split_whitespace().collect::<Vec<_>>().join(" ")
}
