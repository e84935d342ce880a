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
//!   all of them --Event--> Monitor (stdout, stderr, syslog)
//! ```
//! Requests flow down these arrows and are awaited only downwards, so no two actors can wait for
//! each other. Messages are small; long things (users, records, files, events) go through bounded
//! channels.
//!
//! | file | what it holds |
//! |---|---|
//! | `user_lister.rs`, `dispatcher.rs`, `user_sync.rs`, `planner.rs`, `lock_keeper.rs`, `pool.rs`, `connection.rs`, `monitor.rs` | one actor each, its messages beside it |
//! | `schedule.rs`, `pool_plan.rs` | what the Dispatcher and the pool decide: plain values, tested without actors |
//! | `look.rs`, `act.rs` | a UserSync's two halves: both sides and the plan; carrying it out |
//! | `reading.rs`, `reserve.rs`, `full.rs`, `sending.rs`, `steps.rs`, `spool.rs`, `upload.rs`, `staged.rs`, `wire.rs` | a MailboxPlanner's reading and encoding |
//! | `frames.rs`, `transport/` | what travels to a connection; sockets, login, deflate |
//! | `settings.rs`, `events.rs`, `board.rs`, `report.rs`, `error.rs` | what a run is told, tells, shows, and ends with |
#![forbid(unsafe_code)]

mod act;
mod board;
mod connection;
mod dispatcher;
mod error;
mod events;
mod frames;
mod full;
mod hands;
mod lock_keeper;
mod look;
mod monitor;
mod planner;
mod pool;
mod pool_plan;
mod reading;
mod report;
mod reserve;
mod run;
mod schedule;
mod sending;
mod settings;
mod spool;
mod staged;
mod steps;
mod transport;
mod upload;
mod user_lister;
mod user_sync;
pub mod wire;

pub use board::Board;
pub use error::{Class, UserError};
pub use frames::CommandError;
pub use monitor::Verbosity;
pub use pool::PoolError;
pub use report::{Outcome, RunReport, SHARED, Sent, Stopped, UserReport};
pub use run::replicate;
pub use settings::Settings;
pub use transport::ConnectError;
pub use user_lister::Work;
