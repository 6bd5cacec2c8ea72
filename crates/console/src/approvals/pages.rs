//! Calls that wait for people, as plain pages: `/approvals`, and one for each. A GET decides nothing, so that who follows links by
//! machine changes nothing.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ALLOW, HeaderValue, SET_COOKIE};
use http::{Method, Response, StatusCode};
use http_body_util::Full;
use store::state::{Cast, Hold, StateError, Which};

use super::card::Listed;
use super::sheet::{self, Row, Sheet};
use super::{Came, Scope, Wish, decide, hindrance, hold_id, look, note_unknown, reason, standing};
use crate::desk::{Asked, Desk, Present, page, see, unavailable, unreadable};
use crate::form::Form;
use crate::html;

/// Calls on the list.
const LISTED: u32 = 100;

/// Answers what is at `/approvals` and below.
pub(crate) async fn answer(desk: &Desk, who: Option<Present>, asked: &Asked) -> Response<Full<Bytes>> {
    let Some(place) = Place::of(&asked.path) else { return nothing() };
    let Some(who) = who else {
        if let Place::One(_) = place {
            desk.tell_forbidden(None, asked, "nobody is logged in").await;
        }
        return turned_to_login(&asked.path);
    };
    let reading = matches!(asked.method, Method::GET | Method::HEAD);
    match place {
        Place::All if reading => list(desk, &who).await,
        Place::One(id) if reading => show(desk, (&who, asked), id, (StatusCode::OK, None)).await,
        Place::One(id) if asked.method == Method::POST => said(desk, (&who, asked), id).await,
        Place::All => not_so("GET, HEAD"),
        Place::One(_) => not_so("GET, HEAD, POST"),
    }
}

/// Where somebody may be led after a login: pages of this kind alone, whatever the link says.
pub(crate) fn destination(path: &str) -> Option<&str> {
    Place::of(path).map(|_| path)
}

enum Place<'a> {
    All,
    One(&'a str),
}

impl Place<'_> {
    fn of(path: &str) -> Option<Place<'_>> {
        match path.strip_prefix("/approvals")? {
            "" => Some(Place::All),
            rest => hold_id(rest.strip_prefix('/')?).map(Place::One),
        }
    }
}

/// A browser that comes from elsewhere (a link in a mail) does not bring the session's cookie along; one that a page of ours sends
/// on does.
fn turned_to_login(path: &str) -> Response<Full<Bytes>> {
    let on = format!(
        "<meta http-equiv=\"refresh\" content=\"0;url=/login?next={path}\">\
         <p>This is for operators. <a href=\"/login?next={path}\">Log in</a></p>"
    );
    page(StatusCode::UNAUTHORIZED, "Log in first", &on)
}

async fn list(desk: &Desk, who: &Present) -> Response<Full<Bytes>> {
    let (state, now) = (Arc::clone(desk.operators().state()), desk.now());
    let read = move || -> Result<_, StateError> {
        let open = state.hold_page(Which::Open, None, LISTED)?;
        let all = state.hold_page(Which::All, None, LISTED)?;
        let ended: Vec<_> = all.into_iter().filter(|hold| hold.ended.is_some()).take(10).collect();
        Ok((open, ended))
    };
    match tokio::task::spawn_blocking(read).await {
        Ok(Ok((open, ended))) => {
            let of = |holds: &[Hold]| -> Vec<Row> {
                let row = |hold| Row { hold: Listed::of(hold), standing: standing(hold, now).as_str() };
                holds.iter().map(row).collect()
            };
            page(StatusCode::OK, "Approvals", &sheet::list((&of(&open), &of(&ended)), &who.operator, now))
        }
        _ => unavailable(),
    }
}

/// The page of a hold; `told`: the status, and what went wrong with what somebody said.
async fn show(
    desk: &Desk,
    (who, asked): (&Present, &Asked),
    id: &str,
    (status, wrong): (StatusCode, Option<String>),
) -> Response<Full<Bytes>> {
    let (state, now) = (desk.operators().state().acting(&who.operator.identity, desk.now()), desk.now());
    let (source, looks) = (Arc::clone(&asked.source), Arc::clone(desk.looks()));
    let (operator, of) = (who.operator.clone(), id.to_owned());
    let read = move || -> Result<_, StateError> {
        let Some(hold) = state.hold(&of)? else {
            note_unknown(&state, "approvals.read", &of)?;
            return Ok(None);
        };
        let card = look(&*source, (&state, &looks), &hold, (&operator, now))?;
        let hindrance = hindrance(&state, &hold, (&operator, now))?;
        Ok(Some((card, standing(&hold, now), hindrance)))
    };
    match tokio::task::spawn_blocking(read).await {
        Ok(Ok(Some((card, standing, hindrance)))) => {
            let sheet = Sheet { card: &card, standing, hindrance, operator: &who.operator, now };
            page(status, "Approval", &sheet.html(wrong.as_deref()))
        }
        Ok(Ok(None)) => nothing(),
        Ok(Err(error)) => {
            tracing::error!(%error, "what waits for people cannot be shown");
            unavailable()
        }
        Err(_) => unavailable(),
    }
}

/// What somebody says by the form.
async fn said(desk: &Desk, (who, asked): (&Present, &Asked), id: &str) -> Response<Full<Bytes>> {
    let Some(form) = Form::of(asked) else {
        desk.tell_forbidden(Some(who), asked, "the form cannot be read").await;
        return unreadable();
    };
    if !who.operator.sent(form.field("csrf").unwrap_or_default()) {
        desk.tell_forbidden(Some(who), asked, "the form's token is missing or wrong").await;
        let text = "<p>Open the page again and say it there.</p>";
        return page(StatusCode::FORBIDDEN, "Not from here", text);
    }
    if !who.operator.may(identity::operators::Permission::Approve) {
        desk.tell_forbidden(Some(who), asked, "no role of theirs permits to decide on calls that wait").await;
        return page(StatusCode::FORBIDDEN, "Not for you", "<p>You are no approver; ask an admin.</p>");
    }
    let wish = match wish(&form) {
        Ok(wish) => wish,
        Err(wrong) => {
            let told = (StatusCode::UNPROCESSABLE_ENTITY, Some(wrong.to_owned()));
            return show(desk, (who, asked), id, told).await;
        }
    };
    let (state, now) = (desk.operators().state().acting(&who.operator.identity, desk.now()), desk.now());
    let (source, operator, of) = (Arc::clone(&asked.source), who.operator.clone(), id.to_owned());
    let done =
        tokio::task::spawn_blocking(move || decide(&*source, &state, (&of, &wish), (&operator, now))).await;
    match done {
        // The page is asked for anew, so that a reload says nothing twice.
        Ok(Ok(Came::Cast(cast))) if cast.counts() => see(&asked.path),
        Ok(Ok(Came::Cast(Cast::Unknown))) => nothing(),
        Ok(Ok(came)) => {
            let told = (StatusCode::CONFLICT, Some(sheet::declined(came)));
            show(desk, (who, asked), id, told).await
        }
        Ok(Err(error)) => {
            tracing::error!(%error, "what somebody decided cannot be kept");
            unavailable()
        }
        Err(_) => unavailable(),
    }
}

/// What the form says; what is wrong with it.
fn wish(form: &Form) -> Result<Wish, &'static str> {
    const WHY: &str = "Say why, in 500 characters at most: who asked reads it.";
    let why = || form.field("ready").or(form.field("reason")).and_then(reason).ok_or(WHY);
    let digest = form.field("digest").unwrap_or_default().to_owned();
    match form.field("decision") {
        Some("once") => Ok(Wish::Approve { digest, scope: Scope::Call }),
        Some("run") => {
            let any = form.names().filter_map(|name| name.strip_prefix("any.")).map(str::to_owned).collect();
            Ok(Wish::Approve { digest, scope: Scope::Run { any } })
        }
        Some("refuse") => Ok(Wish::Refuse { reason: why()? }),
        Some("prolong") => Ok(Wish::Prolong),
        Some("withdraw") => Ok(Wish::Withdraw { reason: why()? }),
        _ => Err("Nothing was said. Use one of the buttons."),
    }
}

fn nothing() -> Response<Full<Bytes>> {
    let text = "<p>There is no such call here, or not any more. <a href=\"/approvals\">All that wait</a></p>";
    page(StatusCode::NOT_FOUND, "Not found", text)
}

fn not_so(allowed: &'static str) -> Response<Full<Bytes>> {
    let mut response = page(StatusCode::METHOD_NOT_ALLOWED, "Not so", "<p>This is not done that way.</p>");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

/// The cookie by which a browser finds back to a page after a login, and its end. What it holds is checked again then.
pub(crate) fn way_back(path: Option<&str>, secure: &str) -> HeaderValue {
    let (path, age) = path.map_or(("", 0), |path| (path, 600));
    let text = format!("{}={path}; Path=/; HttpOnly; SameSite=Strict; Max-Age={age}{secure}", html::WAY_BACK);
    // Paths are of our own letters.
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Sends somebody who is logged in to where they wanted to go.
pub(crate) fn led_back(path: &str, secure: &str) -> Response<Full<Bytes>> {
    let mut response = see(path);
    response.headers_mut().append(SET_COOKIE, way_back(None, secure));
    response
}

#[cfg(test)]
mod tests {
    use super::destination;

    #[test]
    fn a_login_leads_to_pages_of_ours_alone() {
        let hold = format!("/approvals/hold_{}", "0a".repeat(16));
        for path in ["/approvals", hold.as_str()] {
            assert_eq!(destination(path), Some(path));
        }
        for path in [
            "",
            "/",
            "//evil.example",
            "/approvals/",
            "/approvals//evil.example",
            "/approvals/..//evil.example",
            "/approvals/hold_00",
            "/approvalsx",
            "https://evil.example/approvals",
            "/login",
            &format!("{hold}\r\nset-cookie: a=b"),
            &format!("{hold}?x"),
            &hold.to_uppercase(),
        ] {
            assert_eq!(destination(path), None, "{path}");
        }
    }
}
