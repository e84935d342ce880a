//! A pool of workers, which are UserSync actors: made as they are needed, on the event loops in turn, and used again.

use actix::dev::ToEnvelope;
use actix::prelude::*;

use crate::user::context::UserContext;
use crate::user::user_sync::UserSync;
use crate::work::event_loop::EventLoop;

/// Idle workers, and how to make more. They take messages of this kind.
pub(crate) struct WorkerPool<M: Message<Result: Send> + Send> {
    make: Box<dyn FnMut() -> Recipient<M>>,
    idle: Vec<Recipient<M>>,
}

impl<M: Message<Result: Send> + Send + 'static> WorkerPool<M> {
    /// UserSyncs on these event loops.
    pub(crate) fn new(context: UserContext, loops: Vec<EventLoop>) -> WorkerPool<M>
    where
        UserSync: Handler<M>,
        Context<UserSync>: ToEnvelope<UserSync, M>,
    {
        let mut made = 0;
        WorkerPool::made_by(move || {
            made += 1;
            let worker = match loops.get(made % loops.len().max(1)) {
                Some(on) => {
                    let context = on.context(&context);
                    UserSync::start_in_arbiter(&on.handle, move |_| UserSync::new(context))
                }
                None => UserSync::new(context.clone()).start(),
            };
            worker.recipient()
        })
    }

    /// Workers of any kind.
    pub(crate) fn made_by(make: impl FnMut() -> Recipient<M> + 'static) -> WorkerPool<M> {
        WorkerPool { make: Box::new(make), idle: Vec::new() }
    }

    /// An idle worker.
    pub(crate) fn get(&mut self) -> Recipient<M> {
        self.idle.pop().unwrap_or_else(|| (self.make)())
    }

    /// A worker is done with its user. Workers that died are not returned.
    pub(crate) fn give_back(&mut self, worker: Recipient<M>) {
        self.idle.push(worker);
    }
}
