//! The port for metrics (--metrics-listen): taken before anything else starts, answered when there may be threads.

use actors::words::without_number;
use actors::{MetricsPort, MetricsSource};

use crate::exit::{Exit, Failure};

/// Takes the port, if one is wanted. There is no thread yet, so the program can still go into the background.
///
/// # Errors
/// [`Exit::Config`] when it is taken, or no address.
pub fn bind(address: Option<&str>) -> Result<Option<MetricsPort>, Failure> {
    let Some(address) = address else { return Ok(None) };
    let bound = MetricsPort::bind(address).map_err(|e| {
        let why = without_number(&e.to_string()).to_string();
        Failure::new(Exit::Config, format!("can't offer metrics at {address}: {why}"))
    });
    bound.map(Some)
}

/// Answers there from now on. Without a port nobody sees what the source shows.
///
/// # Errors
/// [`Exit::Failed`] when there can be no thread.
pub fn start(port: Option<MetricsPort>) -> Result<MetricsSource, Failure> {
    let source = MetricsSource::default();
    if let Some(port) = port {
        port.start(source.clone())
            .map_err(|e| Failure::new(Exit::Failed, format!("can't offer metrics: {e}")))?;
    }
    Ok(source)
}
