//! Dialogues with real servers, replayed, and those that must fail.
