//! A frame on its way up, which may have to wait for people.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use tokio::time::Instant;

use super::{Exchange, Place};
use crate::asking::Said;
use crate::bridge::Requests;
use crate::pipeline::{Released, Sent};
use crate::refusal::Refused;
use crate::route::Route;
use crate::upstream::Link;
use crate::wait::{Courier, Wait, Waited};

impl Exchange {
    /// Carries a frame up, for the first time or again.
    pub(super) async fn carry_up(
        &mut self,
        place: &Place,
        sent: Sent<'_>,
        bytes: &Bytes,
    ) -> Result<Released, Refused> {
        let gateway = Arc::clone(&self.gateway);
        if let Some(holds) = gateway.pipeline.holds()
            && let Some(about) = holds.about(sent.frame)
        {
            // Boxed: few ask about tasks, and all exchanges would be larger by it.
            return Err(Box::pin(self.about_task(place, (about, sent), holds)).await);
        }
        let Some(again) = gateway.pipeline.again(&place.scope, sent).await? else {
            return self.carry_or_wait(place, sent, bytes, Said::Seen).await;
        };
        let content = again.content();
        let frame = content.parse().map_err(|error| Refused::unparsed(None, &error.into()))?;
        let sent = Sent { content: &content, frame: &frame, ..sent };
        if let Said::Over(why) = &again.said {
            return Err(gateway.pipeline.end_held(&place.scope, sent, (&again.hold, why)).await);
        }
        self.carry_or_wait(place, sent, &again.bytes, again.said).await
    }

    /// Sends on what was carried, and follows what answers it.
    pub(super) async fn send_on(
        &mut self,
        place: &Place,
        released: Released,
        (requests, headers): (Requests, &HeaderMap),
    ) {
        match &self.server.link {
            Link::Http(upstream) => {
                let upstream = Arc::clone(upstream);
                self.over_http(place, &upstream, released, headers).await;
            }
            Link::Sse(..) | Link::Stdio(_) => self.over_bridge(place, released, requests).await,
        }
    }

    /// Carries a frame up. Where it is held, people are waited for, and it is tried again.
    async fn carry_or_wait(
        &mut self,
        place: &Place,
        sent: Sent<'_>,
        bytes: &Bytes,
        said: Said,
    ) -> Result<Released, Refused> {
        let gateway = Arc::clone(&self.gateway);
        let mut waits_until = None;
        loop {
            // Over a stream of messages the answers come to the session, over HTTP to this exchange.
            let exchange = matches!(self.server.link, Link::Http(_)).then_some(&mut self.pending);
            let route = Route { scope: &place.scope, exchange };
            let refused = match gateway.pipeline.carry(route, sent, bytes).await {
                Ok(released) => return Ok(released),
                Err(refused) => refused,
            };
            let holds = gateway.pipeline.holds();
            let (Some(hold), Some(holds), Said::Seen) = (refused.held.as_deref(), holds, &said) else {
                return Err(refused);
            };
            let until = *waits_until.get_or_insert_with(|| Instant::now() + holds.inline());
            let wait = Wait { pipeline: &gateway.pipeline, scope: &place.scope, hold, until, sent };
            let waited = tokio::select! {
                waited = wait.out(holds, Courier::Reply(&mut self.reply)) => waited,
                () = gateway.stopping(&self.server) => Waited::Enough,
            };
            match waited {
                Waited::Decided if gateway.stands(&self.server.name, &self.peer) => {}
                Waited::Ended(why) => {
                    return Err(gateway.pipeline.end_held(&place.scope, sent, (hold, &why)).await);
                }
                Waited::Enough => {
                    // As above.
                    let task = Box::pin(gateway.pipeline.defer(&place.scope, sent, &refused)).await;
                    return Err(match task {
                        Some(answer) => answer,
                        None => holds.ask_back(sent, refused).await,
                    });
                }
                Waited::Decided | Waited::Gone => return Err(refused),
            }
        }
    }
}
