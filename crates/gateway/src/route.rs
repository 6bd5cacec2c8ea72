//! Where a message belongs, and which open call it answers or speaks of.

use std::collections::HashSet;

use ledger::CallId;
use mcp::fields::Params;
use mcp::message::{Frame, IdBuf, Kind, Message};

use crate::account::Side;
use crate::refusal::Reason;
use crate::scope::{Pending, Scope, Waiting};

/// Where a message belongs: the scope, and the exchange whose own calls are kept apart from it.
pub(crate) struct Route<'a> {
    pub(crate) scope: &'a Scope,
    pub(crate) exchange: Option<&'a mut Pending>,
}

impl Route<'_> {
    /// The id, if no open call of that side has it: ids are unique among what is open (MCP basic/index).
    pub(crate) fn unused(&self, side: Side, id: IdBuf) -> Result<IdBuf, Reason> {
        match (&self.exchange, side) {
            (Some(exchange), Side::Client) => exchange.room_for(side, &id)?,
            _ => self.scope.pending().room_for(side, &id)?,
        }
        Ok(id)
    }

    /// Keeps an open call until its answer comes.
    pub(crate) fn keep(&mut self, side: Side, id: IdBuf, call: Waiting) {
        match (&mut self.exchange, side) {
            (Some(exchange), Side::Client) => exchange.keep(side, id, call),
            _ => self.scope.pending().keep(side, id, call),
        }
    }

    /// Takes a call out.
    pub(crate) fn take(&mut self, side: Side, id: Option<IdBuf>) -> Option<Waiting> {
        let id = id?;
        let in_exchange = self.exchange.as_mut().and_then(|exchange| exchange.take(side, &id));
        in_exchange.or_else(|| self.scope.pending().take(side, &id))
    }

    /// Takes out the client's call that a notification of the server speaks of.
    pub(crate) fn take_spoken_of(&mut self, message: &Message<'_>) -> Option<(IdBuf, Waiting)> {
        let token = match message.kind() {
            Kind::Notification { params: Some(params), .. } => Params::of(params).progress_token(),
            _ => None,
        };
        let taken = |pending: &mut Pending| {
            let id = pending.spoken_of(token.as_ref())?;
            pending.take(Side::Client, &id).map(|call| (id, call))
        };
        match self.exchange.as_mut().and_then(|exchange| taken(exchange)) {
            Some(found) => Some(found),
            None => taken(&mut self.scope.pending()),
        }
    }

    /// The only open call of the client.
    pub(crate) fn only_call(&self) -> Option<CallId> {
        let in_exchange = self.exchange.as_ref().and_then(|exchange| exchange.only_call());
        in_exchange.or_else(|| self.scope.pending().only_call())
    }
}

/// Whether a frame is made of answers to what is open, one for each.
pub(crate) fn answers(frame: &Frame<'_>, pending: &Pending) -> bool {
    let mut answered = HashSet::new();
    frame.messages().iter().all(|message| match message.kind() {
        Kind::Response { id: Some(id), .. } => {
            let id = id.to_buf();
            pending.has(Side::Client, &id) && answered.insert(id)
        }
        _ => false,
    })
}
