//! cyrus-store (under construction).
