//! The actors: who does what, and who tells whom.
//!
//! ```text
//!   UserLister --users--> Dispatcher --LockUser--> LockKeeper
//!                             |
//!                             '--SyncUser--> UserSync (one a user in flight)
//!                                              |  |
//!                  .---ReadUser, SendMailbox---'  '---Acquire--> ConnectionPool --> Connection
//!                  v                                                 | lease            |
//!            MailboxPlanner (threads) ----frames: records, files-----'----------------->' socket
//!
//!   sync/log --> LogReader --entries--> Roller, in the Dispatcher's place for rolling replication:
//!                                          --LockUser--> LockKeeper, --SyncTasks--> UserSync
//!
//!   all of them --Event--> Monitor (stdout, stderr, syslog)
//! ```
//! Requests flow down these arrows and are awaited only downwards, so no two actors can wait for
//! each other. Messages are small; long things (users, records, files, events) go through bounded
//! channels.
//!
//! | file | what it holds |
//! |---|---|
//! | `user_lister.rs`, `dispatcher.rs`, `log_reader.rs`, `roller.rs`, `user_sync.rs`, `planner.rs`, `lock_keeper.rs`, `pool.rs` with `lease.rs`, `connection.rs`, `monitor.rs` | one actor each, its messages beside it |
//! | `schedule.rs`, `ahead.rs`, `rota.rs`, `pool_plan.rs` | what the Dispatcher, the Roller and the pool decide: plain values, tested without actors |
//! | `run.rs`, `rolling.rs`, `crew.rs`, `workers.rs`, `log_hand.rs`, `try_work.rs` | starting them; a Roller's log, and one work of it |
//! | `login_check.rs` | a login before anything is started |
//! | `user_work.rs` with `look.rs`, `look_some.rs`, `act.rs` | an attempt at a user and its two halves: both sides and the plan; carrying it out |
//! | `tasks.rs`, `removal.rs`, `refused.rs`, `server.rs` | what the log asks for, in parts; users that are gone; mailboxes that the replica can't keep; the server's annotations |
//! | `reading.rs`, `reading_some.rs`, `reserve.rs`, `full.rs`, `sending.rs`, `steps.rs`, `spool.rs`, `upload.rs`, `bad_files.rs`, `staged.rs`, `wire.rs` | a MailboxPlanner's reading and encoding |
//! | `frames.rs`, `ask.rs`, `answer.rs`, `fading.rs`, `transport/` | what travels to a connection, and back; sockets, login, deflate |
//! | `cache.rs`, `partitions.rs` | what a replica has, remembered between rolling runs or for the run |
//! | `settings.rs`, `events.rs`, `names.rs`, `report.rs`, `error.rs`, `advice.rs`, `words.rs`, `plain.rs` | what a run is told, tells, and ends with |
//! | `progress.rs` with `in_flight.rs`, `pace.rs`, `replica_state.rs`; `figures.rs` | how a run stands, for whoever asks; in rolling replication |
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
pub use error::{Class, UserError};
pub use master::encode;
pub use monitor::monitor::{Verbosity, notice};
pub use monitor::progress::Progress;
pub use monitor::report::{Outcome, RunReport, SHARED, Sent, Stopped, UserReport, Well};
pub use monitor::{plain, words};
pub use replica::frames::CommandError;
pub use replica::login_check::{LoginCheck, check_logins};
pub use replica::pool::PoolError;
pub use replica::transport::{ConnectError, server_options, unknown_port};
pub use rolling::log_reader::{EarlyClaim, LogSource};
pub use rolling::roll::{RollReport, RollSettings, StopRequest, roll};
pub use rolling::status::RollStatus;
pub use settings::{Settings, SocketOptions};
