//! A thousand calls that wait for people: what they cost others, and what becomes of each.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use http_body_util::BodyExt as _;
use store::state::{Ballot, Cast, Choice, State, Which};

use crate::client::{Caller, Target};
use crate::gateway::{Access, Gateway, HOLDS_LAST, Upstream};
use crate::latency::Quantiles;
use crate::load::{Load, echo};
use crate::targets::short;
use crate::{Pace, clock, message, process, say};

/// Calls that wait.
const HELD: usize = 1000;

/// Callers beside them.
const CALLERS: usize = 8;

/// How the gateway does at one time.
struct Moment {
    name: &'static str,
    latency: Quantiles,
    per_second: f64,
    resident: u64,
}

/// Measures and prints; fails where a call that waited was not answered as it should be.
pub(crate) async fn run(binary: &Path, folder: &Path, pace: Pace) -> anyhow::Result<()> {
    let data = folder.join(format!("holds-{}", std::process::id()));
    let upstream = Upstream::start()?;
    let gateway = Gateway::with(binary, &data, &upstream, Access::Holding).await?;
    let lasts = Duration::from_secs(if pace == Pace::Full { 10 } else { 2 });
    let load = Load { callers: CALLERS, lasts, bytes: 1024 };
    // Caches and connections are there for all moments alike.
    echo(&gateway.target(), load).await?;
    let mut moments = vec![look("none waits", &gateway, load).await?];

    let begun = Instant::now();
    let waiting: Vec<_> =
        (0..HELD).map(|number| tokio::spawn(wait(gateway.target(), number as u64))).collect();
    let state = State::open(&data)?;
    while state.pending_holds()?.0 < HELD as u64 {
        ensure!(begun.elapsed() < HOLDS_LAST, "they do not all wait");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    say(&format!("{HELD} calls wait after {:.1} s", begun.elapsed().as_secs_f64()));
    moments.push(look("all wait", &gateway, load).await?);
    moments.push(look("they still do", &gateway, load).await?);
    ensure!(state.pending_holds()?.0 == HELD as u64, "some wait no more");

    let (approved, refused) = decide(&state)?;
    let mut answers: Vec<String> = Vec::new();
    for one in waiting {
        answers.push(one.await??);
    }
    moments.push(look("none waits", &gateway, load).await?);
    let count = |part: &str| answers.iter().filter(|answer| answer.contains(part)).count();
    let came = (count("held-"), count("was refused: no"), count("nobody decided in time"));
    say(&format!(
        "answered: {} by the server, {} refused, {} expired, of {HELD}; {approved} were approved, {refused} refused",
        came.0, came.1, came.2
    ));
    ensure!(came == (approved, refused, HELD - approved - refused), "not each was answered as it should be");
    say("                    p50 µs    p99 µs   calls/s  MiB");
    for moment in moments {
        let Moment { name, latency, per_second, resident } = moment;
        let mebibytes = resident as f64 / f64::from(1 << 20);
        say(&format!(
            "{name:<16} {:>9} {:>9} {:>9} {mebibytes:>5.1}",
            short(latency.p50),
            short(latency.p99),
            short(per_second)
        ));
    }
    gateway.stop()?;
    std::fs::remove_dir_all(&data)?;
    Ok(())
}

async fn look(name: &'static str, gateway: &Gateway, load: Load) -> anyhow::Result<Moment> {
    let mut measured = echo(&gateway.target(), load).await?;
    let resident = process::resident(gateway.pid())?;
    Ok(Moment { name, latency: measured.latencies.quantiles(), per_second: measured.rate(), resident })
}

/// A call that is held, on a connection of its own; gives its answer, the signs of life before it included.
async fn wait(target: Target, number: u64) -> anyhow::Result<String> {
    let mut caller = Caller::connect(&target).await?;
    let body = message::call((1 << 48) + number, "echo", &format!(r#""text":"held-{number}""#));
    let answer = caller.send("echo", body).await?.collect().await?.to_bytes();
    String::from_utf8(answer.to_vec()).context("no text")
}

/// Half are approved, a quarter refused, the rest is left; gives how many of each.
fn decide(state: &State) -> anyhow::Result<(usize, usize)> {
    let (people, groups) = (["ann".to_owned()], ["oncall".to_owned()]);
    let holds = state.holds(Which::Open, 10_000)?;
    let (half, quarter) = (HELD / 2, HELD / 4);
    for (number, hold) in holds.iter().take(half + quarter).enumerate() {
        let choice = if number < half { Choice::Once } else { Choice::Refuse { reason: "no" } };
        let ballot = Ballot { who: "operator:local:ann", people: &people, groups: &groups, choice };
        let cast = state.cast(&hold.id, &ballot, clock::micros() / 1_000_000)?;
        ensure!(matches!(cast, Cast::Approved | Cast::Refused), "{cast}");
    }
    Ok((half, quarter))
}
