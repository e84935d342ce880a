//! One user: looks at both sides, plans the difference, and applies the plan.

pub(crate) mod advice;
pub(crate) mod apply;
pub(crate) mod context;
pub(crate) mod look;
pub(crate) mod look_partial;
pub(crate) mod one_sided;
pub(crate) mod parts;
pub(crate) mod plan;
pub(crate) mod questions;
pub(crate) mod refused_mailboxes;
pub(crate) mod removal;
pub(crate) mod scripts;
pub(crate) mod server_annotations;
pub(crate) mod tasks;
pub(crate) mod user_sync;
pub(crate) mod user_work;

#[cfg(test)]
mod apply_tests;
#[cfg(test)]
mod look_tests;
#[cfg(test)]
mod panic_tests;
#[cfg(test)]
pub(crate) mod testing;
