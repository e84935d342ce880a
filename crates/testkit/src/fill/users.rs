//! Users with all that is odd.
