//! What a client asks about a task of this gateway's, and the call that is made for one.
//!
//! The call is made beside the question, as an exchange of its own with the gateway itself for a client: it is judged, recorded,
//! masked and withheld as any other. Who asks waits for a few seconds, and otherwise hears of its end with a later question; that
//! they have gone does not cancel it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use mcp::message::Message;
use store::state::{HoldTask, TaskStanding};
use tokio::sync::oneshot;

use super::{Exchange, Place};
use crate::Gateway;
use crate::account::Side;
use crate::bridge::requests_of;
use crate::clock;
use crate::content::Content;
use crate::holds::Holds;
use crate::listen::streamable::in_exchange;
use crate::peer::Peer;
use crate::pipeline::Sent;
use crate::refusal::{Reason, Refused};
use crate::route::Route;
use crate::tasks::{About, Asks, Came, Next, TaskId, TaskMethod, Told};
use crate::upstream::{Link, Server};

/// How long who asks waits for a call that has begun: most tools are quicker.
const INLINE: Duration = Duration::from_secs(5);

/// What a task came to whose call was being made when the gateway ended.
const CUT_OFF: &str = "the gateway ended while the call was being made; what became of it is not known, and it is not made again";

/// A task's call, about to be made.
struct Errand {
    gateway: Arc<Gateway>,
    server: Arc<Server>,
    peer: Arc<Peer>,
    task: TaskId,
    /// Under which hold it waited, and why that has ended, if it has.
    hold: (String, Option<String>),
    headers: HeaderMap,
    params: String,
    /// What a later round brings.
    more: Vec<(&'static str, String)>,
    /// How often the server has asked something.
    round: u32,
}

impl Exchange {
    /// Answers what is asked about a task of this gateway's.
    pub(super) async fn about_task(
        &self,
        place: &Place,
        (about, sent): (About<'_>, Sent<'_>),
        holds: &Arc<Holds>,
    ) -> Refused {
        let pipeline = &self.gateway.pipeline;
        let found = async {
            if !about.params.takes_tasks() {
                return Err(Reason::NoTasks);
            }
            let row = holds.task(&about.task, (&self.peer, &place.scope)).await?.ok_or(Reason::NoTask)?;
            let heard = pipeline.hear_about(&place.scope, (&about, sent), &row.hold).await?;
            Ok((row, heard))
        };
        let (reason, heard) = match found.await {
            Ok((row, heard)) => match self.see_to(holds, place, (&about, &row), sent.headers).await {
                Ok(told) => match pipeline.answer_about(heard, about.id, &told).await {
                    Ok(answer) => return answer,
                    // It is recorded as well as it could be.
                    Err(reason) => return Refused::frame(sent.frame, Side::Client, &reason),
                },
                Err(reason) => (reason, Some(heard)),
            },
            Err(reason) => (reason, None),
        };
        pipeline.turn_back_about(&place.scope, (&about, sent), (heard, reason)).await
    }

    /// Does what is asked; gives what is told.
    async fn see_to(
        &self,
        holds: &Arc<Holds>,
        place: &Place,
        (about, row): (&About<'_>, &HoldTask),
        headers: Option<&HeaderMap>,
    ) -> Result<Told, Reason> {
        match about.method {
            TaskMethod::Get => {
                self.go_on(holds, (about, row), headers).await?;
                let mine = (&*self.peer, &*place.scope);
                let row = holds.task(&about.task, mine).await?.ok_or(Reason::NoTask)?;
                return holds.told(&about.task, &row).ok_or(Reason::NoTask);
            }
            TaskMethod::Update => self.answer(holds, (about, row), headers).await?,
            TaskMethod::Cancel => drop(holds.cancel(&about.task).await?),
        }
        Ok(Told::heard())
    }

    /// Has the call made if people have decided, and waits for it a little.
    async fn go_on(
        &self,
        holds: &Arc<Holds>,
        (about, row): (&About<'_>, &HoldTask),
        headers: Option<&HeaderMap>,
    ) -> Result<(), Reason> {
        let task = &about.task;
        match row.standing {
            TaskStanding::Waits if holds.is_decided(&row.hold) => {
                self.begin(holds, (task, row), headers, (Vec::new(), 0)).await?;
            }
            TaskStanding::Asks => {
                // A server that asks nothing wants to be asked again.
                if let Some(asks) = holds.asked_by_server(task, row).filter(Asks::is_nothing) {
                    self.begin(holds, (task, row), headers, (asks.bring(None), asks.rounds())).await?;
                }
            }
            TaskStanding::Runs => lay_to_rest(holds, task).await?,
            TaskStanding::Waits | TaskStanding::Done | TaskStanding::Cancelled => {}
        }
        // Whoever begins it: it is waited for.
        let _ = tokio::time::timeout(INLINE, holds.running.over(task.digest())).await;
        Ok(())
    }

    /// Brings the server what it has asked for, once all of it is there.
    async fn answer(
        &self,
        holds: &Arc<Holds>,
        (about, row): (&About<'_>, &HoldTask),
        headers: Option<&HeaderMap>,
    ) -> Result<(), Reason> {
        let Some(asks) = holds.asked_by_server(&about.task, row) else { return Ok(()) };
        let Some(answers) = asks.answers(&about.params.input_responses()) else { return Ok(()) };
        self.begin(holds, (&about.task, row), headers, (asks.bring(Some(answers)), asks.rounds())).await
    }

    /// Has the call of a task made, unless somebody else does.
    async fn begin(
        &self,
        holds: &Arc<Holds>,
        (task, row): (&TaskId, &HoldTask),
        headers: Option<&HeaderMap>,
        (more, round): (Vec<(&'static str, String)>, u32),
    ) -> Result<(), Reason> {
        let Some(place) = holds.running.enter(task.digest()) else { return Ok(()) };
        let deferred = holds.deferred(task, row).ok_or(Reason::NoTask)?;
        // From where it stood when it was read: of two answers to one question of the server's, one goes on.
        if !holds.turn(task, Next::Begins(row.standing, row.said.clone())).await? {
            return Ok(());
        }
        let ended = holds.standing(&row.hold).and_then(|hold| hold.end()).filter(|_| round == 0);
        let errand = Errand {
            gateway: Arc::clone(&self.gateway),
            server: Arc::clone(&self.server),
            peer: Arc::clone(&self.peer),
            task: task.clone(),
            hold: (row.hold.clone(), ended),
            headers: deferred.headers(headers.unwrap_or(&HeaderMap::new())),
            params: deferred.params,
            more,
            round,
        };
        let holds = Arc::clone(holds);
        // Joined by whoever waits for its place: who asks, and the gateway when it ends.
        tokio::spawn(async move {
            let next = errand.made().await;
            let kept = match next {
                Some(next) => holds.turn(&errand.task, next).await,
                None => Ok(false),
            };
            if !matches!(kept, Ok(true)) {
                tracing::error!(
                    "what came of a task's call was not kept; its client is told that it is not known"
                );
            }
            drop(place);
        });
        Ok(())
    }

    /// Makes the call of a task. `held` is told under which hold it waits again, if it does.
    async fn make(
        mut self,
        (headers, bytes): (HeaderMap, Bytes),
        over: Option<(String, String)>,
        held: oneshot::Sender<String>,
    ) {
        let content = Content::Small(bytes.clone());
        let frame = match content.parse() {
            Ok(frame) => frame,
            Err(error) => return self.refuse(&Refused::unparsed(None, &error.into())),
        };
        let place = match self.place(&headers, &frame).await {
            Ok(place) => place,
            Err(reason) => {
                let sent = (&content, &frame, &headers);
                let refused = self.gateway.refuse_frame(&self.server, &self.peer, sent, reason).await;
                return self.refuse(&refused);
            }
        };
        let (gateway, peer) = (Arc::clone(&self.gateway), Arc::clone(&self.peer));
        let sent = Sent {
            side: Side::Client,
            content: &content,
            frame: &frame,
            headers: Some(&headers),
            peer: &peer,
        };
        if let Some((hold, why)) = &over {
            let refused = gateway.pipeline.end_held(&place.scope, sent, (hold, why)).await;
            return self.refuse(&refused);
        }
        let exchange = matches!(self.server.link, Link::Http(_)).then_some(&mut self.pending);
        let route = Route { scope: &place.scope, exchange };
        match gateway.pipeline.carry(route, sent, &bytes).await {
            Ok(released) => {
                // It is not held again: whoever takes in the answer begins with that, before it fills its channel.
                drop(held);
                self.send_on(&place, released, (requests_of(&frame), &headers)).await;
            }
            Err(refused) => match &refused.held {
                // Who waits for it has gone only with the gateway.
                Some(hold) => drop(held.send(hold.clone())),
                None => self.refuse(&refused),
            },
        }
    }
}

impl Errand {
    /// Makes the call; gives how its task goes on.
    async fn made(&self) -> Option<Next> {
        let id = format!("tollbook-{}", clock::new_secret());
        let more: Vec<(&str, &str)> = self.more.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let bytes = Bytes::from(Message::of_deferred(&id, &self.params, &more).ok()?);
        let (held, heard) = oneshot::channel();
        let over = self.hold.1.clone().map(|why| (self.hold.0.clone(), why));
        let headers = self.headers.clone();
        let response = in_exchange(&self.gateway, (&self.server, &self.peer), |reply| {
            let (gateway, server) = (Arc::clone(&self.gateway), Arc::clone(&self.server));
            Exchange::new(gateway, server, Arc::clone(&self.peer), reply).make((headers, bytes), over, held)
        })
        .await;
        if let Ok(hold) = heard.await {
            return Some(Next::Waits(hold));
        }
        let came = match super::taken::answer(response, &id).await {
            Ok(answer) => Came::of(&answer, self.round),
            Err(why) => Came::lost(&why),
        };
        Next::after(&self.task, &came)
    }
}

/// Ends a task whose call nobody is making any more: what became of it is not known.
async fn lay_to_rest(holds: &Holds, task: &TaskId) -> Result<(), Reason> {
    // With its place taken nobody begins it meanwhile.
    let Some(_place) = holds.running.enter(task.digest()) else { return Ok(()) };
    if let Some(next) = Next::after(task, &Came::lost(CUT_OFF)) {
        // Whoever made it may have ended it by now.
        let _ = holds.turn(task, next).await?;
    }
    Ok(())
}
