//! Becomes the Cyrus user: the store belongs to it, and lock files made by root would lock Cyrus out. Files are made as
//! Cyrus makes them: with the rights that `umask` leaves.

use cyrus_store::Config;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Group, Uid, User, initgroups, setgid, setuid};

use crate::exit::{Exit, Failure};

/// The environment variables for user and group, which come before the options (`lib/util.c`: cyrus_user, cyrus_group).
const USER: &str = "CYRUS_USER";
const GROUP: &str = "CYRUS_GROUP";

/// If run as root, becomes the Cyrus user, with `cyrus_group` as its group if that is set and with its other groups;
/// otherwise stays the same user. In both cases `umask` is set (077 unless configured otherwise).
///
/// # Errors
/// [`Exit::Config`] when there is no such user or group.
pub fn become_cyrus(config: &Config) -> Result<(), Failure> {
    umask(mask_of(config.get("umask").unwrap_or_default()));
    if !Uid::effective().is_root() {
        return Ok(());
    }
    let name = std::env::var(USER).unwrap_or_else(|_| config.cyrus_user().to_string());
    let group = std::env::var(GROUP).ok().or_else(|| config.get("cyrus_group").map(str::to_string));
    let failed = |problem: String, option: &str| {
        Failure::new(
            Exit::Config,
            format!(
                "must run as the Cyrus user: can't become {name}: {problem}; check {option} in imapd.conf"
            ),
        )
    };
    let of_user = |problem: String| failed(problem, "cyrus_user");
    let user = User::from_name(&name)
        .map_err(|e| of_user(e.to_string()))?
        .ok_or_else(|| of_user("there is no such user".into()))?;
    let gid = match &group {
        None => user.gid,
        Some(group) => {
            let found = Group::from_name(group)
                .map_err(|e| failed(e.to_string(), "cyrus_group"))?
                .ok_or_else(|| failed(format!("there is no group {group}"), "cyrus_group"))?;
            found.gid
        }
    };
    let login = std::ffi::CString::new(name.as_str()).map_err(|e| of_user(e.to_string()))?;
    let switch = |uid: Uid, gid: Gid| -> nix::Result<()> {
        initgroups(&login, gid)?;
        setgid(gid)?;
        setuid(uid)
    };
    switch(user.uid, gid).map_err(|e| of_user(e.to_string()))
}

/// Parsed as Cyrus does: the octal digits count, all other characters are ignored (`imap/global.c`: cyrus_init).
fn mask_of(text: &str) -> Mode {
    let digits = text.chars().filter_map(|letter| letter.to_digit(8));
    Mode::from_bits_truncate(digits.fold(0, |mask, digit| (mask << 3 | digit) & 0o777))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_are_octal() {
        for (text, mask) in
            [("077", 0o77), ("0027", 0o27), ("0o22", 0o22), ("", 0), ("777777", 0o777)]
        {
            assert_eq!(mask_of(text).bits(), mask, "{text}");
        }
    }
}
