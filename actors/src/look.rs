//! Looking at both sides of a user at once, and planning.

use std::collections::HashSet;
use std::sync::Arc;

use csync::{Code, ReplicaUser, command};
use sync_plan::{Folder, Options, Tombstones, UserPlan, plan_user, unmatched_folders};

use crate::error::UserError;
use crate::frames::{CommandError, InFlight, encode};
use crate::hands::Hands;
use crate::planner::{FindTombstones, ReadUser};
use crate::pool::Lease;
use crate::reading::UserRead;
use crate::report::is_shared;

/// How many shared mailboxes are asked for in one command.
const NAMES: usize = 500;

/// Both sides of a user.
pub(crate) struct Look {
    pub(crate) read: Arc<UserRead>,
    pub(crate) replica: ReplicaUser,
    pub(crate) plan: UserPlan,
}

/// Asks both sides and plans. None when the user has no INBOX here.
pub(crate) async fn look(
    hands: &Hands,
    userid: &Arc<str>,
    lease: &Lease,
) -> Result<Option<Look>, UserError> {
    let sieve_mailbox = lease.session.capabilities.sieve_mailbox_enabled;
    let read_user = ReadUser { userid: userid.clone(), sieve_mailbox };
    let sides = if is_shared(userid) {
        shared_sides(hands, read_user, lease).await?
    } else {
        user_sides(hands, read_user, lease).await?
    };
    let Some((read, replica)) = sides else { return Ok(None) };
    let tombstones = tombstones(hands, &read, &replica).await?;
    let options = Options {
        one_way: hands.settings.one_way,
        partition: hands.settings.partition.clone(),
        sieve_mailbox,
    };
    let plan = plan_user(&read.master, &replica, &tombstones, &options)?;
    Ok(Some(Look { read, replica, plan }))
}

type Sides = Option<(Arc<UserRead>, ReplicaUser)>;

/// One question tells all that the replica has of a user, so both sides are read at the same time.
async fn user_sides(hands: &Hands, read_user: ReadUser, lease: &Lease) -> Result<Sides, UserError> {
    let bytes = encode(|out| command::get_user(out, &read_user.userid));
    let asked = lease.send("USER", bytes).await?;
    let reading = hands.reader.send(read_user);
    let mut replica = ReplicaUser::default();
    let (theirs, ours) = futures_util::future::join(take(asked, &mut replica), reading).await;
    let ours = ours.map_err(|e| UserError::Bug(e.to_string()))??;
    theirs?;
    let Some(read) = ours else { return Ok(None) };
    if !replica.mailboxes.is_empty() {
        ask_for_quotas(&read, lease, &mut replica).await?;
    }
    Ok(Some((read, replica)))
}

/// GET USER tells only of quota roots that the replica's mailboxes name. A mailbox that was renamed
/// may name a root that is none of its own any more, and then each side names others.
async fn ask_for_quotas(
    read: &UserRead,
    lease: &Lease,
    replica: &mut ReplicaUser,
) -> Result<(), CommandError> {
    let mut asked = Vec::new();
    for quota in &read.master.quotas {
        if !replica.quotas.iter().any(|theirs| theirs.root == quota.root) {
            let bytes = encode(|out| command::get_quota(out, &quota.root));
            asked.push(lease.send("QUOTA", bytes).await?);
        }
    }
    for in_flight in asked {
        take(in_flight, replica).await?;
    }
    Ok(())
}

/// The replica is asked for our shared mailboxes by name (tombstones too), by unique id (they may
/// have another name there), and for their quota roots.
async fn shared_sides(
    hands: &Hands,
    read_user: ReadUser,
    lease: &Lease,
) -> Result<Sides, UserError> {
    let reading = hands.reader.send(read_user).await;
    let Some(read) = reading.map_err(|e| UserError::Bug(e.to_string()))?? else { return Ok(None) };
    let master = &read.master;
    let live = master.folders.iter().map(Folder::name);
    let names: Vec<&str> = live.chain(master.tombstone_names.iter().map(String::as_str)).collect();
    let ids: Vec<&str> = master.folders.iter().map(Folder::uniqueid).collect();
    let mut asked = Vec::new();
    for names in names.chunks(NAMES) {
        hands.events.action(|| format!("MAILBOXES {}", names.join(" "))).await;
        let bytes = encode(|out| command::get_mailboxes(out, names.iter().copied()));
        asked.push(lease.send("MAILBOXES", bytes).await?);
    }
    for ids in ids.chunks(NAMES) {
        let bytes = encode(|out| command::get_uniqueids(out, ids.iter().copied()));
        asked.push(lease.send("UNIQUEIDS", bytes).await?);
    }
    let mut replica = ReplicaUser::default();
    for in_flight in asked {
        take(in_flight, &mut replica).await?;
    }
    ask_for_quotas(&read, lease, &mut replica).await?;
    let mut seen = HashSet::new();
    replica.mailboxes.retain(|m| seen.insert(m.uniqueid.clone()));
    Ok(Some((read, replica)))
}

/// Takes in an answer. What is unknown there is not there.
async fn take(asked: InFlight, replica: &mut ReplicaUser) -> Result<(), CommandError> {
    let command = asked.command;
    let items = match asked.answer().await {
        Err(CommandError::Refused { code: Some(Code::MailboxNonexistent), .. }) => return Ok(()),
        answer => answer?,
    };
    for item in items {
        replica
            .push(item)
            .map_err(|e| CommandError::Nonsense { command, problem: e.to_string() })?;
    }
    Ok(())
}

async fn tombstones(
    hands: &Hands,
    read: &UserRead,
    replica: &ReplicaUser,
) -> Result<Tombstones, UserError> {
    let unmatched: Vec<String> =
        unmatched_folders(&read.master, replica).iter().map(|r| r.uniqueid.clone()).collect();
    let names = read.master.tombstone_names.iter().cloned().collect();
    if unmatched.is_empty() {
        return Ok(Tombstones { names, uniqueids: HashSet::new() });
    }
    let asking = hands.reader.send(FindTombstones { uniqueids: unmatched });
    let uniqueids = asking.await.map_err(|e| UserError::Bug(e.to_string()))??;
    Ok(Tombstones { names, uniqueids })
}
