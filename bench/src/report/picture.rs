//! The calls as a picture: latency on a logarithmic axis, direct and through the gateway.

use std::fmt::Write as _;

use crate::results::{Results, Side};
use crate::targets::short;

const WIDTH: f64 = 760.0;
const LEFT: f64 = 150.0;
const RIGHT: f64 = 130.0;
const ROW: f64 = 26.0;
const TOP: f64 = 64.0;
/// Microseconds at the ends of the axis.
const AXIS: (f64, f64) = (10.0, 100_000.0);
const DIRECT: &str = "#8a8f98";
const GATEWAY: &str = "#1f6f5c";

/// An SVG.
pub(crate) fn draw(results: &Results) -> String {
    let rows = results.calls.len() as f64;
    let bottom = TOP + rows * (2.0 * ROW + 12.0);
    let height = bottom + 44.0;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"system-ui, sans-serif\" font-size=\"13\">\n<title>Latency of a 1 KiB echo, direct and through Tollbook</title>\n<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n"
    );
    text(&mut out, (16.0, 26.0), "start", "1 KiB echo: median to p99 to p99.9, and calls a second");
    axis(&mut out, bottom);
    let mut y = TOP;
    for calls in &results.calls {
        let name =
            if calls.callers == 1 { "1 caller".to_owned() } else { format!("{} callers", calls.callers) };
        bar(&mut out, y, (&format!("{name}, direct"), DIRECT), &calls.direct);
        bar(&mut out, y + ROW, ("Tollbook", GATEWAY), &calls.gateway);
        mark(&mut out, y + ROW, 2.0 * calls.sync.p50);
        y += 2.0 * ROW + 12.0;
    }
    text(
        &mut out,
        (LEFT, bottom + 36.0),
        "start",
        "◆ two fdatasyncs of this disk, one after the other (median)",
    );
    out.push_str("</svg>\n");
    out
}

/// Where a time stands.
fn x(micros: f64) -> f64 {
    let (least, most) = AXIS;
    let share = (micros.clamp(least, most) / least).log10() / (most / least).log10();
    LEFT + share * (WIDTH - LEFT - RIGHT)
}

fn axis(out: &mut String, bottom: f64) {
    for (micros, name) in
        [(10.0, "10 µs"), (100.0, "100 µs"), (1000.0, "1 ms"), (10_000.0, "10 ms"), (100_000.0, "100 ms")]
    {
        let x = x(micros);
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "<line x1=\"{x:.1}\" y1=\"{:.1}\" x2=\"{x:.1}\" y2=\"{bottom:.1}\" stroke=\"#dddddd\"/>",
            TOP - 8.0
        );
        text(out, (x, bottom + 16.0), "middle", name);
    }
}

fn bar(out: &mut String, y: f64, (name, colour): (&str, &str), side: &Side) {
    let middle = y + ROW / 2.0;
    let (p50, p99, p999) = (x(side.latency.p50), x(side.latency.p99), x(side.latency.p999));
    let _ = writeln!(
        out,
        "<line x1=\"{p50:.1}\" y1=\"{middle:.1}\" x2=\"{p999:.1}\" y2=\"{middle:.1}\" stroke=\"{colour}\" stroke-width=\"2\"/>\n<rect x=\"{p50:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"10\" fill=\"{colour}\"/>\n<circle cx=\"{p50:.1}\" cy=\"{middle:.1}\" r=\"6\" fill=\"{colour}\"/>",
        middle - 5.0,
        (p99 - p50).max(1.0),
    );
    text(out, (LEFT - 10.0, middle + 4.0), "end", name);
    text(out, (WIDTH - RIGHT + 10.0, middle + 4.0), "start", &format!("{}/s", short(side.per_second)));
}

fn mark(out: &mut String, y: f64, micros: f64) {
    text(out, (x(micros), y + ROW / 2.0 + 5.0), "middle", "◆");
}

fn text(out: &mut String, (x, y): (f64, f64), anchor: &str, text: &str) {
    let _ = writeln!(
        out,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"#222222\">{text}</text>"
    );
}
