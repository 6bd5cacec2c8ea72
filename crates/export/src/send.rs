//! One attempt to deliver a notice, and what came of it.
//!
//! No redirect is followed. Of an answer the status and `Retry-After` count; its body is read to a bound, so that the connection can
//! be used again, and shown to nobody. Errors are fixed words: an address may be a secret, and what a stranger answers is the
//! stranger's.

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};

use crate::format;
use crate::notice::Notice;
use crate::settings::{DestinationSettings, Mail, MailTls, Sink, Url};

/// Most of an answer's body that is read.
const ANSWER: usize = 4_096;

/// And how long for: what its status says stands, whatever becomes of the rest.
const ANSWER_WAIT: Duration = Duration::from_secs(1);

/// How long a connection that is not used stays open.
const IDLE: Duration = Duration::from_secs(30);

/// What came of an attempt. Words are for people, and hold no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sent {
    /// It arrived.
    Done(String),
    /// It may arrive another time; the destination may say after how many seconds.
    Failed(String, Option<u64>),
    /// It would be refused each time.
    Refused(String),
    /// There is nothing there any more.
    Gone(String),
}

/// What speaks to one destination.
#[derive(Debug)]
pub(crate) struct Sender {
    settings: DestinationSettings,
    line: Line,
}

#[derive(Debug)]
enum Line {
    Http(Box<Client<HttpsConnector<HttpConnector>, Full<Bytes>>>),
    Mail(Box<AsyncSmtpTransport<Tokio1Executor>>),
    /// It cannot be set up.
    None(&'static str),
}

impl Sender {
    pub(crate) fn new(settings: DestinationSettings) -> Sender {
        let line = match &settings.sink {
            Sink::Webhook { .. } | Sink::Slack { .. } | Sink::Teams { .. } => client(settings.wait),
            Sink::Email(mail) => transport(mail, settings.wait),
        };
        Sender { settings, line }
    }

    pub(crate) fn settings(&self) -> &DestinationSettings {
        &self.settings
    }

    /// Tries once, for a bounded time.
    pub(crate) async fn send(&self, notice: &Notice, now: u64) -> Sent {
        let whole = self.settings.wait.saturating_add(ANSWER_WAIT);
        tokio::time::timeout(whole, self.attempt(notice, now)).await.unwrap_or_else(|_| late())
    }

    async fn attempt(&self, notice: &Notice, now: u64) -> Sent {
        let DestinationSettings { name, sink, .. } = &self.settings;
        let (url, headers, body) = match (sink, &self.line) {
            (_, Line::None(why)) => return Sent::Failed((*why).to_owned(), None),
            (Sink::Email(mail), Line::Mail(transport)) => {
                let Some(message) = format::mail(notice, name, mail) else {
                    return Sent::Refused("no mail can be made of it".to_owned());
                };
                return posted(transport.send(message).await);
            }
            (Sink::Webhook { url, keys }, _) => {
                let format::Signed { id, timestamp, signature, body } =
                    format::signed(notice, name, keys, now);
                let timestamp = timestamp.to_string();
                let headers = vec![
                    ("webhook-id", id),
                    ("webhook-timestamp", timestamp),
                    ("webhook-signature", signature),
                ];
                (url, headers, body)
            }
            (Sink::Slack { url }, _) => (url, Vec::new(), format::slack(notice)),
            (Sink::Teams { url }, _) => (url, Vec::new(), format::teams(notice)),
            (Sink::Email(_), Line::Http(_)) => return Sent::Failed("it is no mail server".to_owned(), None),
        };
        let Line::Http(client) = &self.line else {
            return Sent::Failed("it is a mail server".to_owned(), None);
        };
        match request(url, (headers, body)) {
            Some(request) => post(client, request, self.settings.wait, now).await,
            None => Sent::Refused("no request can be made of it".to_owned()),
        }
    }
}

fn client(wait: Duration) -> Line {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(wait));
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_provider_and_native_roots(rustls::crypto::aws_lc_rs::default_provider());
    let Ok(connector) = connector else { return Line::None("there are no certificate authorities") };
    let connector = connector.https_or_http().enable_all_versions().wrap_connector(tcp);
    let client = Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .timer(TokioTimer::new())
        .build(connector);
    Line::Http(Box::new(client))
}

fn transport(mail: &Mail, wait: Duration) -> Line {
    let tls = match mail.tls {
        MailTls::Plain if mail.is_local() => Ok(Tls::None),
        MailTls::Plain => return Line::None("mail beyond this machine needs TLS"),
        MailTls::Implicit => TlsParameters::new(mail.host.clone()).map(Tls::Wrapper),
        MailTls::Starttls => TlsParameters::new(mail.host.clone()).map(Tls::Required),
    };
    let Ok(tls) = tls else { return Line::None("TLS cannot be set up") };
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&mail.host)
        .port(mail.port)
        .tls(tls)
        .timeout(Some(wait));
    if let Some((user, password)) = &mail.login {
        builder = builder.credentials(Credentials::new(user.clone(), password.reveal().to_owned()));
    }
    Line::Mail(Box::new(builder.build()))
}

fn request(
    url: &Url,
    (headers, body): (Vec<(&'static str, String)>, String),
) -> Option<Request<Full<Bytes>>> {
    let mut request = Request::post(url.uri().clone())
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::USER_AGENT, concat!("tollbook/", env!("CARGO_PKG_VERSION")));
    for (name, value) in headers {
        request = request.header(name, value);
    }
    request.body(Full::from(body)).ok()
}

async fn post(
    client: &Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    request: Request<Full<Bytes>>,
    wait: Duration,
    now: u64,
) -> Sent {
    let response = match tokio::time::timeout(wait, client.request(request)).await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => return Sent::Failed(unreached(&error), None),
        Err(_) => return late(),
    };
    let (status, after) = (response.status(), asked_wait(response.headers(), now));
    // It need not be there, nor be whole.
    let _ = tokio::time::timeout(ANSWER_WAIT, Limited::new(response.into_body(), ANSWER).collect()).await;
    judged(status, after)
}

fn late() -> Sent {
    Sent::Failed("it did not answer in time".to_owned(), None)
}

fn judged(status: StatusCode, after: Option<u64>) -> Sent {
    let said = format!("it answers {}", status.as_u16());
    match status {
        _ if status.is_success() => Sent::Done(said),
        StatusCode::GONE => Sent::Gone(format!("{said}: it is gone")),
        _ if status.is_redirection() => Sent::Refused(format!(
            "{said}, a redirect, which is not followed; configure the address it leads to"
        )),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
            Sent::Failed(said, after)
        }
        _ if status.is_client_error() => Sent::Refused(said),
        _ => Sent::Failed(said, after),
    }
}

/// `Retry-After`, in seconds from now.
fn asked_wait(headers: &HeaderMap, now: u64) -> Option<u64> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(seconds);
    }
    let date = jiff::fmt::rfc2822::parse(value).ok()?.timestamp().as_second();
    Some(u64::try_from(date).ok()?.saturating_sub(now))
}

/// Why there was no answer, in words of ours and the system's.
fn unreached(error: &(dyn Error + 'static)) -> String {
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
            return format!("TLS failed: {tls}");
        }
        if let Some(io) = cause.downcast_ref::<std::io::Error>() {
            match io.get_ref() {
                Some(inner) => {
                    next = Some(inner);
                    continue;
                }
                None => return format!("it cannot be reached: {}", io.kind()),
            }
        }
        next = cause.source();
    }
    "it broke the exchange".to_owned()
}

/// What a mail server said, by its code alone.
fn posted(sent: Result<lettre::transport::smtp::response::Response, lettre::transport::smtp::Error>) -> Sent {
    let error = match sent {
        Ok(_) => return Sent::Done("the mail server took it".to_owned()),
        Err(error) => error,
    };
    match error.status() {
        Some(code) if error.is_permanent() => Sent::Refused(format!("the mail server says {code}")),
        Some(code) => Sent::Failed(format!("the mail server says {code}"), None),
        None if error.is_tls() => Sent::Failed("TLS failed with the mail server".to_owned(), None),
        None if error.is_client() => {
            Sent::Failed("the mail server does not offer what is needed: TLS, or a login".to_owned(), None)
        }
        None => Sent::Failed(unreached(&error), None),
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, StatusCode, header};

    use super::{Sent, asked_wait, judged};

    #[test]
    fn what_a_status_means() {
        for (status, kind) in [
            (200, "done"),
            (202, "done"),
            (204, "done"),
            (301, "refused"),
            (307, "refused"),
            (400, "refused"),
            (401, "refused"),
            (403, "refused"),
            (404, "refused"),
            (408, "failed"),
            (410, "gone"),
            (413, "refused"),
            (425, "failed"),
            (429, "failed"),
            (500, "failed"),
            (503, "failed"),
            (599, "failed"),
        ] {
            let found = match judged(StatusCode::from_u16(status).unwrap(), Some(7)) {
                Sent::Done(_) => "done",
                Sent::Failed(_, after) => {
                    assert_eq!(after, Some(7));
                    "failed"
                }
                Sent::Refused(_) => "refused",
                Sent::Gone(_) => "gone",
            };
            assert_eq!(found, kind, "{status}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = 1_445_412_420;
        for (value, expected) in [
            ("120", Some(120)),
            ("Wed, 21 Oct 2015 07:28:00 GMT", Some(60)),
            ("Wed, 21 Oct 2015 07:00:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
            ("", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, HeaderValue::from_str(value).unwrap());
            assert_eq!(asked_wait(&headers, now), expected, "{value}");
        }
    }
}
