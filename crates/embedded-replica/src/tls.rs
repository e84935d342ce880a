//! A certificate for STARTTLS, made at the start: nobody has a reason to trust it.

use std::sync::Arc;

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::server::ServeError;

/// TLS as this machine's `localhost`.
pub(crate) fn config() -> Result<Arc<rustls::ServerConfig>, ServeError> {
    let failed = |e: &dyn std::fmt::Display| ServeError::Certificate(e.to_string());
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_string()]);
    let made = made.map_err(|e| failed(&e))?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| failed(&e))?
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .map_err(|e| failed(&e))?;
    Ok(Arc::new(config))
}
