//! To the service and back: connections, bodies, tunnels, and the answers that we give ourselves.

pub mod body;
pub mod connect;
pub mod forward;
pub mod frames;
pub mod pool;
pub mod respond;
pub mod tunnel;
pub mod websocket;
