//! What an item must hold to be taken in.
//!
//! Required members as in the schema behind the official exporters (`TelemetryItem` and the `...Data` models
//! of azure-monitor-opentelemetry-exporter 1.0.0b58). Text that is too long is not refused, as the service
//! cuts it.

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::item::duration;

/// Checks one item for the resource with this instrumentation key.
///
/// # Errors
/// What is wrong, in the words that go back to the sender.
pub(super) fn check(item: &Value, key: Uuid) -> Result<(), String> {
    text(item, "", "name")?;
    let time = text(item, "", "time")?;
    if OffsetDateTime::parse(time, &Rfc3339).is_err() {
        return Err(format!(
            "Field 'time' on type 'Envelope' is not a time: {time}"
        ));
    }
    let sent = text(item, "", "iKey")?;
    if Uuid::parse_str(sent).ok() != Some(key) {
        return Err("Invalid instrumentation key".to_owned());
    }
    if let Some(rate) = item.get("sampleRate")
        && rate
            .as_f64()
            .is_none_or(|rate| !(0.0..=100.0).contains(&rate))
    {
        return Err("Field 'sampleRate' on type 'Envelope' is not a percentage".to_owned());
    }
    texts(item, "Envelope", "tags")?;
    let data = item.get("data").unwrap_or(&Value::Null);
    let base_type = text(data, "Data", "baseType")?;
    let base = data.get("baseData").unwrap_or(&Value::Null);
    if !base.is_object() {
        return Err(required("Data", "baseData"));
    }
    if base.get("ver").and_then(Value::as_u64).is_none() {
        return Err(required(base_type, "ver"));
    }
    texts(base, base_type, "properties")?;
    body(base_type, base)
}

fn body(base_type: &str, base: &Value) -> Result<(), String> {
    match base_type {
        "RequestData" => {
            for name in ["id", "responseCode"] {
                text(base, base_type, name)?;
            }
            lasts(base, base_type)?;
            match base.get("success") {
                Some(Value::Bool(_)) => Ok(()),
                _ => Err(required(base_type, "success")),
            }
        }
        "RemoteDependencyData" => {
            text(base, base_type, "name")?;
            lasts(base, base_type)
        }
        "ExceptionData" => {
            for exception in some(base, base_type, "exceptions")? {
                text(exception, "ExceptionDetails", "message")?;
            }
            Ok(())
        }
        "MessageData" => text(base, base_type, "message").map(drop),
        "MetricData" => {
            for metric in some(base, base_type, "metrics")? {
                text(metric, "DataPoint", "name")?;
                if !metric.get("value").is_some_and(Value::is_number) {
                    return Err(required("DataPoint", "value"));
                }
            }
            Ok(())
        }
        "EventData" => text(base, base_type, "name").map(drop),
        "PageViewData" | "PageViewPerfData" | "AvailabilityData" => {
            text(base, base_type, "name")?;
            text(base, base_type, "id").map(drop)
        }
        unknown => Err(format!(
            "Field 'baseType' on type 'Data' is unknown: {unknown}"
        )),
    }
}

fn required(of: &str, name: &str) -> String {
    let of = if of.is_empty() { "Envelope" } else { of };
    format!("Field '{name}' on type '{of}' is required but missing or empty, or of another type.")
}

/// A text that must be there; only its presence counts in `message`, which may be empty.
fn text<'a>(of: &'a Value, kind: &str, name: &str) -> Result<&'a str, String> {
    let found = of.get(name).and_then(Value::as_str);
    let found = found.filter(|found| !found.is_empty() || name == "message");
    found.ok_or_else(|| required(kind, name))
}

fn lasts(base: &Value, base_type: &str) -> Result<(), String> {
    let sent = text(base, base_type, "duration")?;
    match duration(sent) {
        Some(_) => Ok(()),
        None => Err(format!(
            "Field 'duration' on type '{base_type}' is not DD.HH:MM:SS.MMMMMM: {sent}"
        )),
    }
}

fn some<'a>(base: &'a Value, base_type: &str, name: &str) -> Result<&'a [Value], String> {
    let found = base.get(name).and_then(Value::as_array);
    let found = found.filter(|found| !found.is_empty());
    found
        .map(Vec::as_slice)
        .ok_or_else(|| required(base_type, name))
}

/// A map of texts to texts, which may be absent.
fn texts(of: &Value, kind: &str, name: &str) -> Result<(), String> {
    match of.get(name) {
        None | Some(Value::Null) => Ok(()),
        Some(Value::Object(members)) if members.values().all(Value::is_string) => Ok(()),
        Some(_) => Err(format!(
            "Field '{name}' on type '{kind}' is not a map of texts"
        )),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const KEY: Uuid = Uuid::from_u128(7);

    fn request() -> Value {
        json!({
            "name": "Microsoft.ApplicationInsights.Request", "time": "2026-03-02T10:00:00.123Z", "iKey": KEY,
            "tags": {"ai.cloud.role": "outbound-fn"},
            "data": {"baseType": "RequestData", "baseData": {"ver": 2, "id": "00000000000000aa",
                "name": "Outbound", "duration": "0.00:00:00.012000", "success": true, "responseCode": "0"}}
        })
    }

    #[test]
    fn a_whole_item_is_taken_in() {
        assert_eq!(check(&request(), KEY), Ok(()));
    }

    #[test]
    fn an_item_without_a_required_member_is_refused_by_its_name() {
        for (pointer, name) in [
            ("", "name"),
            ("", "time"),
            ("", "iKey"),
            ("/data", "baseType"),
            ("/data", "baseData"),
            ("/data/baseData", "ver"),
            ("/data/baseData", "id"),
            ("/data/baseData", "duration"),
            ("/data/baseData", "success"),
            ("/data/baseData", "responseCode"),
        ] {
            let mut item = request();
            let holder = item.pointer_mut(pointer).and_then(Value::as_object_mut);
            holder.unwrap().remove(name);
            let refused = check(&item, KEY).unwrap_err();
            assert!(refused.contains(&format!("'{name}'")), "{name}: {refused}");
        }
    }

    #[test]
    fn an_item_of_another_resource_is_refused() {
        let refused = check(&request(), Uuid::from_u128(8)).unwrap_err();
        assert_eq!(refused, "Invalid instrumentation key");
    }

    #[test]
    fn a_property_that_is_no_text_is_refused() {
        let mut item = request();
        item["data"]["baseData"]["properties"] = json!({"retry_count": 2});
        assert!(check(&item, KEY).unwrap_err().contains("'properties'"));
    }
}
