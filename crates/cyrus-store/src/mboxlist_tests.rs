//! Tests of the mailbox list.
