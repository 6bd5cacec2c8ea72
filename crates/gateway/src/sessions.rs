//! Beginning and ending of what outlives an exchange: sessions, their streams to servers, their runs.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderValue};
use identity::Caller;
use ledger::Hash;
use ledger::Status;
use mcp::message::{Frame, ParseError};

use crate::Gateway;
use crate::account::Side;
use crate::bridge::Bridge;
use crate::callers::Callers;
use crate::clock;
use crate::content::Content;
use crate::listen::streamable::SESSION;
use crate::peer::Peer;
use crate::pipeline::Sent;
use crate::refusal::{Reason, Refused};
use crate::runs::Session;
use crate::scope::Scope;
use crate::upstream::{LinkError, Server};

impl Gateway {
    /// Resolves when a caller that was verified may no more; never for others.
    pub(crate) fn refused_later(
        &self,
        server: &Arc<str>,
        peer: &Peer,
    ) -> impl Future<Output = ()> + Send + 'static {
        let watched = self.watched(peer);
        let server = Arc::clone(server);
        async move {
            match watched {
                Some((callers, caller)) => callers.refused_later(&server, &caller).await,
                None => std::future::pending().await,
            }
        }
    }

    /// As [`Gateway::refused_later`], and when the credential expires.
    pub(crate) async fn ended_later(&self, server: &str, peer: &Peer) {
        match self.watched(peer) {
            Some((callers, caller)) => callers.ended_later(server, &caller).await,
            None => std::future::pending().await,
        }
    }

    fn watched(&self, peer: &Peer) -> Option<(Arc<Callers>, Arc<Caller>)> {
        self.callers.clone().zip(peer.verified.as_ref().map(|one| Arc::clone(&one.caller)))
    }

    /// Whether a caller that was verified may still call; others may.
    pub(crate) fn stands(&self, server: &str, peer: &Peer) -> bool {
        let verified = self.callers.as_ref().zip(peer.verified.as_ref());
        verified.is_none_or(|(callers, verified)| callers.stands(server, &verified.caller))
    }

    /// The session's stream of messages to its server, opened at the first call.
    pub(crate) async fn bridge(
        self: &Arc<Self>,
        server: &Server,
        session: &Arc<Session>,
    ) -> Result<Arc<Bridge>, LinkError> {
        let open = || async {
            let end = server.connect().await?;
            let (bridge, carrying) = Bridge::new(Arc::clone(&session.scope), end, Arc::clone(&self.pipeline));
            let gateway = Arc::clone(self);
            let weak = Arc::downgrade(session);
            tokio::spawn(async move {
                let reason = carrying.await;
                tracing::debug!(reason, "a stream of messages ended");
                if let Some(session) = weak.upgrade() {
                    gateway.drop_session(&session, "the server has ended").await;
                }
            });
            Ok(bridge)
        };
        session.bridge.get_or_try_init(open).await.cloned()
    }

    /// Mints an id for a session that the gateway itself keeps, and names it in the response's headers.
    pub(crate) fn mint_session(&self, session: &Arc<Session>, headers: &mut HeaderMap) {
        let id = clock::new_session();
        if let Ok(value) = HeaderValue::from_str(&id) {
            headers.insert(SESSION, value);
        }
        self.know_session(&id, session);
    }

    /// Enters a session under its id.
    pub(crate) fn know_session(&self, id: &str, session: &Arc<Session>) {
        let digest: Arc<str> = Hash::of(id.as_bytes()).to_hex().chars().take(16).collect::<String>().into();
        session.scope.learn(|facts| facts.session = Some(digest));
        self.runs.enter(id, Arc::clone(session));
    }

    /// Makes a session without an id stand for its client's process.
    pub(crate) async fn adopt(&self, session: &Arc<Session>) {
        if let Some(before) = self.runs.adopt(session) {
            self.close_run(&before.scope, "the client has initialized anew").await;
        }
    }

    /// Ends the session of that id.
    pub(crate) async fn end_session(&self, server: &Arc<str>, id: &str, reason: &'static str) {
        if let Some(session) = self.runs.leave(server, id) {
            self.close_run(&session.scope, reason).await;
        }
    }

    /// Ends a session that its server has ended. The run of a client process goes on: its next message may begin
    /// anew.
    pub(crate) async fn drop_session(&self, session: &Arc<Session>, reason: &'static str) {
        if self.runs.forget(session) {
            self.close_run(&session.scope, reason).await;
        }
    }

    /// Closes the calls that are still open, then the run.
    pub(crate) async fn close_run(&self, scope: &Scope, reason: &'static str) {
        let mut open = std::mem::take(&mut *scope.pending());
        self.pipeline.close_all(&mut open, Status::Disconnected, reason).await;
        self.pipeline.allowance().forget(scope.run);
        self.runs.end(scope.run, reason).await;
    }

    /// Refuses bytes that are no message; they are recorded under the run of the client's process.
    pub(crate) async fn refuse_unparsed(
        &self,
        server: &Server,
        peer: &Arc<Peer>,
        content: &Content,
        error: ParseError,
    ) -> Refused {
        match self.runs.of_process(&server.name, peer).await {
            Ok(session) => {
                self.pipeline
                    .refuse_unparsed(&session.scope, Side::Client, content, Reason::Malformed(error))
                    .await
            }
            Err(error) => {
                let reason = Reason::NotRecorded(error);
                server.meter.refuse(&reason);
                Refused::unparsed(None, &reason)
            }
        }
    }

    /// Records that a caller was refused, under the run of the client's process. `server`: its name, [`NO_SERVER`](crate::scope::NO_SERVER)
    /// for a login that is for none.
    pub(crate) async fn refuse_caller(
        &self,
        server: &Arc<str>,
        peer: &Arc<Peer>,
        refused: &identity::Refused,
    ) {
        let reason = Reason::Caller(refused.clone());
        match self.runs.of_process(server, peer).await {
            Ok(session) => {
                let nothing = Content::Small(Bytes::new());
                self.pipeline.refuse_unparsed(&session.scope, Side::Client, &nothing, reason).await;
            }
            Err(error) => {
                self.meters.of(server).refuse(&reason);
                tracing::error!(%error, "that a caller was refused was not recorded");
            }
        }
    }

    /// Refuses a frame that belongs nowhere; recorded under the run of the client's process.
    pub(crate) async fn refuse_frame(
        &self,
        server: &Server,
        peer: &Arc<Peer>,
        (content, frame, headers): (&Content, &Frame<'_>, &HeaderMap),
        reason: Reason,
    ) -> Refused {
        let recorded = match reason {
            Reason::NotRecorded(_) => None,
            _ => self.runs.of_process(&server.name, peer).await.ok(),
        };
        let Some(session) = recorded else {
            server.meter.refuse(&reason);
            return Refused::frame(frame, Side::Client, &reason);
        };
        let sent = Sent { side: Side::Client, content, frame, headers: Some(headers), peer };
        if let Some(about) = self.pipeline.holds().and_then(|holds| holds.about(frame)) {
            // Its id stands in no record.
            return self.pipeline.turn_back_about(&session.scope, (&about, sent), (None, reason)).await;
        }
        self.pipeline.turn_back(&session.scope, sent, 0, reason).await
    }
}
