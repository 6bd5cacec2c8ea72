//! A stream of messages in each direction: what a stdio server, an HTTP+SSE connection and a `wrap` tunnel have in
//! common. Correlation is by id alone, so one loop per direction keeps the order in which messages arrived.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use mcp::message::Frame;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::account::Side;
use crate::asking::{Again, Said};
use crate::content::Content;
use crate::drain::Drain;
use crate::listen::body::BodyError;
use crate::pipeline::{Pipeline, Released, ReleasedBody, Sent};
use crate::refusal::{Reason, Refused};
use crate::route::Route;
use crate::scope::Scope;
use crate::taking::Lost;
use crate::wait::{Courier, Wait, Waited};

/// Messages that wait for a slow reader before the writer waits too.
pub(crate) const QUEUE: usize = 64;

/// Time for a server to end once its input was closed because the gateway ends.
pub(crate) const LAST_WORDS: Duration = Duration::from_secs(2);

/// One end of a stream of messages: what is sent there ([`Released`] to a server, [`ReleasedBody`] to a client), what comes
/// from there.
#[derive(Debug)]
pub(crate) struct End<T> {
    /// Bounded by [`QUEUE`]: a full queue makes the sender wait. Dropping it ends that direction.
    pub(crate) to: mpsc::Sender<T>,
    /// Each item is one message without its framing.
    pub(crate) from: mpsc::Receiver<Arrival>,
}

/// What came from an end.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// One message (or a batch), not parsed. A client's is small.
    Message(Content),
    /// A message that could not be taken in.
    Lost(Lost),
    /// Bytes that can be no message, for the reason given.
    Junk(&'static str),
    /// Nothing more will come: why, in words.
    Ended(String),
}

impl Arrival {
    /// Brings it to who carries it. A large message waits until all before it were fetched, so that no more than one waits on
    /// the disk for a slow receiver. `false`: nobody fetches it.
    pub(crate) async fn send(self, to: &mpsc::Sender<Arrival>) -> bool {
        if !matches!(self, Arrival::Message(Content::Large { .. })) {
            return to.send(self).await.is_ok();
        }
        let Ok(mut whole_queue) = to.reserve_many(to.max_capacity()).await else { return false };
        if let Some(place) = whole_queue.next() {
            place.send(self);
        }
        true
    }
}

/// Why a relay ended.
#[derive(Debug)]
pub(crate) enum Ending {
    /// The client has left, and then the server has ended.
    Client,
    /// The server has ended, in words.
    Server(String),
    /// The gateway is ending. The server's input is closed.
    Drained,
}

/// Carries messages between a client and a server until the server has ended, or the client has and the server was
/// given time to finish, or the gateway ends.
pub(crate) async fn relay(
    pipeline: &Pipeline,
    scope: &Arc<Scope>,
    client: End<ReleasedBody>,
    server: End<Released>,
    drain: &Drain,
) -> Ending {
    let End { to: to_client, from: mut from_client } = client;
    let End { to: to_server, from: mut from_server } = server;
    let back = to_server.downgrade();
    let to_tell = to_client.clone();
    let telling = tell(pipeline, scope, &to_tell);
    let up = async {
        let ending = carry_up(pipeline, scope, &mut from_client, (&to_server, &to_client), drain).await;
        // Dropping the sender closes the server's input; its last answers still come down.
        drop(to_server);
        ending
    };
    let down = carry_down(pipeline, scope, &mut from_server, (&to_client, &back), drain);
    tokio::pin!(up, down, telling);
    tokio::select! {
        never = &mut telling => match never {},
        ending = &mut up => match ending {
            Left::Client => {
                down.await;
                Ending::Client
            }
            Left::Drained => {
                // Most servers end when their input does; the others are ended by who started them.
                let _ = tokio::time::timeout(LAST_WORDS, down).await;
                Ending::Drained
            }
        },
        reason = &mut down => Ending::Server(reason),
    }
}

/// Tells the client what has changed of what it may see. It goes on for as long as the relay does.
async fn tell(pipeline: &Pipeline, scope: &Arc<Scope>, to_client: &mpsc::Sender<ReleasedBody>) -> Infallible {
    let mut hearing = pipeline.hearing(scope, &scope.peer).await;
    loop {
        let changed = hearing.next().await;
        let subscriptions = scope.pending().listening();
        for released in pipeline.tell(scope, subscriptions, changed).await {
            // The client may have gone: the relay sees that for itself.
            drop(to_client.send(released).await);
        }
    }
}

/// Why nothing more goes up.
enum Left {
    Client,
    Drained,
}

/// A client's frame that waits for people, and what it is answered if they do not decide in time.
struct Held {
    content: Content,
    refused: Refused,
    until: Instant,
}

/// Where frames of a client come from, and where what becomes of them goes.
struct Way<'a> {
    pipeline: &'a Pipeline,
    scope: &'a Arc<Scope>,
    to_client: &'a mpsc::Sender<ReleasedBody>,
    drain: &'a Drain,
}

async fn carry_up(
    pipeline: &Pipeline,
    scope: &Arc<Scope>,
    from_client: &mut mpsc::Receiver<Arrival>,
    (to_server, to_client): (&mpsc::Sender<Released>, &mpsc::Sender<ReleasedBody>),
    drain: &Drain,
) -> Left {
    let drained = drain.is_over(scope);
    tokio::pin!(drained);
    let way = Way { pipeline, scope, to_client, drain };
    let mut held = FuturesUnordered::<Pin<Box<dyn Future<Output = (Held, bool)> + Send>>>::new();
    loop {
        // Between two messages: what has begun to cross does so.
        let arrival = tokio::select! {
            arrival = from_client.recv() => arrival,
            () = &mut drained => {
                // Their waits are over too; what is decided by now is for another try.
                while let Some((waited, _)) = held.next().await {
                    send(Err(waited.refused.for_good()), to_server, to_client).await;
                }
                return Left::Drained;
            }
            Some(waited) = held.next() => {
                match way.try_again(waited).await {
                    Ok(waits) => held.push(Box::pin(way.wait(waits))),
                    Err(carried) => if !send(carried, to_server, to_client).await { return Left::Client },
                }
                continue;
            }
        };
        let Some(arrival) = arrival else { return Left::Client };
        let goes_on = match arrival {
            Arrival::Message(content) => {
                let (content, carried) = way.carry_first(content).await;
                match (carried, pipeline.holds()) {
                    (Err(refused), Some(holds)) if refused.held.is_some() && held.len() < HELD => {
                        let until = Instant::now() + holds.inline();
                        held.push(Box::pin(way.wait(Held { content, refused, until })));
                        true
                    }
                    (carried, _) => send(carried, to_server, to_client).await,
                }
            }
            Arrival::Lost(lost) => {
                let refused = refuse_lost(scope, &lost);
                to_client.send(ReleasedBody::refusal(&refused)).await.is_ok()
            }
            Arrival::Junk(reason) => {
                tracing::warn!(server = &*scope.server, reason, "a client sent what is no message");
                true
            }
            Arrival::Ended(_) => return Left::Client,
        };
        if !goes_on {
            return Left::Client;
        }
    }
}

/// Frames of a stream that wait for people at a time; others are answered at once.
const HELD: usize = 64;

impl Way<'_> {
    /// Carries a frame that has just come; gives it as it was carried.
    async fn carry_first(&self, content: Content) -> (Content, Result<Released, Refused>) {
        let again = match self.again(&content).await {
            Ok(None) => {
                let carried = self.carry(&content).await;
                return (content, carried);
            }
            Ok(Some(again)) => again,
            Err(refused) => return (content, Err(refused)),
        };
        let content = again.content();
        let carried = match &again.said {
            Said::Seen => self.carry(&content).await,
            Said::NotNow => self.carry(&content).await.map_err(Refused::for_good),
            Said::Over(why) => Err(self.end(&content, (&again.hold, why)).await),
        };
        (content, carried)
    }

    async fn carry(&self, content: &Content) -> Result<Released, Refused> {
        let Way { pipeline, scope, drain, .. } = *self;
        // Clients' messages are small: a large one was told of as lost.
        let Some(bytes) = content.in_memory() else { return Err(Refused::heard()) };
        match drain.refuse(pipeline, scope, content).await {
            Some(refused) => Err(refused),
            None => pipeline.carry_bytes(Route { scope, exchange: None }, bytes).await,
        }
    }

    async fn again(&self, content: &Content) -> Result<Option<Again>, Refused> {
        if !self.pipeline.holds().is_some_and(|holds| holds.may_know(content)) {
            return Ok(None);
        }
        // What cannot be read is refused where it is carried.
        let Ok(frame) = content.parse() else { return Ok(None) };
        self.pipeline.again(self.scope, self.sent(content, &frame)).await
    }

    async fn end(&self, content: &Content, hold: (&str, &str)) -> Refused {
        match content.parse() {
            Ok(frame) => self.pipeline.end_held(self.scope, self.sent(content, &frame), hold).await,
            Err(error) => Refused::unparsed(None, &error.into()),
        }
    }

    /// Waits until people have decided, or the frame's time is up. Others go on meanwhile.
    async fn wait(&self, mut held: Held) -> (Held, bool) {
        let Way { pipeline, scope, to_client, drain } = *self;
        let (Ok(frame), Some(hold), Some(holds)) =
            (held.content.parse(), held.refused.held.clone(), pipeline.holds())
        else {
            return (held, false);
        };
        let sent = self.sent(&held.content, &frame);
        let wait = Wait { pipeline, scope, hold: &hold, until: held.until, sent };
        let waited = tokio::select! {
            waited = wait.out(holds, Courier::Queue(to_client)) => waited,
            () = drain.begins() => Waited::Enough,
        };
        match waited {
            Waited::Decided => return (held, true),
            Waited::Ended(why) => held.refused = pipeline.end_held(scope, sent, (&hold, &why)).await,
            Waited::Enough => held.refused = holds.ask_back(sent, held.refused).await,
            Waited::Gone => {}
        }
        (held, false)
    }

    /// Carries a frame once more that has waited; `Ok`: it waits on.
    async fn try_again(&self, (held, is_decided): (Held, bool)) -> Result<Held, Result<Released, Refused>> {
        let Held { content, refused, until } = held;
        if !is_decided {
            return Err(Err(refused.for_good()));
        }
        match self.carry(&content).await {
            Err(refused) if refused.held.is_some() => Ok(Held { content, refused, until }),
            carried => Err(carried),
        }
    }

    fn sent<'a>(&'a self, content: &'a Content, frame: &'a Frame<'a>) -> Sent<'a> {
        Sent { side: Side::Client, content, frame, headers: None, peer: &self.scope.peer }
    }
}

/// Sends a frame on, or what it is answered instead. `false`: nobody is there any more.
async fn send(
    carried: Result<Released, Refused>,
    to_server: &mpsc::Sender<Released>,
    to_client: &mpsc::Sender<ReleasedBody>,
) -> bool {
    match carried {
        Ok(released) => to_server.send(released).await.is_ok(),
        Err(refused) => match refused.owed {
            Some(Side::Client) => to_client.send(ReleasedBody::refusal(&refused)).await.is_ok(),
            Some(Side::Server) => to_server.send(Released::refusal(refused)).await.is_ok(),
            None => true,
        },
    }
}

/// A client's message that was too large to be read.
fn refuse_lost(scope: &Scope, lost: &Lost) -> Refused {
    let reason = Reason::Body(BodyError::TooLarge);
    scope.meter.refuse(&reason);
    Refused::unparsed(lost.glimpse.asked().map(|id| id.raw()), &reason)
}

async fn carry_down(
    pipeline: &Pipeline,
    scope: &Scope,
    from_server: &mut mpsc::Receiver<Arrival>,
    (to_client, to_server): (&mpsc::Sender<ReleasedBody>, &mpsc::WeakSender<Released>),
    drain: &Drain,
) -> String {
    while let Some(arrival) = from_server.recv().await {
        match arrival {
            Arrival::Message(content) => {
                match pipeline.carry_down(Route { scope, exchange: None }, &content).await {
                    // A client that has left gets nothing more, but the record of what the server did goes on.
                    Ok(released) => drop(to_client.send(released).await),
                    Err(refused) => {
                        tracing::warn!(
                            server = &*scope.server,
                            reason = refused.reason(),
                            "a server's message was withheld"
                        );
                        // Who has left is owed nothing more.
                        match refused.owed {
                            Some(Side::Client) => drop(to_client.send(ReleasedBody::refusal(&refused)).await),
                            Some(Side::Server) => {
                                // Not waited for: a server that does not read would keep its own messages from
                                // being read.
                                let told =
                                    to_server.upgrade().map(|to| to.try_send(Released::refusal(refused)));
                                drop(told);
                            }
                            None => {}
                        }
                    }
                }
            }
            Arrival::Lost(lost) => {
                tracing::warn!(server = &*scope.server, reason = %lost.error, "a server's message was not taken in");
                for refused in pipeline.lose(scope, &lost).await {
                    // As above.
                    drop(to_client.send(ReleasedBody::refusal(&refused)).await);
                }
            }
            Arrival::Junk(reason) => {
                tracing::warn!(server = &*scope.server, reason, "a server printed what is no message");
            }
            Arrival::Ended(reason) => return reason,
        }
        drain.settled();
    }
    "the server has ended".to_owned()
}
