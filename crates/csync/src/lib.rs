//! csync (under construction).
