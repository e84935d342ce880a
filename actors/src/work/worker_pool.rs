//! UserSync actors to give users to: made as they are needed, on the event loops in turn, and used again.

use actix::prelude::*;

use crate::user::context::UserContext;
use crate::user::user_sync::UserSync;

/// UserSyncs that have nothing to do, and how to make more.
pub(crate) struct WorkerPool {
    context: UserContext,
    loops: Vec<ArbiterHandle>,
    idle: Vec<Addr<UserSync>>,
    made: usize,
}

impl WorkerPool {
    /// Workers on these event loops.
    pub(crate) fn new(context: UserContext, loops: Vec<ArbiterHandle>) -> WorkerPool {
        WorkerPool { context, loops, idle: Vec::new(), made: 0 }
    }

    /// One that has nothing to do.
    pub(crate) fn get(&mut self) -> Addr<UserSync> {
        if let Some(worker) = self.idle.pop() {
            return worker;
        }
        let context = self.context.clone();
        self.made += 1;
        match self.loops.get(self.made % self.loops.len().max(1)) {
            Some(handle) => UserSync::start_in_arbiter(handle, move |_| UserSync::new(context)),
            None => UserSync::new(context).start(),
        }
    }

    /// One is done with its user. Those that died are not given back.
    pub(crate) fn give_back(&mut self, worker: Addr<UserSync>) {
        self.idle.push(worker);
    }
}
