//! One HTTP exchange: a request of the client and everything that answers it.
//!
//! It runs in a task of its own, so that the record completes whatever the client does. A client that goes away cancels
//! in the stateless era; in the session era the upstream is read to its end (MCP 2025-11-25, transports,
//! "Sending Messages to the Server").

mod taken;
mod task;
mod up;

use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderMap};
use http::{Response, StatusCode};
use hyper::body::Incoming;
use ledger::Status;
use mcp::era::Era;
use mcp::message::{Frame, IdBuf, Message};
use mcp::page::Lists;

use crate::Gateway;
use crate::account::Side;
use crate::bridge::{self, Bridge};
use crate::content::{Content, Reading};
use crate::intake::Intake;
use crate::listen::reply::Reply;
use crate::listen::streamable::{self, event_stream_headers, has_media_type, session_id};
use crate::listen::{body, guard};
use crate::messages::{Decoder, Framing, Item};
use crate::news::{self, Hearing, News};
use crate::peer::Peer;
use crate::pipeline::{Released, Sent};
use crate::refusal::{Reason, Refused};
use crate::route::Route;
use crate::runs::{Rule, Session};
use crate::scope::{Pending, Scope, Transport};
use crate::taking::AnswerError;
use crate::upstream::answer;
use crate::upstream::http::{HttpUpstream, Unreachable, on_behalf};
use crate::upstream::{Link, Server};

/// One exchange and its open calls.
pub(crate) struct Exchange {
    gateway: Arc<Gateway>,
    server: Arc<Server>,
    peer: Arc<Peer>,
    reply: Reply,
    pending: Pending,
}

/// Where the messages of an exchange belong.
struct Place {
    scope: Arc<Scope>,
    session: Arc<Session>,
    intake: Intake,
    /// The ids of the requests.
    asked: Vec<IdBuf>,
}

impl Exchange {
    pub(crate) fn new(gateway: Arc<Gateway>, server: Arc<Server>, peer: Arc<Peer>, reply: Reply) -> Exchange {
        Exchange { gateway, server, peer, reply, pending: Pending::default() }
    }

    /// A POST: admits the frame, forwards it, follows the answer.
    pub(crate) async fn post(mut self, headers: HeaderMap, bytes: Bytes) {
        let content = Content::Small(bytes.clone());
        let frame = match content.parse() {
            Ok(frame) => frame,
            Err(error) => {
                let refused = self.gateway.refuse_unparsed(&self.server, &self.peer, &content, error).await;
                return self.refuse(&refused);
            }
        };
        let place = match self.place(&headers, &frame).await {
            Ok(place) => place,
            Err(reason) => {
                let refused = self
                    .gateway
                    .refuse_frame(&self.server, &self.peer, (&content, &frame, &headers), reason)
                    .await;
                return self.refuse(&refused);
            }
        };
        let (headers_of, peer) = (Some(&headers), &Arc::clone(&self.peer));
        let sent = Sent { side: Side::Client, content: &content, frame: &frame, headers: headers_of, peer };
        let requests = bridge::requests_of(&frame);
        let released = match self.carry_up(&place, sent, &bytes).await {
            Ok(released) => released,
            Err(refused) => {
                self.tell(&refused).await;
                return self.end_unborn(&place).await;
            }
        };
        self.send_on(&place, released, (requests, &headers)).await;
        self.end_unborn(&place).await;
    }

    /// A GET: the session's own stream.
    pub(crate) async fn listen(mut self, session: Arc<Session>, headers: HeaderMap) {
        let place = Place {
            scope: Arc::clone(&session.scope),
            session,
            intake: Intake::listening(),
            asked: Vec::new(),
        };
        match &self.server.link {
            Link::Http(upstream) => {
                let (upstream, peer) = (Arc::clone(upstream), Arc::clone(&self.peer));
                let who = on_behalf(&peer, &headers);
                match upstream.listen(guard::towards_upstream(&headers), who).await {
                    Ok(response) => self.follow(&place, response).await,
                    Err(error) => self.fail(&Reason::Unreachable(error)).await,
                }
            }
            Link::Sse(..) | Link::Stdio(_) => self.stream_of_bridge(&place).await,
        }
    }

    /// Finds the scope and, for `initialize`, begins the run.
    async fn place(&self, headers: &HeaderMap, frame: &Frame<'_>) -> Result<Place, Reason> {
        let intake = Intake::of(frame, headers)?;
        let runs = &self.gateway.runs;
        let session = if intake.initializes && session_id(headers).is_none() {
            let peer = Arc::clone(&self.peer);
            Session::new(runs.begin(&self.server.name, peer, Transport::Streamable, Rule::Session).await?)
        } else if intake.era == Era::Stateless {
            runs.of_process(&self.server.name, &self.peer).await?
        } else {
            streamable::find_session(&self.gateway, &self.server, &self.peer, headers).await?
        };
        let is_http = matches!(self.server.link, Link::Http(_));
        let scope = match intake.era {
            // Ids of different clients may collide: each exchange has its own.
            Era::Stateless if is_http => session.scope.for_exchange(),
            _ => Arc::clone(&session.scope),
        };
        intake.teach(&scope);
        if intake.era == Era::Stateless {
            self.check_mirrored(&scope, frame, headers).await?;
        }
        if !is_http {
            self.gateway.bridge(&self.server, &session).await?;
        }
        Ok(Place {
            scope,
            session,
            intake,
            asked: frame.messages().iter().filter_map(Message::asked).collect(),
        })
    }

    /// Checks the headers in which tools want arguments repeated. What is said of a tool that the caller does not see is left to the
    /// judgement, which tells it from no other.
    async fn check_mirrored(
        &self,
        scope: &Scope,
        frame: &Frame<'_>,
        headers: &HeaderMap,
    ) -> Result<(), Reason> {
        for message in frame.messages() {
            if let Err((tool, mismatch)) = self.gateway.declared.check(&self.server.name, message, headers)
                && self.gateway.pipeline.shows_tool(scope, &self.peer, &tool).await?
            {
                return Err(mismatch.into());
            }
        }
        Ok(())
    }

    async fn over_http(
        &mut self,
        place: &Place,
        upstream: &HttpUpstream,
        released: Released,
        headers: &HeaderMap,
    ) {
        let cancels = place.intake.era == Era::Stateless;
        let who = on_behalf(&self.peer, headers);
        let response = tokio::select! {
            response = upstream.forward(&released, guard::towards_upstream(headers), who) => response,
            () = self.reply.gone(), if cancels => return self.abandon(Status::Cancelled).await,
        };
        match response {
            Ok(response) => self.follow(place, response).await,
            Err(error) => self.fail(&Reason::Unreachable(error)).await,
        }
    }

    /// Follows an upstream's response to its end.
    async fn follow(&mut self, place: &Place, response: Response<Incoming>) {
        let (parts, body) = response.into_parts();
        self.note_session(place, parts.status, &parts.headers).await;
        if parts.headers.get(header::CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
            return self.fail(&Reason::Answer("it is compressed, which was not asked for")).await;
        }
        let headers = guard::towards_client(&parts.headers);
        let gateway = Arc::clone(&self.gateway);
        if has_media_type(&parts.headers, "text/event-stream") {
            self.reply.start(parts.status, headers);
            self.follow_stream(place, body, Decoder::events(&gateway.limits, &gateway.places)).await;
        } else if place.intake.long_lived && has_media_type(&parts.headers, "application/json") {
            self.reply.start(parts.status, headers);
            self.follow_stream(place, body, Decoder::lines(&gateway.limits, &gateway.places)).await;
        } else {
            self.follow_whole(place, parts.status, headers, body).await;
        }
    }

    /// Message by message, each recorded before it goes on.
    async fn follow_stream(&mut self, place: &Place, mut body: Incoming, mut decoder: Decoder) {
        let cancels = place.intake.era == Era::Stateless || place.intake.listens;
        let gateway = Arc::clone(&self.gateway);
        let mut hearing = self.hearing(place).await;
        // A subscription begins with its acknowledgement.
        let mut has_begun = place.intake.listens;
        loop {
            while let Some(item) = decoder.next_item().await {
                has_begun = true;
                let went = match item {
                    Ok(item) => self.carry_item(place, item).await,
                    Err(lost) if lost.error == AnswerError::TooLarge => {
                        return self.fail(&Reason::Answer("a message is larger than the limit")).await;
                    }
                    Err(lost) => return self.fail(&Reason::Whole(lost.error)).await,
                };
                if !went && cancels {
                    return self.abandon(Status::Cancelled).await;
                }
            }
            let part = tokio::select! {
                part = body::next(&mut body, gateway.limits.silence) => part,
                changed = news::heard(&mut hearing), if has_begun => {
                    let change = (self.pending.listening(), changed);
                    if !self.tell_change(&place.scope, change, &decoder.framing()).await {
                        return self.abandon(Status::Cancelled).await;
                    }
                    continue;
                }
                () = self.reply.gone(), if cancels => return self.abandon(Status::Cancelled).await,
                () = gateway.stopping(&self.server), if place.intake.is_stream() => {
                    return self.abandon(Status::Disconnected).await;
                }
            };
            match part {
                Ok(Some(part)) => decoder.push(&part),
                Ok(None) => break,
                Err(body::BodyError::Slow) => {
                    return self.fail(&Reason::Answer("the stream fell silent")).await;
                }
                Err(_) => break,
            }
        }
        self.end_of_stream(place, decoder.is_resumable()).await;
    }

    /// An ear for changes, where the reply is a stream that tells of them.
    async fn hearing(&self, place: &Place) -> Option<Hearing> {
        match place.intake.is_stream() {
            true => Some(self.gateway.pipeline.hearing(&place.scope, &self.peer).await),
            false => None,
        }
    }

    /// Tells the client what has changed of what it may see. `false`: it has gone.
    async fn tell_change(
        &mut self,
        scope: &Scope,
        (subscriptions, changed): (Vec<(IdBuf, Lists)>, News),
        framing: &Framing,
    ) -> bool {
        for released in self.gateway.pipeline.tell(scope, subscriptions, changed).await {
            if !framing.write(&mut self.reply, released.body()).await {
                return false;
            }
        }
        true
    }

    /// Sends to the client what one item of a stream is to it. `false`: the client has gone.
    async fn carry_item(&mut self, place: &Place, item: Item) -> bool {
        let arrived = match item {
            Item::Message(arrived) => arrived,
            Item::Other(raw) => return self.reply.part(raw).await,
            Item::Stray { .. } => {
                tracing::warn!(server = &*self.server.name, "an event that is no message was withheld");
                return true;
            }
        };
        let route = Route { scope: &place.scope, exchange: Some(&mut self.pending) };
        match self.gateway.pipeline.carry_down(route, &arrived.content).await {
            Ok(released) => {
                self.learn_tools(place, released.body());
                arrived.write(&mut self.reply, released.body()).await
            }
            Err(refused) => {
                tracing::warn!(
                    server = &*self.server.name,
                    reason = refused.reason(),
                    "a server's message was withheld"
                );
                refused.owed != Some(Side::Client)
                    || arrived.write(&mut self.reply, &refused.body.into()).await
            }
        }
    }

    /// A stream that ended with calls open: in the session era a resumable one may be taken up again by GET.
    async fn end_of_stream(&mut self, place: &Place, resumable: bool) {
        let mut cancelled = place.scope.take_cancelled(&mut self.pending);
        self.gateway.pipeline.close_all(&mut cancelled, Status::Cancelled, "cancelled by the client").await;
        if self.pending.is_empty() {
            return;
        }
        if resumable && place.intake.era == Era::Session {
            self.pending.move_to(&mut place.scope.pending());
            return;
        }
        self.fail(&Reason::Answer("the stream ended before the answer")).await;
    }

    async fn follow_whole(
        &mut self,
        place: &Place,
        status: StatusCode,
        mut headers: HeaderMap,
        body: Incoming,
    ) {
        let gateway = Arc::clone(&self.gateway);
        let content = match answer::read(&gateway.places, body, &gateway.limits).await {
            Ok(content) => content,
            Err(error) => return self.fail(&Reason::Whole(error)).await,
        };
        match gateway.pipeline.settle_whole(&place.scope, &mut self.pending, status, &content).await {
            Ok(released)
                if !status.is_success()
                    && matches!(self.reply, Reply::Stream(_))
                    && released.answered().is_empty() =>
            {
                // Its status has no place in a stream that has begun.
                let reason = Reason::Answer("it is an HTTP error");
                let refused = Refused::requests(&place.asked, &reason);
                self.tell(&refused).await;
            }
            Ok(released) if released.body().is_empty() && !content.body().is_empty() => {
                // As a server that has nothing to answer.
                let status = if status.is_success() { StatusCode::ACCEPTED } else { status };
                headers.remove(header::CONTENT_TYPE);
                self.reply.whole(status, headers, Bytes::new());
            }
            Ok(released) => {
                self.learn_tools(place, released.body());
                self.reply_whole(status, headers, released.body()).await;
            }
            Err(refused) => self.tell(&refused).await,
        }
    }

    async fn reply_whole(&mut self, status: StatusCode, mut headers: HeaderMap, body: &recorder::Body) {
        if matches!(self.reply, Reply::Stream(_)) {
            // The client was kept waiting by a stream: what comes is an event of it.
            Framing::message().write(&mut self.reply, body).await;
            return;
        }
        if let recorder::Body::Memory(bytes) = body {
            return self.reply.whole(status, headers, bytes.clone());
        }
        // With its length said, a body that breaks off is not taken for a whole one.
        headers.insert(header::CONTENT_LENGTH, header::HeaderValue::from(body.len()));
        self.reply.start(status, headers);
        let mut reading = Reading::of(body);
        while let Some(Ok(piece)) = reading.next().await {
            if !self.reply.part(piece).await {
                return;
            }
        }
    }

    /// Learns from a list as it is shown: what is kept from everybody is nobody's to tell from what is not there.
    fn learn_tools(&self, place: &Place, shown: &recorder::Body) {
        if place.intake.lists_tools
            && place.intake.era == Era::Stateless
            && let recorder::Body::Memory(answer) = shown
        {
            self.gateway.declared.learn(&self.server.name, answer);
        }
    }

    /// Over a stream of messages: what answers this exchange comes as events.
    async fn over_bridge(&mut self, place: &Place, released: Released, requests: bridge::Requests) {
        let Some(bridge) = place.session.bridge.get().cloned() else {
            return self.fail(&Reason::ServerEnded).await;
        };
        let mut waiting: Vec<_> = requests.iter().map(|(id, _)| id.clone()).collect();
        let ended = Reason::ServerEnded;
        let Ok(mut answers) = bridge.exchange(released, requests).await else {
            return self.fail_bridge(place, &waiting, &ended).await;
        };
        if waiting.is_empty() {
            return self.reply.whole(StatusCode::ACCEPTED, HeaderMap::new(), Bytes::new());
        }
        let mut headers = event_stream_headers();
        if place.intake.initializes {
            self.gateway.mint_session(&place.session, &mut headers);
        }
        self.reply.start(StatusCode::OK, headers);
        let cancels = place.intake.era == Era::Stateless;
        let limits = &self.gateway.limits;
        let mut hearing = self.hearing(place).await;
        let longest = if place.intake.listens { limits.silence } else { limits.answer_wait };
        while !waiting.is_empty() {
            let answer = tokio::select! {
                answer = tokio::time::timeout(longest, answers.recv()) => answer,
                changed = news::heard(&mut hearing) => {
                    let mut subscriptions = place.scope.pending().listening();
                    subscriptions.retain(|(id, _)| waiting.contains(id));
                    let change = (subscriptions, changed);
                    self.tell_change(&place.scope, change, &Framing::message()).await;
                    continue;
                }
                () = self.reply.gone(), if cancels => return self.cancel_at(place, &bridge, &waiting).await,
            };
            let released = match answer {
                Ok(Some(released)) => released,
                Ok(None) => return self.fail_bridge(place, &waiting, &ended).await,
                Err(_) => {
                    waiting.iter().for_each(|id| bridge.forget(id));
                    let reason = Reason::Unreachable(Unreachable::Timeout);
                    return self.fail_bridge(place, &waiting, &reason).await;
                }
            };
            waiting.retain(|id| !released.answered().contains(id));
            // In the session era the answers are recorded whether or not somebody takes them.
            Framing::message().write(&mut self.reply, released.body()).await;
        }
    }

    /// The client has gone in the stateless era: the server is told what that cancels.
    async fn cancel_at(&mut self, place: &Place, bridge: &Bridge, waiting: &[IdBuf]) {
        for id in waiting {
            bridge.forget(id);
            let cancel = format!(
                r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{}}}}}"#,
                id.raw()
            );
            let route = Route { scope: &place.scope, exchange: None };
            let carried = self.gateway.pipeline.carry_bytes(route, &Bytes::from(cancel)).await;
            if let Ok(released) = carried {
                // The server may have ended.
                let _ = bridge.exchange(released, Vec::new()).await;
            }
        }
    }

    /// The server leaves requests unanswered. Their calls may have been ended with the server.
    async fn fail_bridge(&mut self, place: &Place, waiting: &[IdBuf], reason: &Reason) {
        for id in waiting {
            let taken = place.scope.pending().take(Side::Client, id);
            if let Some(call) = taken {
                self.pending.keep(Side::Client, id.clone(), call);
            }
        }
        self.gateway.pipeline.fail_all(&mut self.pending, reason, recorder::Body::default()).await;
        self.tell(&Refused::requests(waiting, reason)).await;
    }

    async fn stream_of_bridge(&mut self, place: &Place) {
        let Some(bridge) = place.session.bridge.get().cloned() else {
            return self.reply.whole(StatusCode::METHOD_NOT_ALLOWED, HeaderMap::new(), Bytes::new());
        };
        let mut messages = bridge.listen();
        let mut hearing = self.hearing(place).await;
        self.reply.start(StatusCode::OK, event_stream_headers());
        loop {
            let message = tokio::select! {
                message = messages.recv() => message,
                changed = news::heard(&mut hearing) => {
                    let change = (Vec::new(), changed);
                    if self.tell_change(&place.scope, change, &Framing::message()).await {
                        continue;
                    }
                    None
                }
                () = self.reply.gone() => None,
                () = self.gateway.stopping(&self.server) => None,
            };
            let Some(released) = message else { return };
            if !Framing::message().write(&mut self.reply, released.body()).await {
                return;
            }
        }
    }

    /// Enters the session that an upstream opened, or ends the one it no longer knows.
    async fn note_session(&self, place: &Place, status: StatusCode, headers: &HeaderMap) {
        let session = &place.session;
        match (place.intake.initializes, session_id(headers)) {
            (true, Some(id)) if status.is_success() => self.gateway.know_session(id, session),
            // A server without sessions: what the client's process sends from now on belongs here.
            (true, _) if status.is_success() => self.gateway.adopt(session).await,
            (true, _) => {}
            // Without an id it is no session that is unknown: some servers say 404 to a GET, and other calls go on meanwhile.
            (false, _)
                if status == StatusCode::NOT_FOUND
                    && place.intake.era == Era::Session
                    && session.scope.facts().session.is_some() =>
            {
                self.gateway.drop_session(session, "unknown to the server").await;
            }
            (false, _) => {}
        }
    }

    /// A run that was begun for a session that never came about ends with the exchange.
    async fn end_unborn(&self, place: &Place) {
        if place.intake.initializes && !self.gateway.runs.knows(&place.session) {
            self.gateway.close_run(&place.scope, "no session was opened").await;
        }
    }

    /// Closes what is open, without an answer to anybody.
    async fn abandon(&mut self, status: Status) {
        self.gateway.pipeline.close_all(&mut self.pending, status, "the client has gone").await;
    }

    /// Closes what is open as failed and tells the client.
    async fn fail(&mut self, reason: &Reason) {
        let failed =
            self.gateway.pipeline.fail_all(&mut self.pending, reason, recorder::Body::default()).await;
        self.tell(&failed).await;
    }

    /// Answers with an error, in whatever form the reply has begun.
    async fn tell(&mut self, refused: &Refused) {
        match &self.reply {
            Reply::Head(_) => self.refuse(refused),
            Reply::Stream(_) => {
                let event = mcp::framing::sse::encode_event(None, Some("message"), &refused.body);
                self.reply.part(event).await;
            }
            Reply::Done => {}
        }
    }

    fn refuse(&mut self, refused: &Refused) {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
        self.reply.whole(refused.status, headers, refused.body.clone());
    }
}
