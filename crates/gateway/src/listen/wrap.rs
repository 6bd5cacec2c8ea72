//! `/wrap/NAME`: the gateway's end of `tollbook wrap`, which holds a client's and a stdio server's streams.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use mcp::message::IdBuf;
use mcp::outline::Outliner;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader, BufWriter};
use tokio::sync::mpsc;

use crate::Gateway;
use crate::account::Side;
use crate::content::{Content, Reading};
use crate::drain::{self, Drain};
use crate::duplex::{self, Arrival, End, Ending, QUEUE};
use crate::listen::Connection;
use crate::listen::reply::{self, Body};
use crate::peer::Peer;
use crate::pipeline::{Released, ReleasedBody};
use crate::refusal::{Reason, Refused};
use crate::runs::Rule;
use crate::scope::{Scope, Transport};
use crate::settings::Limits;
use crate::taking::{AnswerError, IN_MEMORY, Lost, Places};
use crate::tunnel::{self, Tag};

/// Accepts a tunnel and begins its run.
pub(crate) async fn accept(
    gateway: &Arc<Gateway>,
    connection: &Arc<Connection>,
    name: &str,
    mut request: Request<Incoming>,
) -> Response<Body> {
    let upgrades = request.headers().get(header::UPGRADE).is_some_and(|value| value == tunnel::PROTOCOL);
    if !upgrades {
        return reply::text(StatusCode::UPGRADE_REQUIRED, "this address is for `tollbook wrap`");
    }
    if !is_server_name(name) {
        return reply::text(
            StatusCode::BAD_REQUEST,
            "a server's name is 1 to 64 of a-z, A-Z, 0-9, `-`, `_`, `.`",
        );
    }
    if gateway.servers.contains_key(name) {
        tracing::warn!(server = name, "a wrap was refused that has the name of a configured server");
        return reply::text(StatusCode::CONFLICT, &taken(name));
    }
    let peer = connection.peer(&gateway.owners).await;
    let upgrade = hyper::upgrade::on(&mut request);
    let gateway = Arc::clone(gateway);
    let name: Arc<str> = Arc::from(name);
    let held = gateway.runs.hold_tunnel();
    tokio::spawn(async move {
        let _until_closed = held;
        match upgrade.await {
            Ok(upgraded) => Box::pin(carry(&gateway, name, peer, TokioIo::new(upgraded))).await,
            Err(error) => tracing::debug!(%error, "a wrap went away before its tunnel stood"),
        }
    });
    let mut response = reply::empty(StatusCode::SWITCHING_PROTOCOLS);
    response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static(tunnel::PROTOCOL));
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    response
}

/// What a wrap is told that has the name of a configured server: what it says in that name, the server has not said.
fn taken(name: &str) -> String {
    format!(
        "the gateway's configuration has a server `{name}`; give this one another name with `--server`, or remove \
         `[servers.{name}]` from `tollbook.toml`"
    )
}

/// Why a tunnel ends whose server's name was given to another one.
const TAKEN: &str =
    "the gateway's configuration has a server of this name now; give this one another with `--server`";

/// Why a tunnel ends whose caller may no more.
const REVOKED: &str = "the credential has ended or was revoked";

/// Whether a name may stand in addresses, file names and the record.
#[must_use]
pub fn is_server_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && !name.starts_with('.')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// Carries both sides' messages until the server has ended, then ends the run and tells the wrap.
async fn carry<S>(gateway: &Arc<Gateway>, name: Arc<str>, peer: Arc<Peer>, stream: S)
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (reader, writer) = tokio::io::split(stream);
    let (client_arrivals, from_client) = mpsc::channel(QUEUE);
    let (server_arrivals, from_server) = mpsc::channel(QUEUE);
    let (to_client, for_client) = mpsc::channel(QUEUE);
    let (to_server, for_server) = mpsc::channel(QUEUE);
    let frames = Frames {
        reader: BufReader::new(reader),
        limits: gateway.limits.clone(),
        places: gateway.places.clone(),
    };
    let reading = tokio::spawn(read_frames(frames, client_arrivals, server_arrivals));
    let writing = tokio::spawn(write_frames(BufWriter::new(writer), for_client, for_server));
    let mut client = End { to: to_client, from: from_client };
    let mut server = End { to: to_server, from: from_server };
    let caller = Arc::clone(&peer);
    let cut_off = async {
        tokio::select! {
            () = gateway.ended_later(&name, &caller) => REVOKED,
            () = gateway.runs.configured(&name) => TAKEN,
        }
    };
    let why = match begin(gateway, &name, peer, (&mut client, &mut server)).await {
        Some(scope) => tokio::select! {
            // First: nothing crosses that comes when it is so.
            biased;
            why = cut_off => {
                gateway.close_run(&scope, why).await;
                why
            }
            why = relay(gateway, &scope, client, server) => why,
        },
        None => {
            drop((client, server));
            ""
        }
    };
    // Nobody holds the senders any more: the writer empties its queues and then says that all is recorded.
    if let Ok(Some(mut writer)) = writing.await {
        // The wrap may be gone.
        let _ = tunnel::write(&mut writer, Tag::ServerEnd, why.as_bytes()).await;
    }
    reading.abort();
}

/// Begins the run. While that cannot be recorded, whatever comes is refused, and each message of the client is another try:
/// no record, no call. `None`: one side has ended before.
async fn begin(
    gateway: &Gateway,
    name: &Arc<str>,
    peer: Arc<Peer>,
    (client, server): (&mut End<ReleasedBody>, &mut End<Released>),
) -> Option<Arc<Scope>> {
    loop {
        let begun = gateway.runs.begin(name, Arc::clone(&peer), Transport::Wrap, Rule::Wrap).await;
        let reason = match begun {
            Ok(scope) => return Some(scope),
            Err(error) => Reason::NotRecorded(error),
        };
        tracing::error!(server = &**name, %reason, "the run of a wrapped server was refused");
        let refused = loop {
            tokio::select! {
                arrival = client.from.recv() => match arrival? {
                    Arrival::Message(content) => break refuse(&content, &reason),
                    Arrival::Ended(_) => return None,
                    Arrival::Lost(_) | Arrival::Junk(_) => {}
                },
                arrival = server.from.recv() => if let Arrival::Ended(_) = arrival? {
                    return None;
                },
            }
        };
        gateway.meters.of(name).refuse(&reason);
        if refused.owed == Some(Side::Client) {
            client.to.send(ReleasedBody::refusal(&refused)).await.ok()?;
        }
    }
}

/// Refuses what came before there was a run.
fn refuse(content: &Content, reason: &Reason) -> Refused {
    match content.parse() {
        Ok(frame) => Refused::frame(&frame, Side::Client, reason),
        Err(_) => Refused::unparsed(content.id_of_refused().as_ref().map(IdBuf::raw), reason),
    }
}

/// Carries messages until a side or the gateway ends, then ends the run. Gives what the wrap is to say of it.
async fn relay(
    gateway: &Gateway,
    scope: &Arc<Scope>,
    client: End<ReleasedBody>,
    server: End<Released>,
) -> &'static str {
    let drain = Drain::at(gateway.runs.until_stopping(), gateway.limits.drain);
    let to_client = client.to.clone();
    let ending = Box::pin(duplex::relay(&gateway.pipeline, scope, client, server, &drain)).await;
    tracing::debug!(server = &*scope.server, run = %scope.run, ?ending, "wrap ends");
    let (reason, told) = match ending {
        Ending::Client => ("the client has closed the server's input", ""),
        Ending::Server(words) if words.as_bytes() == tunnel::NOT_STARTED => {
            ("the server could not be started", "")
        }
        Ending::Server(_) => ("the server has ended", ""),
        Ending::Drained => {
            for released in drain::cut_off(&gateway.pipeline, scope).await {
                // The client may have gone.
                let _ = to_client.send(released).await;
            }
            (SHUT_DOWN, SHUT_DOWN)
        }
    };
    gateway.close_run(scope, reason).await;
    told
}

/// Why a tunnel ends whose gateway does.
const SHUT_DOWN: &str = "the gateway was shut down";

async fn read_frames<R: AsyncRead + Unpin>(
    mut frames: Frames<R>,
    client: mpsc::Sender<Arrival>,
    server: mpsc::Sender<Arrival>,
) {
    let reason = loop {
        let (side, arrival) = match frames.next().await {
            Ok(Some(arrived)) => arrived,
            Ok(None) => break "the wrap has gone".to_owned(),
            Err(error) => break format!("the tunnel broke: {error}"),
        };
        // A side that has ended already takes nothing more.
        let _ = match side {
            Side::Client => arrival.send(&client).await,
            Side::Server => arrival.send(&server).await,
        };
    };
    // As above.
    let _ = client.send(Arrival::Ended(reason.clone())).await;
    let _ = server.send(Arrival::Ended(reason)).await;
}

/// What comes from a wrap.
struct Frames<R> {
    reader: BufReader<R>,
    limits: Limits,
    places: Places,
}

impl<R: AsyncRead + Unpin> Frames<R> {
    async fn next(&mut self) -> io::Result<Option<(Side, Arrival)>> {
        let Some((tag, length)) = tunnel::read_head(&mut self.reader).await? else { return Ok(None) };
        Ok(Some(match tag {
            Tag::Client if length > self.limits.request_bytes => {
                (Side::Client, self.pass_over(length).await?)
            }
            Tag::Server if length > self.limits.message_bytes => {
                (Side::Server, self.pass_over(length).await?)
            }
            Tag::Client => (Side::Client, Arrival::Message(self.whole(length).await?.into())),
            Tag::Server if length > IN_MEMORY => (Side::Server, self.large(length).await?),
            Tag::Server => (Side::Server, Arrival::Message(self.whole(length).await?.into())),
            Tag::ClientEnd => {
                self.short(length).await?;
                (Side::Client, Arrival::Ended("the client has closed its output".to_owned()))
            }
            Tag::ServerEnd => {
                let reason = self.short(length).await?;
                (Side::Server, Arrival::Ended(String::from_utf8_lossy(&reason).into_owned()))
            }
            Tag::Junk => {
                let lost = Arrival::Lost(AnswerError::TooLarge.into());
                let side = self.short(length).await?;
                (if side == tunnel::JUNK_OF_CLIENT { Side::Client } else { Side::Server }, lost)
            }
        }))
    }

    async fn whole(&mut self, length: usize) -> io::Result<Bytes> {
        tunnel::read_whole(&mut self.reader, length).await
    }

    async fn short(&mut self, length: usize) -> io::Result<Bytes> {
        if length > IN_MEMORY {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame is longer than the limit"));
        }
        self.whole(length).await
    }

    /// Takes in a large message.
    async fn large(&mut self, length: usize) -> io::Result<Arrival> {
        let taking = match self.places.take(self.limits.answer_wait).await {
            Ok(taking) => taking,
            Err(lost) => {
                self.pass_over(length).await?;
                return Ok(Arrival::Lost(lost));
            }
        };
        let mut left = length;
        while left > 0 {
            taking.part(self.piece(&mut left).await?).await;
        }
        Ok(taking.finish().await.map_or_else(Arrival::Lost, Arrival::Message))
    }

    /// Passes over a message beyond its limit, but for what can be told of it.
    async fn pass_over(&mut self, length: usize) -> io::Result<Arrival> {
        let mut outliner = Outliner::default();
        let mut judged = Ok(());
        let mut left = length;
        while left > 0 {
            let piece = self.piece(&mut left).await?;
            judged = judged.and_then(|()| outliner.push(&piece));
        }
        Ok(Arrival::Lost(Lost { error: AnswerError::TooLarge, glimpse: outliner.glimpse() }))
    }

    async fn piece(&mut self, left: &mut usize) -> io::Result<Bytes> {
        let length = (*left).min(PIECE_BYTES);
        *left -= length;
        self.whole(length).await
    }
}

/// Large frames are read and written in pieces of this size.
const PIECE_BYTES: usize = 64 << 10;

/// Writes what is for either side; gives the writer back when both have ended, nothing when the wrap has gone.
async fn write_frames<W: AsyncWrite + Unpin>(
    mut writer: W,
    mut for_client: mpsc::Receiver<ReleasedBody>,
    mut for_server: mpsc::Receiver<Released>,
) -> Option<W> {
    let (mut client_open, mut server_open) = (true, true);
    while client_open || server_open {
        tokio::select! {
            message = for_client.recv(), if client_open => match message {
                Some(message) => write_body(&mut writer, message.body()).await?,
                None => client_open = false,
            },
            message = for_server.recv(), if server_open => match message {
                Some(message) => tunnel::write(&mut writer, Tag::Server, message.frame()).await.ok()?,
                None => {
                    server_open = false;
                    tunnel::write(&mut writer, Tag::ClientEnd, &[]).await.ok()?;
                }
            },
        }
    }
    Some(writer)
}

/// Writes a line for the client. `None`: the tunnel is of no more use.
async fn write_body<W: AsyncWrite + Unpin>(writer: &mut W, body: &recorder::Body) -> Option<()> {
    if let recorder::Body::Memory(bytes) = body {
        return tunnel::write(writer, Tag::Client, bytes).await.ok();
    }
    tunnel::write_head(writer, Tag::Client, body.len()).await.ok()?;
    let mut reading = Reading::of(body);
    while let Some(piece) = reading.next().await {
        writer.write_all(&piece.ok()?).await.ok()?;
    }
    writer.flush().await.ok()
}
