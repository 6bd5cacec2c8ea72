//! Event streams side by side: progress that is recorded and relayed one by one.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::ensure;
use http_body_util::BodyExt as _;

use crate::client::{Caller, Target};
use crate::gateway::{Gateway, Upstream};
use crate::latency::Latencies;
use crate::load::Measured;
use crate::results::Streams;
use crate::scenarios::calls::side;
use crate::{Pace, clock, message};

const STREAMS: usize = 50;

/// Between two events of a stream that has time.
const PAUSE_MICROS: u64 = 100_000;

/// Compares at full speed and at a pace.
pub(crate) async fn compare(
    binary: &Path,
    folder: &Path,
    upstream: &Upstream,
    pace: Pace,
) -> anyhow::Result<Streams> {
    let data = folder.join("streams");
    let gateway = Gateway::start(binary, &data, upstream).await?;
    let (fast, slow) = if pace == Pace::Full { (2000, 80) } else { (200, 20) };
    let direct = streams(&upstream.target(), fast, 0).await?;
    let before = gateway.cpu_micros()?;
    let through = streams(&gateway.target(), fast, 0).await?;
    gateway.settle().await;
    let cpu = gateway.cpu_micros()? - before;
    let mut paced_direct = streams(&upstream.target(), slow, PAUSE_MICROS).await?;
    let mut paced_gateway = streams(&gateway.target(), slow, PAUSE_MICROS).await?;
    gateway.stop()?;
    std::fs::remove_dir_all(&data)?;
    Ok(Streams {
        streams: STREAMS,
        cpu_per_event: cpu / through.latencies.count() as f64,
        direct: side(direct),
        gateway: side(through),
        paced_per_second: STREAMS as f64 * 1e6 / PAUSE_MICROS as f64,
        paced_direct: paced_direct.latencies.quantiles(),
        paced_gateway: paced_gateway.latencies.quantiles(),
    })
}

/// The latencies of all events, from the server's end to here.
async fn streams(target: &Target, events: u64, pause_us: u64) -> anyhow::Result<Measured> {
    let begun = Instant::now();
    let all: Vec<_> = (0..STREAMS)
        .map(|number| tokio::spawn(one(target.clone(), number as u64, (events, pause_us))))
        .collect();
    let mut measured = Measured::default();
    for stream in all {
        measured.latencies.extend(stream.await??);
    }
    measured.seconds = begun.elapsed().as_secs_f64();
    Ok(measured)
}

async fn one(target: Target, id: u64, (events, pause_us): (u64, u64)) -> anyhow::Result<Latencies> {
    let mut caller = Caller::connect(&target).await?;
    let arguments = format!(r#""events":{events},"pause_us":{pause_us}"#);
    let mut body = caller.send("stream", message::call(id, "stream", &arguments)).await?;
    let mut latencies = Latencies::default();
    let mut text = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        let now = clock::micros();
        text.extend_from_slice(&data);
        while let Some(end) = text.windows(2).position(|pair| pair == b"\n\n") {
            let event: Vec<u8> = text.drain(..end + 2).collect();
            if let Some(sent) = sent_at(&event) {
                latencies.add(Duration::from_micros(now.saturating_sub(sent)));
            }
        }
    }
    ensure!(latencies.count() == events, "{} of {events} events came", latencies.count());
    Ok(latencies)
}

/// When the server sent a progress event; none in any other.
fn sent_at(event: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(event).ok()?;
    let (_, rest) = text.split_once(r#""message":""#)?;
    rest.split('"').next()?.parse().ok()
}
