//! `tollbook wrap`: what a client starts instead of a stdio server. It starts the server itself and carries both sides'
//! messages to the gateway and back; nothing reaches the other side that the gateway has not recorded.
//!
//! To the client it behaves as the server would: exit code, standard error, signals and the end of input pass through.
//! Without a gateway there is no server: it ends with [`NO_GATEWAY`].

mod refuse;

use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use clap::Args;
use gateway::tunnel::{self, Tag};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use identity::Secret;
use mcp::framing::lines::LineDecoder;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader, BufWriter};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::environment::Environment;
use crate::gateway_link;

/// Exit code when the gateway cannot be reached or has gone.
pub(crate) const NO_GATEWAY: u8 = 70;

/// The variable that a token may be in.
const TOKEN: &str = "TOLLBOOK_TOKEN";

/// Largest line in either direction; the gateway's own limit is lower or the same.
const LINE_BYTES: usize = 128 << 20;

/// Lines under way to the gateway; beyond that the sides wait.
const QUEUE: usize = 64;

/// Patience with a server that was killed: the kernel may be at work for it.
const LAST_BREATH: Duration = Duration::from_secs(5);

/// Patience with a standard output that somebody else still holds after the server has ended.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Run a stdio server behind the gateway; put this where a client starts the server.
#[derive(Debug, Args)]
pub(crate) struct WrapArgs {
    /// Name of the server in records and policy.
    #[arg(long, value_parser = server_name)]
    server: String,
    /// Gateway at another address, instead of the one at the data folder's socket.
    #[arg(long, value_name = "URL")]
    gateway: Option<String>,
    /// File with a service key or run token, for a gateway that asks who calls; `$TOLLBOOK_TOKEN` if not given.
    #[arg(long, value_name = "FILE", requires = "gateway")]
    token_file: Option<PathBuf>,
    /// The server's program and its arguments.
    #[arg(trailing_var_arg = true, required = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

impl WrapArgs {
    /// What says who calls, if anything does.
    fn token(&self, environment: &Environment) -> anyhow::Result<Option<Secret>> {
        let Some(path) = &self.token_file else { return Ok(environment.variable(TOKEN).map(Secret::new)) };
        let path = environment.resolve(path);
        let text = std::fs::read_to_string(&path);
        let text = text.with_context(|| format!("cannot read `{}`", path.display()))?;
        Ok(Some(Secret::new(text.trim_end_matches(['\r', '\n']))))
    }

    async fn reach(&self, environment: &Environment) -> anyhow::Result<TokioIo<Upgraded>> {
        match &self.gateway {
            Some(url) => gateway_link::dial(url, &self.server, self.token(environment)?.as_ref()).await,
            None => gateway_link::at_socket(&environment.data, &self.server).await,
        }
    }
}

fn server_name(text: &str) -> Result<String, String> {
    match gateway::is_server_name(text) {
        true => Ok(text.to_owned()),
        false => Err("a server's name is 1 to 64 of a-z, A-Z, 0-9, `-`, `_`, `.`".to_owned()),
    }
}

/// Runs the server to its end and gives its exit code.
pub(crate) async fn run(args: WrapArgs, environment: &Environment) -> u8 {
    match wrap(args, environment).await {
        Ok(code) => code,
        Err(error) => {
            complain(&format!("{error:#}"));
            NO_GATEWAY
        }
    }
}

async fn wrap(args: WrapArgs, environment: &Environment) -> anyhow::Result<u8> {
    let tunnel = match args.reach(environment).await {
        Ok(tunnel) => tunnel,
        Err(error) => {
            let why = format!("{error:#}");
            complain(&why);
            tokio::task::spawn_blocking(move || refuse::first_request(&why)).await?;
            return Ok(NO_GATEWAY);
        }
    };
    let Some((program, arguments)) = args.command.split_first() else { bail!("no command given") };
    let mut child = match Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        // It is the client's, for the gateway: the server could call others with it.
        .env_remove(TOKEN)
        .kill_on_drop(true)
        // What the server starts, as `npx` does, ends with it.
        .process_group(0)
        .spawn()
    {
        Ok(child) => child,
        Err(error) => {
            complain(&format!("cannot start `{program}`: {error}"));
            end_unstarted(tunnel).await;
            // What a shell says of a program that is not there, or not to be run.
            return Ok(if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 });
        }
    };
    let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        bail!("standard streams are missing");
    };
    let group = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    forward_signals(group)?;
    carry(tunnel, (child, group), stdin, stdout).await
}

/// Carries messages until the gateway has recorded the server's end.
async fn carry(
    tunnel: TokioIo<Upgraded>,
    (child, group): (Child, Option<Pid>),
    stdin: ChildStdin,
    stdout: ChildStdout,
) -> anyhow::Result<u8> {
    let (reader, writer) = tokio::io::split(tunnel);
    let (frames, outgoing) = mpsc::channel(QUEUE);
    read_client(frames.clone())?;
    let attending = tokio::spawn(attend_server(child, stdout, frames));
    let writing = tokio::spawn(write_frames(BufWriter::new(writer), outgoing));
    let told = deliver(BufReader::new(reader), stdin).await;
    writing.abort();
    let why = match told {
        Some(why) if why.is_empty() => {
            let status = attending.await.context("the server's end was not seen")?;
            return Ok(exit_code(status));
        }
        Some(why) => why,
        None => "the gateway has gone".to_owned(),
    };
    signal_server(group, Signal::KILL);
    if tokio::time::timeout(LAST_BREATH, attending).await.is_err() {
        bail!("{why}, and the server does not end: end it by hand, it runs unrecorded");
    }
    bail!("{why}; the server was ended, since nothing may run unrecorded")
}

/// Tells the gateway that there is no server, and waits until that is recorded.
async fn end_unstarted(tunnel: TokioIo<Upgraded>) {
    let (reader, mut writer) = tokio::io::split(tunnel);
    // A gateway that goes closes the run by itself.
    let _ = tunnel::write(&mut writer, Tag::ServerEnd, tunnel::NOT_STARTED).await;
    let mut reader = BufReader::new(reader);
    let ended = async {
        while let Ok(Some((tag, _))) = tunnel::read(&mut reader, LINE_BYTES).await
            && tag != Tag::ServerEnd
        {}
    };
    // As above.
    let _ = tokio::time::timeout(LAST_BREATH, ended).await;
}

/// Reads the client's lines in a thread: reading standard input cannot be cancelled.
fn read_client(frames: mpsc::Sender<(Tag, Bytes)>) -> std::io::Result<()> {
    std::thread::Builder::new().name("client".to_owned()).spawn(move || {
        let mut decoder = LineDecoder::new(LINE_BYTES);
        let mut buffer = vec![0; 64 << 10];
        let mut input = std::io::stdin().lock();
        while let Ok(read @ 1..) = std::io::Read::read(&mut input, &mut buffer) {
            decoder.push(buffer.get(..read).unwrap_or_default());
            while let Some(frame) = next_frame(&mut decoder, Tag::Client) {
                if frames.blocking_send(frame).is_err() {
                    return;
                }
            }
        }
        // The tunnel may be gone.
        let _ = frames.blocking_send((Tag::ClientEnd, Bytes::new()));
    })?;
    Ok(())
}

/// Reads the server's lines, then waits for it to end and tells the gateway.
async fn attend_server(
    mut child: Child,
    stdout: ChildStdout,
    frames: mpsc::Sender<(Tag, Bytes)>,
) -> ExitStatus {
    let reading = read_server(stdout, &frames);
    tokio::pin!(reading);
    let ended = tokio::select! {
        () = &mut reading => None,
        ended = child.wait() => Some(ended),
    };
    let status = match ended {
        Some(ended) => {
            // What the server had still written comes first.
            let _ = tokio::time::timeout(LAST_WORDS, reading).await;
            ended
        }
        None => child.wait().await,
    };
    let status = status.unwrap_or_else(|_| ExitStatus::from_raw(1 << 8));
    // The tunnel may be gone.
    let _ = frames.send((Tag::ServerEnd, status.to_string().into())).await;
    status
}

async fn read_server(mut stdout: ChildStdout, frames: &mpsc::Sender<(Tag, Bytes)>) {
    let mut decoder = LineDecoder::new(LINE_BYTES);
    let mut buffer = vec![0; 64 << 10];
    while let Ok(read @ 1..) = stdout.read(&mut buffer).await {
        decoder.push(buffer.get(..read).unwrap_or_default());
        while let Some(frame) = next_frame(&mut decoder, Tag::Server) {
            if frames.send(frame).await.is_err() {
                return;
            }
        }
    }
}

fn next_frame(decoder: &mut LineDecoder, tag: Tag) -> Option<(Tag, Bytes)> {
    Some(match decoder.next_line()? {
        Ok(line) => (tag, line),
        Err(_) if tag == Tag::Client => (Tag::Junk, Bytes::from_static(tunnel::JUNK_OF_CLIENT)),
        Err(_) => (Tag::Junk, Bytes::from_static(tunnel::JUNK_OF_SERVER)),
    })
}

async fn write_frames<W: tokio::io::AsyncWrite + Unpin>(
    mut writer: W,
    mut frames: mpsc::Receiver<(Tag, Bytes)>,
) {
    while let Some((tag, frame)) = frames.recv().await {
        if tunnel::write(&mut writer, tag, &frame).await.is_err() {
            return;
        }
    }
}

/// Delivers what the gateway releases, until it says that everything is recorded, and why it ends if that is not for the
/// server's end. `None`: it has gone.
async fn deliver<R: tokio::io::AsyncRead + Unpin>(mut reader: R, stdin: ChildStdin) -> Option<String> {
    let mut stdin = Some(stdin);
    let mut stdout = tokio::io::stdout();
    loop {
        let Ok(Some((tag, frame))) = tunnel::read(&mut reader, LINE_BYTES).await else { return None };
        let line = [frame.as_ref(), b"\n"].concat();
        match tag {
            // A side that no longer reads loses its lines, as without the gateway.
            Tag::Client => {
                let _ = stdout.write_all(&line).await;
                let _ = stdout.flush().await;
            }
            Tag::Server => {
                if let Some(stdin) = &mut stdin {
                    let _ = stdin.write_all(&line).await;
                }
            }
            Tag::ClientEnd => stdin = None,
            Tag::ServerEnd => return Some(String::from_utf8_lossy(&frame).into_owned()),
            Tag::Junk => {}
        }
    }
}

/// Signals for this process are meant for the server.
fn forward_signals(group: Option<Pid>) -> anyhow::Result<()> {
    let kinds = [
        (SignalKind::terminate(), Signal::TERM),
        (SignalKind::interrupt(), Signal::INT),
        (SignalKind::hangup(), Signal::HUP),
        (SignalKind::user_defined1(), Signal::USR1),
        (SignalKind::user_defined2(), Signal::USR2),
    ];
    for (kind, forwarded) in kinds {
        let mut signals = signal(kind).context("cannot receive signals")?;
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                signal_server(group, forwarded);
            }
        });
    }
    Ok(())
}

/// Signals the server and what it has started.
fn signal_server(group: Option<Pid>, signal: Signal) {
    if let Some(group) = group {
        // The server may have ended.
        let _ = kill_process_group(group, signal);
    }
}

/// The server's own code, or 128 and the signal's number, as shells say it.
fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}

fn complain(text: &str) {
    // Nobody may be left to read it.
    let _ = writeln!(std::io::stderr(), "tollbook: {text}");
}
