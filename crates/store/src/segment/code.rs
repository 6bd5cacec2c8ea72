//! A row as bytes. The order of the optional fields is that of the bits in front.

use jiff::civil::Date;
use ledger::{CallId, RunId, Seq};

use super::bytes::{In, Out};
use crate::row::{CallRow, RowId, RowKind};

pub(crate) fn write(out: &mut Out, row: &CallRow) {
    out.signed(row.id.0);
    out.signed(row.t_start);
    out.number(match row.kind {
        RowKind::Call => 0,
        RowKind::Refused => 1,
        RowKind::Note => 2,
    });
    out.number(u64::from(row.round));
    out.number(u64::from(row.notes));
    let mut bits = u64::from(row.args_whole);
    let numbers = numbers(row);
    let ids = [row.call.map(|id| id.0), row.parent.map(|id| id.0), row.run.map(|id| id.0)];
    let texts = texts(row);
    let present = numbers.iter().map(Option::is_some).chain(ids.iter().map(Option::is_some));
    for (place, there) in present.chain(texts.iter().map(|text| text.is_some())).enumerate() {
        bits |= u64::from(there) << (place + 1);
    }
    out.mask(bits);
    numbers.into_iter().flatten().for_each(|n| out.number(n));
    ids.iter().flatten().for_each(|id| out.array(id));
    texts.into_iter().flatten().for_each(|text| out.text(text));
}

pub(crate) fn read(input: &mut In<'_>, day: Date) -> Option<CallRow> {
    let id = RowId(input.signed()?);
    let t_start = input.signed()?;
    let kind = match input.number()? {
        0 => RowKind::Call,
        1 => RowKind::Refused,
        2 => RowKind::Note,
        _ => return None,
    };
    let (round, notes) = (input.small()?, input.small()?);
    let mut bits = Bits(input.mask()?);
    let args_whole = bits.next();
    let mut number = |input: &mut In<'_>| bits.next().then(|| input.number());
    let (end, of, sn) = (number(input), number(input), number(input));
    let (t_end, request, answer, http) = (number(input), number(input), number(input), number(input));
    let mut array = |input: &mut In<'_>| bits.next().then(|| input.array());
    let (call, parent, run) = (array(input), array(input), array(input));
    let mut text = || if bits.next() { input.text().map(Some) } else { Some(None) };
    Some(CallRow {
        seq: id.seq(),
        seq_end: whole(end)?.map(Seq),
        kind,
        call: whole(call)?.map(CallId),
        round,
        parent: whole(parent)?.map(CallId),
        of: whole(of)?.map(Seq),
        run: whole(run)?.map(RunId),
        sn: whole(sn)?,
        t_start,
        t_end: whole(t_end)?.map(u64::cast_signed),
        verdict: text()?,
        status: text()?,
        principal: text()?,
        agent: text()?,
        agent_version: text()?,
        server: text()?,
        transport: text()?,
        era: text()?,
        version: text()?,
        direction: text()?,
        method: text()?,
        name: text()?,
        reason: text()?,
        trace: text()?,
        args: text()?,
        error: text()?,
        result: text()?,
        request_bytes: whole(request)?,
        answer_bytes: whole(answer)?,
        http_status: whole(http)?.and_then(|n| u16::try_from(n).ok()),
        notes,
        args_whole,
        id,
        day,
    })
}

fn numbers(row: &CallRow) -> [Option<u64>; 7] {
    [
        row.seq_end.map(|seq| seq.0),
        row.of.map(|seq| seq.0),
        row.sn,
        row.t_end.map(i64::cast_unsigned),
        row.request_bytes,
        row.answer_bytes,
        row.http_status.map(u64::from),
    ]
}

fn texts(row: &CallRow) -> [Option<&str>; 17] {
    [
        &row.verdict,
        &row.status,
        &row.principal,
        &row.agent,
        &row.agent_version,
        &row.server,
        &row.transport,
        &row.era,
        &row.version,
        &row.direction,
        &row.method,
        &row.name,
        &row.reason,
        &row.trace,
        &row.args,
        &row.error,
        &row.result,
    ]
    .map(Option::as_deref)
}

/// `None` if a field should be there and cannot be read.
fn whole<T>(read: Option<Option<T>>) -> Option<Option<T>> {
    match read {
        Some(Some(value)) => Some(Some(value)),
        Some(None) => None,
        None => Some(None),
    }
}

struct Bits(u64);

impl Bits {
    fn next(&mut self) -> bool {
        let first = self.0 & 1 == 1;
        self.0 >>= 1;
        first
    }
}
