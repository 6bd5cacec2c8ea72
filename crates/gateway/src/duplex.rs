//! A stream of messages in each direction: what a stdio server, an HTTP+SSE connection and a `wrap` tunnel have in
//! common. Correlation is by id alone, so one loop per direction keeps the order in which messages arrived.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::account::Side;
use crate::pipeline::{Pipeline, Released, Route};
use crate::scope::Scope;

/// Messages that wait for a slow reader before the writer waits too.
pub(crate) const QUEUE: usize = 64;

/// One end of a stream of messages: what is sent there, what comes from there.
#[derive(Debug)]
pub(crate) struct End {
    /// Bounded by [`QUEUE`]: a full queue makes the sender wait. Dropping it ends that direction.
    pub(crate) to: mpsc::Sender<Released>,
    /// Each item is one message without its framing.
    pub(crate) from: mpsc::Receiver<Arrival>,
}

/// What came from an end.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// One message (or a batch), not parsed.
    Message(Bytes),
    /// Bytes that can be no message, for the reason given.
    Junk(&'static str),
    /// Nothing more will come: why, in words.
    Ended(String),
}

/// Carries messages between a client and a server until the server has ended, or the client has and the server was
/// given time to finish. Gives the reason.
pub(crate) async fn relay(pipeline: &Pipeline, scope: &Arc<Scope>, client: End, server: End) -> String {
    let End { to: to_client, from: mut from_client } = client;
    let End { to: to_server, from: mut from_server } = server;
    let back = to_server.downgrade();
    let up = async {
        let reason = carry_up(pipeline, scope, &mut from_client, &to_server, &to_client).await;
        // Dropping the sender closes the server's input; its last answers still come down.
        drop(to_server);
        reason
    };
    let down = carry_down(pipeline, scope, &mut from_server, (&to_client, &back));
    tokio::pin!(up, down);
    tokio::select! {
        _client_left = &mut up => down.await,
        reason = &mut down => reason,
    }
}

async fn carry_up(
    pipeline: &Pipeline,
    scope: &Scope,
    from_client: &mut mpsc::Receiver<Arrival>,
    to_server: &mpsc::Sender<Released>,
    to_client: &mpsc::Sender<Released>,
) -> String {
    while let Some(arrival) = from_client.recv().await {
        let sent = match arrival {
            Arrival::Message(message) => {
                match pipeline.carry_bytes(Route { scope, exchange: None }, Side::Client, &message).await {
                    Ok(released) => to_server.send(released).await,
                    Err(refused) => match refused.owed {
                        Some(Side::Client) => to_client.send(Released::refusal(refused)).await,
                        Some(Side::Server) => to_server.send(Released::refusal(refused)).await,
                        None => Ok(()),
                    },
                }
            }
            Arrival::Junk(reason) => {
                tracing::warn!(server = &*scope.server, reason, "a client sent what is no message");
                Ok(())
            }
            Arrival::Ended(reason) => return reason,
        };
        if sent.is_err() {
            return "the other side has ended".to_owned();
        }
    }
    "the client has left".to_owned()
}

async fn carry_down(
    pipeline: &Pipeline,
    scope: &Scope,
    from_server: &mut mpsc::Receiver<Arrival>,
    (to_client, to_server): (&mpsc::Sender<Released>, &mpsc::WeakSender<Released>),
) -> String {
    while let Some(arrival) = from_server.recv().await {
        match arrival {
            Arrival::Message(message) => {
                match pipeline.carry_bytes(Route { scope, exchange: None }, Side::Server, &message).await {
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
                            Some(Side::Client) => drop(to_client.send(Released::refusal(refused)).await),
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
            Arrival::Junk(reason) => {
                tracing::warn!(server = &*scope.server, reason, "a server printed what is no message");
            }
            Arrival::Ended(reason) => return reason,
        }
    }
    "the server has ended".to_owned()
}
