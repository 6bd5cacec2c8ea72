//! `/approvals/HOLD`: the page that shows a requester how a held call stands. It decides nothing, and says no more than the
//! client was told: whoever follows a link to it, a program that looks for malware too, changes nothing.

use std::net::IpAddr;

use http::{HeaderName, Method, Response, StatusCode};
use store::state::{Hold, HoldStatus, Need};

use crate::clock;
use crate::holds::Holds;
use crate::listen::page::{escaped, facts, page};
use crate::listen::reply::{self, Body};

/// Seconds after which a browser asks again while people decide.
const AGAIN: &str = "5";

/// Serves the page of a hold, as often as it may be looked at from there.
pub(crate) async fn serve(
    holds: Option<&Holds>,
    id: &str,
    (method, address): (&Method, Option<IpAddr>),
) -> Response<Body> {
    if method != Method::GET {
        let mut response = reply::text(StatusCode::METHOD_NOT_ALLOWED, "nothing is decided here");
        response.headers_mut().insert(http::header::ALLOW, http::HeaderValue::from_static("GET"));
        return response;
    }
    let Some(holds) = holds else { return unknown() };
    if let Err(seconds) = holds.visits.enter(address, clock::unix_ms()) {
        return reply::too_often("this page was looked at too often; try again soon", seconds);
    }
    match holds.look_at(id).await {
        Ok(Some(hold)) => shown(&hold),
        Ok(None) => unknown(),
        Err(error) => {
            tracing::error!(%error, "the page of a hold cannot be shown");
            reply::text(StatusCode::SERVICE_UNAVAILABLE, "it cannot be told how this call stands; try again")
        }
    }
}

fn unknown() -> Response<Body> {
    let html = "<p>Nothing waits under this address.</p>";
    page(StatusCode::NOT_FOUND, ("Unknown", html), Vec::new())
}

fn shown(hold: &Hold) -> Response<Body> {
    let now = clock::unix_seconds();
    let (title, text) = match hold.status {
        HoldStatus::Pending => (
            "Waits for approval",
            "Others decide on this call, in a place of their own: nothing can be approved here. You may close this page; your \
             client goes on by itself, or says when to try again.",
        ),
        HoldStatus::Approved => {
            ("Approved", "The call may be made. Your client goes on by itself, or when it tries again.")
        }
        HoldStatus::Used => ("Approved", "The call was made."),
        HoldStatus::Refused => ("Refused", "The call was not made."),
        HoldStatus::Expired | HoldStatus::Withdrawn if hold.uses > 0 => {
            ("Ended", "It was approved for a while, and that is over.")
        }
        HoldStatus::Expired => {
            ("Ended", "Nobody decided in time, or nobody came back for the approval. The call was not made.")
        }
        HoldStatus::Withdrawn => ("Withdrawn", "The call was not made, and is not asked about any more."),
    };
    let call = format!("{} on {}", hold.key.name, hold.key.server);
    let (people, asked) = (Need::people(&hold.needs), span(now.saturating_sub(hold.created)));
    let ends = span(hold.deadline.saturating_sub(now));
    let mut told = vec![("Call", call.as_str()), ("Asked for", &asked), ("Number", &hold.id)];
    if hold.status == HoldStatus::Pending {
        told.extend([("Decided by", people.as_str()), ("Ends in", &ends)]);
    }
    if let (HoldStatus::Refused, Some(why)) = (hold.status, &hold.why) {
        told.push(("Why", why));
    }
    let html = format!("<p>{}</p>{}", escaped(text), facts(&told));
    let refresh =
        (hold.status == HoldStatus::Pending).then(|| (HeaderName::from_static("refresh"), AGAIN.to_owned()));
    page(StatusCode::OK, (title, &html), refresh.into_iter().collect())
}

/// A span of time in words.
fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3_600),
    }
}
