//! The replayed run on standard input and output, as a client starts a server.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mcp::error::error_response;
use mcp::framing::TooLarge;
use mcp::framing::lines::LineDecoder;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::client::{Client, Play};
use super::turn::{Ending, Turn};

/// Largest line of the client; the gateway records none that is larger.
const LINE_BYTES: usize = 128 << 20;

/// Lines under way in either direction; beyond that the sender waits.
const QUEUE: usize = 64;

/// How long answers may take that are under way when the input ends.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Serves until the input ends and what was asked is answered.
pub(super) async fn serve(play: Arc<Play>) -> anyhow::Result<()> {
    let (out, outgoing) = mpsc::channel(QUEUE);
    let writing = tokio::spawn(write(outgoing));
    let mut lines = read()?;
    let client = Client::new(play, out.clone());
    let mut turns = JoinSet::new();
    while let Some(line) = lines.recv().await {
        let Ok(line) = line else {
            tracing::warn!("a line is larger than the limit and was passed over");
            continue;
        };
        match mcp::message::parse(&line) {
            Ok(frame) => {
                for message in frame.messages() {
                    if let Some(turn) = client.take(message) {
                        start(&mut turns, &client, turn, &out);
                    }
                }
            }
            Err(error) => {
                let id = mcp::message::id_of_refused(&line);
                let id = id.as_ref().map(mcp::message::IdBuf::raw);
                // The writer ends after this loop.
                let _ = out.send(error_response(id, error.code(), &error.to_string()).into()).await;
            }
        }
        while turns.try_join_next().is_some() {}
    }
    client.close();
    let ended = async { while turns.join_next().await.is_some() {} };
    if tokio::time::timeout(LAST_WORDS, ended).await.is_err() {
        turns.shutdown().await;
    }
    drop((client, out));
    // Until the last line is written, or nobody reads them.
    let _ = tokio::time::timeout(LAST_WORDS, writing).await;
    Ok(())
}

fn start(turns: &mut JoinSet<()>, client: &Arc<Client>, turn: Turn, out: &mpsc::Sender<Bytes>) {
    let (client_of_task, out) = (Arc::clone(client), out.clone());
    let id = turn.id.clone();
    let task = turns.spawn(async move {
        let begun = Instant::now();
        let ended = match client_of_task.play(&turn, Some(&out)).await {
            Ending::Message(message) | Ending::Http { message, .. } => out.send(message).await,
            Ending::Silence => Ok(()),
        };
        if ended.is_ok() {
            client_of_task.play_after(&turn, begun).await;
        }
    });
    client.keep(&id, task);
}

/// Reads lines in a thread: reading standard input cannot be cancelled.
fn read() -> std::io::Result<mpsc::Receiver<Result<Bytes, TooLarge>>> {
    let (lines, incoming) = mpsc::channel(QUEUE);
    std::thread::Builder::new().name("client".to_owned()).spawn(move || {
        let mut decoder = LineDecoder::new(LINE_BYTES);
        let mut buffer = vec![0; 64 << 10];
        let mut input = std::io::stdin().lock();
        while let Ok(read @ 1..) = std::io::Read::read(&mut input, &mut buffer) {
            decoder.push(buffer.get(..read).unwrap_or_default());
            while let Some(line) = decoder.next_line() {
                if lines.blocking_send(line).is_err() {
                    return;
                }
            }
        }
    })?;
    Ok(incoming)
}

async fn write(mut messages: mpsc::Receiver<Bytes>) {
    let mut stdout = tokio::io::stdout();
    while let Some(message) = messages.recv().await {
        let line = [one_line(&message).as_ref(), b"\n"].concat();
        let written = stdout.write_all(&line).await;
        if written.is_err() || stdout.flush().await.is_err() {
            return;
        }
    }
}

/// A message recorded over HTTP may hold line breaks between its members; within strings JSON has none.
fn one_line(message: &Bytes) -> Bytes {
    if message.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
        message.iter().copied().filter(|byte| !matches!(byte, b'\n' | b'\r')).collect()
    } else {
        message.clone()
    }
}
