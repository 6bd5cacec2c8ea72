//! The operators' pages: login, logout, the link by which a password is chosen. Plain forms; nothing runs in them.
//!
//! Invariant: whatever changes something names this very origin in `Origin` (other ports of a machine are of the same site,
//! so cookies alone say nothing), and of a session sends back its token. A SAML provider's response proves itself (`saml.rs`).

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    ALLOW, CONTENT_SECURITY_POLICY, COOKIE, HOST, HeaderMap, HeaderValue, LOCATION, ORIGIN, REFERRER_POLICY,
    RETRY_AFTER, SET_COOKIE,
};
use http::{Method, Response, StatusCode};
use http_body_util::Full;
use identity::Secret;
use identity::operators::{EnrolError, Invited, LogIn, LoginRefused, Operator, Operators};
use store::state::Deed;
use tokio::sync::Semaphore;

use crate::approvals::{Looks, pages};
use crate::form::Form;
use crate::{Source, api, html, reply, saml};

/// Who waits for changes at a time: fewer than connections, so that others are answered meanwhile.
const FOLLOWERS: usize = 16;

/// Who looks after operators, and where they find the console.
#[derive(Debug)]
pub struct Desk {
    operators: Arc<Operators>,
    /// The address that browsers use, if another one leads here.
    public_url: Option<String>,
    /// Seconds since the Unix epoch.
    clock: fn() -> u64,
    looks: Arc<Looks>,
    /// Places to wait for changes; who finds none is told to come again.
    followers: Arc<Semaphore>,
}

/// A request, its body read.
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) address: IpAddr,
    pub(crate) source: Arc<dyn Source>,
}

/// Somebody who is logged in, and the secret of their session.
pub(crate) struct Present {
    pub(crate) operator: Operator,
    secret: String,
}

impl Desk {
    /// Made with what `[console]` says; `public_url` is an https address whose TLS ends before this port.
    pub fn new(operators: Arc<Operators>, public_url: Option<String>, clock: fn() -> u64) -> Desk {
        let (looks, followers) = (Arc::default(), Arc::new(Semaphore::new(FOLLOWERS)));
        Desk { operators, public_url, clock, looks, followers }
    }

    pub(crate) fn looks(&self) -> &Arc<Looks> {
        &self.looks
    }

    pub(crate) fn followers(&self) -> &Arc<Semaphore> {
        &self.followers
    }

    pub(crate) fn public_url(&self) -> Option<&str> {
        self.public_url.as_deref()
    }

    /// Who looks after operators.
    pub fn operators(&self) -> &Arc<Operators> {
        &self.operators
    }

    pub(crate) fn now(&self) -> u64 {
        (self.clock)()
    }

    /// Answers what is not for the health of the gateway.
    pub(crate) async fn answer(&self, asked: Asked) -> Response<Full<Bytes>> {
        let is_write = !matches!(asked.method, Method::GET | Method::HEAD);
        let who = match self.present(&asked.headers).await {
            Ok(who) => who,
            Err(response) => return *response,
        };
        let is_vouched = self.takes_response(&asked.method, &asked.path);
        if is_write && !is_vouched && !self.is_same_origin(&asked.headers) {
            self.tell_forbidden(who.as_ref(), &asked, "the request names no `Origin`, or another one").await;
            return page(
                StatusCode::FORBIDDEN,
                "Not from here",
                "<p>Open the console itself and try again.</p>",
            );
        }
        if asked.path.starts_with("/api/") {
            return api::answer(self, who, &asked).await;
        }
        if saml::method_of(&asked.path).is_some_and(|method| method == asked.method)
            && let Some(response) = self.saml(&asked).await
        {
            return response;
        }
        let reading = !is_write;
        match asked.path.as_str() {
            "/" if reading => match who {
                Some(who) => match self.wanted(&asked.headers) {
                    Some(path) => pages::led_back(&path, self.secure()),
                    None => home(&who.operator),
                },
                None => see("/login"),
            },
            "/style.css" if reading => {
                reply(StatusCode::OK, "text/css; charset=utf-8", html::STYLE.to_owned())
            }
            "/login" if reading => self.before_login(who.is_some(), &asked),
            "/login/provider" if asked.method == Method::GET => self.depart().await,
            "/login/callback" if asked.method == Method::GET => self.arrive(&asked).await,
            "/login" if asked.method == Method::POST => self.log_in(&asked).await,
            "/logout" if asked.method == Method::POST => self.log_out(who, &asked).await,
            path if path == "/approvals" || path.starts_with("/approvals/") => {
                pages::answer(self, who, &asked).await
            }
            path => match path.strip_prefix("/setup/") {
                Some(link) if reading => self.invited(link),
                Some(link) if asked.method == Method::POST => self.set_up(link, &asked).await,
                _ => not_here(path),
            },
        }
    }

    /// Who is logged in, by the session's cookie.
    async fn present(&self, headers: &HeaderMap) -> Result<Option<Present>, Box<Response<Full<Bytes>>>> {
        let Some(secret) = cookie_of(headers, self.names().0) else { return Ok(None) };
        let (operators, now) = (Arc::clone(&self.operators), self.now());
        let of = secret.clone();
        let found = tokio::task::spawn_blocking(move || operators.operator(&of, now)).await;
        match found {
            Ok(Ok(found)) => Ok(found.map(|operator| Present { operator, secret })),
            Ok(Err(error)) => {
                tracing::error!(%error, "sessions cannot be read");
                Err(Box::new(unavailable()))
            }
            Err(_) => Err(Box::new(unavailable())),
        }
    }

    async fn log_in(&self, asked: &Asked) -> Response<Full<Bytes>> {
        let form = Form::of(asked);
        let field = |name| form.as_ref().and_then(|form| form.field(name));
        let (Some(name), Some(password)) = (field("name"), field("password")) else {
            self.tell_forbidden(None, asked, "the form cannot be read").await;
            return unreadable();
        };
        let try_in = LogIn { name, password: Secret::new(password), address: asked.address };
        match self.operators.log_in(try_in, self.now()).await {
            Ok(secret) => with_cookie(see("/"), &self.cookie(secret.reveal())),
            Err(refused) => self.refused(&refused),
        }
    }

    /// The form of a login; where it should lead to is kept for after it.
    fn before_login(&self, is_in: bool, asked: &Asked) -> Response<Full<Bytes>> {
        let query = Form::parse(asked.query.as_bytes());
        let next = query.as_ref().and_then(|query| pages::destination(query.field("next")?));
        match next {
            Some(next) if is_in => see(next),
            _ => {
                let mut response = page(StatusCode::OK, "Log in", &self.login_form());
                let way_back = next.map(|next| pages::way_back(Some(next), self.secure()));
                response.headers_mut().extend(way_back.map(|cookie| (SET_COOKIE, cookie)));
                response
            }
        }
    }

    /// The page that somebody wanted who had to log in first.
    fn wanted(&self, headers: &HeaderMap) -> Option<String> {
        let path = cookie_of(headers, html::WAY_BACK)?;
        pages::destination(&path).map(str::to_owned)
    }

    /// The form of a login, and the way to the provider if there is one.
    fn login_form(&self) -> String {
        let provider = if self.operators.has_login() { html::PROVIDER } else { "" };
        format!("{}{provider}", html::LOGIN)
    }

    async fn depart(&self) -> Response<Full<Bytes>> {
        match self.operators.depart(self.now()).await {
            Ok((url, browser)) => with_cookie(see(&url), &self.trip_cookie(browser.reveal())),
            Err(refused) => self.refused(&refused),
        }
    }

    async fn arrive(&self, asked: &Asked) -> Response<Full<Bytes>> {
        let browser = self.trip_of(&asked.headers);
        self.entered(self.operators.arrive(&asked.query, browser.as_deref(), self.now()).await)
    }

    /// The secret of the cookie of a trip.
    pub(crate) fn trip_of(&self, headers: &HeaderMap) -> Option<String> {
        cookie_of(headers, self.names().1)
    }

    /// What who comes back from the provider is shown.
    pub(crate) fn entered(&self, begun: Result<Secret, LoginRefused>) -> Response<Full<Bytes>> {
        match begun {
            Ok(secret) => {
                // A redirect that another site began would not bring a strict cookie along; a page of ours does.
                let entered = page(StatusCode::OK, "Logged in", html::ENTERED);
                with_cookie(with_cookie(entered, &self.cookie(secret.reveal())), &self.trip_cookie(""))
            }
            Err(refused) => self.refused(&refused),
        }
    }

    async fn log_out(&self, who: Option<Present>, asked: &Asked) -> Response<Full<Bytes>> {
        let Some(who) = who else { return see("/login") };
        let sent =
            Form::of(asked).is_some_and(|form| who.operator.sent(form.field("csrf").unwrap_or_default()));
        if !sent {
            self.tell_forbidden(Some(&who), asked, "the form's token is missing or wrong").await;
            return page(
                StatusCode::FORBIDDEN,
                "Not from here",
                "<p>Open the console itself and try again.</p>",
            );
        }
        let (operators, now) = (Arc::clone(&self.operators), self.now());
        let ended = move || operators.log_out(&who.operator, &who.secret, now);
        match tokio::task::spawn_blocking(ended).await {
            Ok(Ok(_)) => with_cookie(see("/login"), &self.cookie("")),
            _ => unavailable(),
        }
    }

    fn invited(&self, link: &str) -> Response<Full<Bytes>> {
        match self.operators.invited(link, self.now()) {
            Ok(whom) => page(StatusCode::OK, "Choose a password", &html::setup(&whom, None)),
            Err(error) => unfit(&error),
        }
    }

    async fn set_up(&self, link: &str, asked: &Asked) -> Response<Full<Bytes>> {
        let Some(form) = Form::of(asked) else { return unreadable() };
        let (Some(password), Some(again)) = (form.field("password"), form.field("again")) else {
            return unreadable();
        };
        let done = match password == again {
            true => self.operators.set_up(link, form.field("name"), Secret::new(password), self.now()).await,
            false => return self.once_more(link, "The two passwords differ."),
        };
        match done {
            Ok(()) => see("/login"),
            Err(error @ (EnrolError::Name | EnrolError::Password(_))) => {
                self.once_more(link, &error.to_string())
            }
            Err(error) => unfit(&error),
        }
    }

    /// The form again, and what is wrong.
    fn once_more(&self, link: &str, why: &str) -> Response<Full<Bytes>> {
        let whom = self.operators.invited(link, self.now()).unwrap_or(Invited::First);
        page(StatusCode::BAD_REQUEST, "Choose a password", &html::setup(&whom, Some(why)))
    }

    pub(crate) fn refused(&self, refused: &LoginRefused) -> Response<Full<Bytes>> {
        let (status, wait) = match refused {
            LoginRefused::Throttled(wait) => (StatusCode::TOO_MANY_REQUESTS, Some(*wait)),
            LoginRefused::Busy => (StatusCode::SERVICE_UNAVAILABLE, Some(1)),
            LoginRefused::State(error) => {
                tracing::error!(%error, "nobody can log in");
                (StatusCode::SERVICE_UNAVAILABLE, None)
            }
            LoginRefused::Random(_) => (StatusCode::SERVICE_UNAVAILABLE, None),
            _ => (StatusCode::UNAUTHORIZED, None),
        };
        let text =
            format!("<p role=\"alert\">{}</p>{}", html::escaped(&refused.to_string()), self.login_form());
        let mut response = page(status, "Log in", &text);
        let wait = wait.and_then(|seconds| HeaderValue::from_str(&seconds.to_string()).ok());
        response.headers_mut().extend(wait.map(|wait| (RETRY_AFTER, wait)));
        response
    }

    /// Notes what somebody was not allowed to do.
    pub(crate) async fn tell_forbidden(&self, who: Option<&Present>, asked: &Asked, why: &str) {
        let identity = who.map_or("nobody", |who| &who.operator.identity);
        self.note(identity, (&asked.method, &asked.path), why).await;
    }

    /// Notes what was turned away before anybody looked who asks.
    pub(crate) async fn tell_turned_away(&self, what: (&Method, &str), why: &str) {
        self.note("nobody", what, why).await;
    }

    async fn note(&self, who: &str, (method, path): (&Method, &str), why: &str) {
        // A link's secret stands in its path.
        let path = if path.starts_with("/setup/") { "/setup/…" } else { path };
        let what: String = format!("{method} {path}").chars().take(200).collect();
        let deed = Deed::refused("operators.forbidden", &what).because(why);
        self.operators.refused(who, &deed, self.now()).await;
    }

    /// Whether a request says that it comes from this console and no other port.
    fn is_same_origin(&self, headers: &HeaderMap) -> bool {
        let one = |name: http::HeaderName| {
            let mut values = headers.get_all(name).iter();
            values.next().filter(|_| values.next().is_none()).and_then(|value| value.to_str().ok())
        };
        let (Some(origin), Some(host)) = (one(ORIGIN), one(HOST)) else { return false };
        let is_public = self.public_url.as_deref().is_some_and(|url| url.trim_end_matches('/') == origin);
        is_public || origin.strip_prefix("http://").is_some_and(|from| from.eq_ignore_ascii_case(host))
    }

    /// Names of the session's cookie, and of that of a trip to the provider.
    fn names(&self) -> (&'static str, &'static str) {
        // The prefix demands TLS, which a console on the loopback does not have.
        match self.is_secure() {
            true => ("__Host-tollbook-console", "__Host-tollbook-trip"),
            false => ("tollbook-console", "tollbook-trip"),
        }
    }

    fn is_secure(&self) -> bool {
        self.public_url.as_deref().is_some_and(|url| url.starts_with("https:"))
    }

    /// What cookies end with.
    fn secure(&self) -> &'static str {
        if self.is_secure() { "; Secure" } else { "" }
    }

    /// The session's cookie; without a secret, the end of it.
    fn cookie(&self, secret: &str) -> String {
        let end = if secret.is_empty() { "; Max-Age=0" } else { "" };
        self.baked(self.names().0, secret, "Strict") + end
    }

    /// The cookie of a trip: lax, since the provider's redirect comes from another site.
    fn trip_cookie(&self, secret: &str) -> String {
        let end = if secret.is_empty() { "; Max-Age=0" } else { "; Max-Age=600" };
        self.baked(self.names().1, secret, "Lax") + end
    }

    fn baked(&self, name: &str, secret: &str, same_site: &str) -> String {
        format!("{name}={secret}; Path=/; HttpOnly; SameSite={same_site}{}", self.secure())
    }
}

/// What a cookie says, if it is there once.
fn cookie_of(headers: &HeaderMap, name: &str) -> Option<String> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let mut values = pairs.filter(|(of, _)| *of == name).map(|(_, value)| value);
    // Who can set cookies for other paths could put one before ours: two are none.
    let value = values.next().filter(|_| values.next().is_none())?;
    Some(value.to_owned())
}

fn home(operator: &Operator) -> Response<Full<Bytes>> {
    page(StatusCode::OK, "Console", &html::home(operator))
}

/// Sends the browser on.
pub(crate) fn see(place: &str) -> Response<Full<Bytes>> {
    // What is not ours was parsed as an address where the provider named it.
    let Ok(place) = HeaderValue::from_str(place) else { return unavailable() };
    let mut response = page(StatusCode::SEE_OTHER, "", "");
    response.headers_mut().insert(LOCATION, place);
    response
}

fn with_cookie(mut response: Response<Full<Bytes>>, cookie: &str) -> Response<Full<Bytes>> {
    // Letters and digits of ours.
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}

pub(crate) fn unreadable() -> Response<Full<Bytes>> {
    page(StatusCode::BAD_REQUEST, "Not understood", "<p>The form lacks a field, or has one twice.</p>")
}

fn unfit(error: &EnrolError) -> Response<Full<Bytes>> {
    let status = match error {
        EnrolError::Link => StatusCode::NOT_FOUND,
        EnrolError::Busy => StatusCode::SERVICE_UNAVAILABLE,
        EnrolError::State(error) => {
            tracing::error!(%error, "no password can be chosen");
            StatusCode::SERVICE_UNAVAILABLE
        }
        _ => StatusCode::BAD_REQUEST,
    };
    page(status, "Choose a password", &format!("<p>{}</p>", html::escaped(&error.to_string())))
}

pub(crate) fn unavailable() -> Response<Full<Bytes>> {
    page(StatusCode::SERVICE_UNAVAILABLE, "Not now", "<p>It could not be done; see the log.</p>")
}

/// A path of ours by another method, or no path of ours.
fn not_here(path: &str) -> Response<Full<Bytes>> {
    let allowed = match path {
        "/" | "/style.css" => "GET, HEAD",
        "/login/provider" | "/login/callback" | "/login/saml/metadata" | "/login/saml/arrived" => "GET",
        "/login" => "GET, HEAD, POST",
        "/logout" | saml::ASSERTIONS => "POST",
        _ => return page(StatusCode::NOT_FOUND, "Not found", "<p>There is nothing here.</p>"),
    };
    let mut response = page(StatusCode::METHOD_NOT_ALLOWED, "Not so", "<p>This is not done that way.</p>");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

pub(crate) fn page(status: StatusCode, title: &str, content: &str) -> Response<Full<Bytes>> {
    let mut response = reply(status, "text/html; charset=utf-8", html::page(title, content));
    let headers = response.headers_mut();
    // With `no-referrer` browsers send forms with `Origin: null`.
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(html::POLICY));
    response
}
