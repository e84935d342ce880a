//! The actors: who does what, and who sends what to whom.
//!
//! ```text
//!   UserLister --works--> Dispatcher --LockUser--> LockKeeper
//!                             |
//!                             '--SyncWork--> UserSync (one a user in flight)
//!                                              |  |
//!                  .---ReadUser, SendMailbox---'  '---Acquire--> ConnectionPool --> Connection
//!                  v                                                 | lease            |
//! StoreReader, MailboxStreamer (threads) --frames: records, files--'----------------->' socket
//!
//!   sync/log --> LogReader --entries--> Roller, in the Dispatcher's place for rolling replication:
//!                                          --LockUser--> LockKeeper, --SyncWork--> UserSync
//!
//!   all of them --Event--> Monitor --> sinks (stdout, stderr, syslog, files)
//! ```
//! Requests flow down these arrows, and an actor waits only for actors below it, so no two actors can wait for each other.
//! Messages are small; long data (users, records, files, events) goes through bounded channels.
//!
//! ```text
//!   batch (a list)   rolling (the log)     feed
//!            '----------'
//!               runtime                    starts what both need
//!                work                      who is next, one attempt, the locks
//!                user                      look, plan, apply
//!               master                     reads the store, encodes, sends
//!                error
//!               replica                    connections, and what travels on them
//!               monitor                    events, progress, reports
//! ```
//! A room may import from those below it, never from above; `tests/tidy.rs` reads the imports and enforces this.
//!
//! | room | actors | what else is there |
//! |---|---|---|
//! | `batch/` | UserLister, Dispatcher | `run.rs` starts a run; `names.rs` keeps a run's users in little memory; `spelling.rs` reads the names of mailboxes |
//! | `rolling/` | LogReader, Roller | `roll.rs` starts it; `log_handle.rs` its log; `status.rs` how it stands |
//! | `work/` | LockKeeper | all for both feeders: `works.rs` carries out what `queue.rs` decides, with `turns.rs` (places), `retry.rs` (tries and pauses) and `aside.rs` (what rests alone); `attempts.rs` the works under way, `job.rs` a work and its tries, `attempt.rs` one attempt, `outcomes.rs` what its result means; `worker_pool.rs` |
//! | `user/` | UserSync | `user_work.rs` an attempt at a user, with its halves `look.rs`, `look_partial.rs` and `apply.rs`; `tasks.rs` what a work asks for, in parts; `removal.rs`, `one_sided.rs`, `refused_mailboxes.rs`, `server_annotations.rs`, `scripts.rs`; `advice.rs` what an admin can do |
//! | `master/` | StoreReader, MailboxStreamer (threads) | `source.rs` what a master is; `store_source.rs` one on disk, with `store_mailbox.rs`, `message_files.rs`, and `read_user.rs` and `read_partial.rs` for both kinds of look; `reserve.rs`, `full_update.rs`; `plan_mailbox.rs` with `batches.rs`, `encode.rs`, `record_buffer.rs`; `send_mailbox.rs` with `upload.rs`, `bad_files.rs` |
//! | `replica/` | ConnectionPool, Connection | `pool_plan.rs` and `lookahead.rs` what the pool decides; `lease.rs`, `frames.rs`, `ask.rs`, `answer.rs` what travels; `transport/` sockets, login, deflate; `state_cache.rs`, `partitions.rs`, `staged.rs`, `fading.rs` what is remembered |
//! | `monitor/` | Monitor | `events.rs` what it is told, `aggregate.rs` the totals, `sinks/` what becomes of them; `progress.rs` with `in_flight.rs`, `pace.rs`, `outlook.rs`, `replica_state.rs`, `command_stats.rs`; `report.rs`; `screen.rs`, `words.rs`, `plain.rs` |
#![forbid(unsafe_code)]

mod batch;
mod master;
mod monitor;
mod replica;
mod rolling;
mod runtime;
mod user;
mod work;

mod error;
mod settings;

pub use batch::run::replicate;
pub use batch::user_lister::Selection;
pub use error::{Class, MasterError, ReplicaError, UserError};
pub use master::{encode, source, user_read};
pub use monitor::progress::Progress;
pub use monitor::report::{Outcome, RunReport, Sent, Stopped, UserReport, Well};
pub use monitor::reporting::{Reporting, ShownProgress, Verbosity};
pub use monitor::screen::{notice, remove_bar};
pub use monitor::sink::SinkError;
pub use monitor::sinks::failed_users::is_left_to_do;
pub use monitor::sinks::metrics::MetricsSource;
pub use monitor::sinks::metrics_http::MetricsPort;
pub use monitor::spans::NOTICE;
pub use monitor::{plain, words};
pub use replica::command_error::CommandError;
pub use replica::login_check::{LoginCheck, check_logins};
pub use replica::pool_error::PoolError;
pub use replica::transport::{ConnectError, server_options, unknown_port};
pub use rolling::log_reader::{EarlyClaim, LogSource};
pub use rolling::report::RollReport;
pub use rolling::request::{RollSettings, StopRequest};
pub use rolling::roll::roll;
pub use rolling::status::RollStatus;
pub use settings::{Jitter, ReplicaSettings, RunSettings, Settings, SocketOptions, SyncSettings};
