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
        admin.create(&cyrus.name(&["user", user]))?;
        let mut client = cyrus.login(user)?;
        let mut composer = Composer::new(nr as u64 + 1_000_000);
        for mailbox in 0..mailboxes {
            let folder = format!("folder{mailbox}");
            let name =
                if mailbox == 0 { "INBOX".to_owned() } else { cyrus.name(&["INBOX", &folder]) };
            if mailbox > 0 {
                client.create(&name)?;
            }
            let mut pipeline = Pipeline::new(&mut client);
            for _ in 0..messages {
                let date = composer.date();
                pipeline.append(&name, &["\\Seen"], Some(&date), &composer.message(bytes))?;
            }
            pipeline.finish()?;
        }
    }
    Ok(names)
}
