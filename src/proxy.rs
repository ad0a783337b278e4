//! To the service and back: connections, bodies, tunnels, and the answers that we give ourselves.

pub mod connect;
pub mod ending;
pub mod exchange;
pub mod forward;
pub mod frames;
pub mod pool;
pub mod rate_fields;
pub mod request_body;
pub mod respond;
pub mod response_body;
pub mod tunnel;
pub mod websocket;
