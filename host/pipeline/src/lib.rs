//! The way of a request through the gateway, and the rules it keeps.
