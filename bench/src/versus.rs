//! Two builds turn by turn, so that whatever else the machine does happens to both; or one, with identity and policy and without.

use std::time::Duration;

use crate::gateway::{Access, Gateway, Upstream};
use crate::results::Calls;
use crate::scenarios::calls::{self, Comparison};
use crate::targets::short;
use crate::{Arguments, Pace, say};

/// Compares the echoes of both.
pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let folder = arguments.folder.join(format!("versus-{}", std::process::id()));
    let upstream = Upstream::start()?;
    let (turns, seconds) = if arguments.pace == Pace::Full { (5, 4) } else { (2, 2) };
    let mut gateways = Vec::new();
    let own = ("binary", &arguments.binary, Access::Guarded);
    let other = match &arguments.other {
        Some(other) => ("other", other, Access::Guarded),
        None => ("open", &arguments.binary, Access::Open),
    };
    for (name, binary, access) in [own, other] {
        let gateway = Gateway::with(binary, &folder.join(name), &upstream, access).await?;
        calls::first(&gateway).await?;
        gateways.push((name, gateway));
    }
    say("callers build     p50 µs    p99 µs  added p50   calls/s  CPU µs  with index  by thread");
    for callers in [1, 64] {
        let mut comparisons: Vec<_> =
            gateways.iter().map(|_| Comparison::new(callers, Duration::from_secs(seconds))).collect();
        for _ in 0..turns {
            for ((_, gateway), comparison) in gateways.iter().zip(&mut comparisons) {
                comparison.turn(gateway, &upstream).await?;
            }
        }
        for ((name, _), comparison) in gateways.iter().zip(comparisons) {
            say(&line(name, &comparison.finish()));
        }
    }
    drop(gateways);
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

fn line(name: &str, calls: &Calls) -> String {
    let threads: Vec<String> =
        calls.cpu_by_thread.iter().map(|(name, micros)| format!("{name} {}", short(*micros))).collect();
    format!(
        "{:>7} {name:<7} {:>8} {:>9} {:>10} {:>9} {:>7} {:>11}  {}",
        calls.callers,
        short(calls.gateway.latency.p50),
        short(calls.gateway.latency.p99),
        short(calls.added(|latency| latency.p50)),
        short(calls.gateway.per_second),
        short(calls.cpu_per_call),
        short(calls.cpu_per_call_settled),
        threads.join(", "),
    )
}
