//! The results as Markdown.

use std::fmt::Write as _;

use crate::latency::Quantiles;
use crate::results::{Ledger, Results};
use crate::targets::{self, short};

const MIB: f64 = 1024.0 * 1024.0;

/// All tables, without a headline.
pub(crate) fn write(results: &Results) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = targets_met(&mut out, results)
        .and_then(|()| calls(&mut out, results))
        .and_then(|()| shares(&mut out, results))
        .and_then(|()| others(&mut out, results))
        .and_then(|()| searches(&mut out, results));
    out
}

fn targets_met(out: &mut String, results: &Results) -> std::fmt::Result {
    let machine = &results.machine;
    writeln!(
        out,
        "{} processors ({}), load average {:.1} at the start{}.\n",
        machine.processors,
        machine.model,
        machine.load_average,
        if machine.quick { ", a quick run" } else { "" }
    )?;
    writeln!(out, "| target | aim | found | |\n|---|---|---|---|")?;
    for target in targets::of(results) {
        let met = if target.met { "met" } else { "**missed**" };
        writeln!(out, "| {} | {} | {} | {met} |", target.what, target.aim, target.found)?;
    }
    writeln!(out)
}

fn calls(out: &mut String, results: &Results) -> std::fmt::Result {
    writeln!(
        out,
        "| 1 KiB echo | direct p50 / p99 / p99.9 µs | Tollbook p50 / p99 / p99.9 µs | added p50 / p99 / p99.9 µs | direct calls/s | Tollbook calls/s | CPU µs a call, with index | `fdatasync` p50 / p99 µs | two commits allow one caller |\n|---|---|---|---|---|---|---|---|---|"
    )?;
    for calls in &results.calls {
        let added = Quantiles {
            count: 0,
            p50: calls.added(|latency| latency.p50),
            p99: calls.added(|latency| latency.p99),
            p999: calls.added(|latency| latency.p999),
        };
        writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {}, {} | {} / {} | {}/s |",
            if calls.callers == 1 { "1 caller".to_owned() } else { format!("{} callers", calls.callers) },
            three(&calls.direct.latency),
            three(&calls.gateway.latency),
            three(&added),
            short(calls.direct.per_second),
            short(calls.gateway.per_second),
            short(calls.cpu_per_call),
            short(calls.cpu_per_call_settled),
            short(calls.sync.p50),
            short(calls.sync.p99),
            short(calls.two_commit_limit()),
        )?;
    }
    writeln!(out)
}

fn shares(out: &mut String, results: &Results) -> std::fmt::Result {
    writeln!(out, "| CPU µs a call by thread |")?;
    let Some(many) = results.calls.last() else { return Ok(()) };
    out.truncate(out.len() - 1);
    let mut by_cost: Vec<_> = many.cpu_by_thread.iter().filter(|(_, micros)| **micros >= 0.05).collect();
    by_cost.sort_by(|a, b| b.1.total_cmp(a.1));
    by_cost.iter().try_for_each(|(name, _)| write!(out, " `{name}` |"))?;
    writeln!(out, "\n|---|{}", "---|".repeat(by_cost.len()))?;
    write!(out, "| {} callers |", many.callers)?;
    by_cost.iter().try_for_each(|(_, micros)| write!(out, " {} |", short(**micros)))?;
    writeln!(out, "\n")
}

fn others(out: &mut String, results: &Results) -> std::fmt::Result {
    writeln!(out, "| what | direct | Tollbook |\n|---|---|---|")?;
    for bulk in &results.bulk {
        let size = bulk.bytes as f64 / MIB;
        let rate = |per_second: f64, p50: f64| {
            format!("{} ms, {} MiB/s", short(p50 / 1000.0), short(per_second * size))
        };
        writeln!(
            out,
            "| {size:.0} MiB results, callers: {}, median, throughput, peak memory | {} | {}, {} MiB |",
            bulk.callers,
            rate(bulk.direct.per_second, bulk.direct.latency.p50),
            rate(bulk.gateway.per_second, bulk.gateway.latency.p50),
            short(bulk.peak as f64 / MIB),
        )?;
    }
    let streams = &results.streams;
    writeln!(
        out,
        "| {} event streams at full speed: events/s | {} | {}, {} µs CPU an event |",
        streams.streams,
        short(streams.direct.per_second),
        short(streams.gateway.per_second),
        short(streams.cpu_per_event),
    )?;
    writeln!(
        out,
        "| the same at {} events/s: p50 / p99 / p99.9 µs | {} | {} |",
        short(streams.paced_per_second),
        three(&streams.paced_direct),
        three(&streams.paced_gateway),
    )?;
    let (memory, start, lag) = (&results.memory, &results.start, &results.index_lag);
    writeln!(
        out,
        "| memory idle / peak under load / after it | | {} / {} / {} MiB |",
        short(memory.idle as f64 / MIB),
        short(memory.peak_under_load as f64 / MIB),
        short(memory.after_load as f64 / MIB),
    )?;
    writeln!(
        out,
        "| exec to first answer, empty folder / folder with a ledger | | {} / {} ms |",
        short(start.empty_folder.p50 / 1000.0),
        short(start.used_folder.p50 / 1000.0),
    )?;
    writeln!(
        out,
        "| outcome durable to row in the index: p50 / p99 | | {} / {} ms |",
        short(lag.p50 / 1000.0),
        short(lag.p99 / 1000.0),
    )?;
    ledgers(out, results)
}

fn ledgers(out: &mut String, results: &Results) -> std::fmt::Result {
    for ledger in std::iter::once(&results.ledger).chain(&results.million) {
        let Ledger { calls, bytes, .. } = ledger;
        writeln!(
            out,
            "| {} calls: disk bytes a call (leaves, tiles, payloads, checkpoints, index) | | {} ({}, {}, {}, {}, {}) |",
            short(*calls as f64),
            short(bytes.total()),
            short(bytes.leaves),
            short(bytes.hashes),
            short(bytes.payloads),
            short(bytes.checkpoints),
            short(bytes.index),
        )?;
        writeln!(
            out,
            "| verify, calls/s: of processor time / of time; index rebuild, calls/s | | {} / {}; {} |",
            short(ledger.verify_per_cpu_second),
            short(ledger.verify_per_second),
            short(ledger.rebuild_per_second),
        )?;
    }
    writeln!(out)
}

fn searches(out: &mut String, results: &Results) -> std::fmt::Result {
    write!(out, "| first page, ms | {} calls |", short(results.ledger.calls as f64))?;
    writeln!(out, "{}", if results.million.is_some() { " 1,000,000 calls |" } else { "" })?;
    writeln!(out, "|---|---|{}", if results.million.is_some() { "---|" } else { "" })?;
    for (query, millis) in &results.ledger.search_ms {
        write!(out, "| `{query}` | {} |", short(*millis))?;
        if let Some(million) = &results.million {
            write!(out, " {} |", short(million.search_ms.get(query).copied().unwrap_or(0.0)))?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn three(quantiles: &Quantiles) -> String {
    format!("{} / {} / {}", short(quantiles.p50), short(quantiles.p99), short(quantiles.p999))
}
