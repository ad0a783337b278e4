//! `sidegate schema`: the configuration as a JSON Schema, for editors.

use crate::config::schema;
use crate::console::{Console, Status};

/// Prints the schema.
pub(super) fn schema(console: &mut Console<'_>) -> Status {
    console.say(format_args!("{:#}", schema::schema()));
    Status::Well
}
