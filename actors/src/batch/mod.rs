//! A run over a list of users (-A, -u, -f, -m, -s): it lists them and works on them one after the other.

pub(crate) mod dispatcher;
pub(crate) mod names;
pub(crate) mod run;
pub(crate) mod spelling;
pub(crate) mod user_lister;
