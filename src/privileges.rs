//! Becoming the Cyrus user: the store is its, and lock files made by root would lock Cyrus out.

use nix::unistd::{Gid, Uid, User, initgroups, setgid, setuid};

use crate::exit::{Exit, Failure};

/// Run as root, becomes this user with its groups; run as anybody else, stays.
///
/// # Errors
/// [`Exit::Config`] when there is no such user.
pub(crate) fn become_cyrus(name: &str) -> Result<(), Failure> {
    if !Uid::effective().is_root() {
        return Ok(());
    }
    let failed = |problem: String| {
        Failure::new(
            Exit::Config,
            format!(
                "must run as the Cyrus user: can't become {name}: {problem}; check cyrus_user in imapd.conf"
            ),
        )
    };
    let user = User::from_name(name)
        .map_err(|e| failed(e.to_string()))?
        .ok_or_else(|| failed("there is no such user".into()))?;
    let login = std::ffi::CString::new(name).map_err(|e| failed(e.to_string()))?;
    let switch = |uid: Uid, gid: Gid| -> nix::Result<()> {
        initgroups(&login, gid)?;
        setgid(gid)?;
        setuid(uid)
    };
    switch(user.uid, user.gid).map_err(|e| failed(e.to_string()))
}
