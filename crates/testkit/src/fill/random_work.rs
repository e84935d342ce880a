//! Random IMAP work over users there are.
