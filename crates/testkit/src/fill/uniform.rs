//! Equal users, for benchmarks.

use super::Composer;
use crate::cyrus::Cyrus;
use crate::error::Result;
use crate::imap::Pipeline;

/// Makes `users` users (`bench0000` …), each with `mailboxes` mailboxes (the INBOX counts) of `messages` messages whose
/// texts are about `bytes` long. No two messages are equal. Gives the users' names.
///
/// # Errors
/// When the server refuses anything.
pub fn uniform(
    cyrus: &Cyrus,
    users: usize,
    mailboxes: usize,
    messages: usize,
    bytes: usize,
) -> Result<Vec<String>> {
    let names: Vec<String> = (0..users).map(|nr| format!("bench{nr:04}")).collect();
    let mut admin = cyrus.admin()?;
    for (nr, user) in names.iter().enumerate() {
        let mut composer = Composer::new(nr as u64 + 1_000_000);
        for mailbox in 0..mailboxes {
            let folder = format!("folder{mailbox}");
            let name = if mailbox == 0 {
                cyrus.name(&["user", user])
            } else {
                cyrus.name(&["user", user, &folder])
            };
            admin.create(&name)?;
            // The admin has no right to append there by default; the user's own session would cost a login each.
            admin.set_acl(&name, crate::cyrus::ADMIN, "lrswipkxtecda")?;
            let mut pipeline = Pipeline::new(&mut admin);
            for _ in 0..messages {
                let date = composer.date();
                pipeline.append(&name, &["\\Seen"], Some(&date), &composer.message(bytes))?;
            }
            pipeline.finish()?;
        }
    }
    Ok(names)
}
