//! STUB, dropped at merge: the JSON Schema.

/// The JSON Schema of the configuration.
#[must_use]
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(super::Config).to_value()
}
