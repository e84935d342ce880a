//! Several commands in flight at once on one connection.

use std::collections::VecDeque;

use super::{Client, ImapError, Line, Response};

/// Commands in flight at most; their answers are short, so neither side's buffers fill up.
const WINDOW: usize = 64;

/// Sends commands ahead of their answers; the answers come in order.
#[derive(Debug)]
pub struct Pipeline<'a> {
    client: &'a mut Client,
    under_way: VecDeque<(String, String)>,
    refused: Vec<ImapError>,
    done: usize,
}

impl<'a> Pipeline<'a> {
    /// Starts one on a connection without commands in flight.
    pub fn new(client: &'a mut Client) -> Self {
        Self { client, under_way: VecDeque::new(), refused: Vec::new(), done: 0 }
    }

    /// Sends one command; waits only when too many are in flight.
    ///
    /// # Errors
    /// When the connection breaks; refusals are kept for [`Pipeline::finish`].
    pub fn push(&mut self, line: &Line) -> Result<(), ImapError> {
        while self.under_way.len() >= WINDOW {
            self.wait_for_one()?;
        }
        let tag = self.client.send(line)?;
        self.under_way.push_back((tag, line.summary()));
        Ok(())
    }

    /// Sends an `APPEND`.
    ///
    /// # Errors
    /// As [`Pipeline::push`].
    pub fn append(
        &mut self,
        mailbox: &str,
        flags: &[&str],
        date: Option<&str>,
        bytes: &[u8],
    ) -> Result<(), ImapError> {
        self.push(&super::commands::append_line(mailbox, flags, date, bytes))
    }

    /// Waits for all answers; returns the number of commands done.
    ///
    /// # Errors
    /// The first refusal, or a broken connection.
    pub fn finish(mut self) -> Result<usize, ImapError> {
        while !self.under_way.is_empty() {
            self.wait_for_one()?;
        }
        if self.refused.is_empty() { Ok(self.done) } else { Err(self.refused.swap_remove(0)) }
    }

    fn wait_for_one(&mut self) -> Result<(), ImapError> {
        let Some((tag, command)) = self.under_way.pop_front() else {
            return Ok(());
        };
        let answer: Result<Response, ImapError> = self.client.finish(&tag, &command);
        match answer {
            Ok(_) => self.done += 1,
            Err(refusal) if refusal.is_refusal() => self.refused.push(refusal),
            Err(broken) => return Err(broken),
        }
        Ok(())
    }
}
