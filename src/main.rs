//! sync_client
fn main() {}
