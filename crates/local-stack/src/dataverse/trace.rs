//! W3C trace context of a save.

use uuid::Uuid;

/// The trace context to pass on: what the request carried, if it is well formed, else a new trace.
pub(super) fn parent(sent: Option<&str>) -> String {
    match sent {
        Some(sent) if is_well_formed(sent) => sent.to_owned(),
        _ => {
            let span = &Uuid::new_v4().simple().to_string()[..16];
            format!("00-{}-{span}-01", Uuid::new_v4().simple())
        }
    }
}

fn is_well_formed(traceparent: &str) -> bool {
    let lengths: Vec<usize> = traceparent.split('-').map(str::len).collect();
    let hex = |c: char| c == '-' || (c.is_ascii_hexdigit() && !c.is_ascii_uppercase());
    lengths == [2, 32, 16, 2] && traceparent.chars().all(hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_continued_and_anything_else_begins_a_new_one() {
        let sent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(parent(Some(sent)), sent);
        for bad in [None, Some(""), Some("00-XYZ-1-01")] {
            assert!(is_well_formed(&parent(bad)));
        }
    }
}
