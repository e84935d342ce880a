//! sync-plan (under construction).
