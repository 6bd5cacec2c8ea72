//! A recorder on a temporary folder, and short words for what tests do with it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ledger::payload::{Fields, Spans};
use ledger::{CallId, Kind, Leaf, RunId, Seq, Status, Verdict};
use recorder::{
    Account, Clerk, Decision, Limits, Note, Opened, Outcome, Reader, RecordError, Recorder, RunStart,
    Settings, Shutdown, start, verify_folder,
};

static NEXT: AtomicU64 = AtomicU64::new(1);

/// A call id that no other call of this process has.
pub fn new_call() -> CallId {
    let number = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    let mut random = [0; 10];
    random[2..].copy_from_slice(&number);
    CallId::new(u64::from(std::process::id()), random)
}

/// A run id that no other run of this process has.
pub fn new_run() -> RunId {
    let mut random = [0; 16];
    random[..8].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    random[8..12].copy_from_slice(&std::process::id().to_be_bytes());
    RunId::new(random)
}

/// Small segments, quick publication: everything happens often.
pub fn limits() -> Limits {
    Limits {
        segment_bytes: 64 << 10,
        publish_every: Duration::from_millis(1),
        refuse_bytes: 0,
        refuse_percent: 0,
        warn_percent: 0,
        heartbeat_every: Duration::from_secs(3600),
        ..Limits::default()
    }
}

pub fn settings(dir: &Path) -> Settings {
    Settings { limits: limits(), ..Settings::at(dir) }
}

/// The usual segments and publication, on a disk as full as it likes.
pub fn usual(dir: &Path) -> Settings {
    let Limits { refuse_bytes, refuse_percent, warn_percent, heartbeat_every, .. } = limits();
    let limits = Limits { refuse_bytes, refuse_percent, warn_percent, heartbeat_every, ..Limits::default() };
    Settings { limits, ..Settings::at(dir) }
}

/// A started recorder. The clerk is shared, as the gateway's pipeline shares it.
pub struct Running {
    pub recorder: Recorder,
    pub clerk: Arc<Clerk>,
    pub shutdown: Shutdown,
    pub recovered: recorder::Recovered,
}

pub fn run(settings: Settings) -> Running {
    let started = start(settings).unwrap();
    Running {
        recorder: started.recorder,
        clerk: Arc::new(started.clerk),
        shutdown: started.shutdown,
        recovered: started.recovered,
    }
}

pub fn allow() -> Decision {
    Decision { verdict: Verdict::Allow, policy: None, reason: None }
}

pub fn deny() -> Decision {
    Decision { verdict: Verdict::Deny, policy: None, reason: Some("not granted".to_owned()) }
}

pub fn fields(method: &str) -> Fields {
    Fields::from([("method".to_owned(), format!("\"{method}\""))])
}

pub fn account(run: RunId, call: CallId, body: impl Into<recorder::Body>) -> Account {
    Account {
        run,
        call: Some(call),
        round: 0,
        parent: None,
        subject: Arc::from("anna"),
        fields: fields("tools/call"),
        body: body.into(),
        spans: Spans::new(),
    }
}

pub fn outcome(body: impl Into<recorder::Body>) -> Outcome {
    Outcome { status: Status::Ok, fields: Fields::new(), body: body.into(), spans: Spans::new() }
}

pub fn note(body: impl Into<recorder::Body>) -> Note {
    Note { fields: fields("notifications/progress"), body: body.into(), spans: Spans::new() }
}

impl Running {
    pub async fn begin(&self) -> RunId {
        let run = new_run();
        let start = RunStart { run, subject: Arc::from("anna"), fields: fields("initialize") };
        self.recorder.begin_run(start).await.unwrap();
        run
    }

    pub async fn open(&self, run: RunId, body: impl Into<recorder::Body>) -> Result<Opened, RecordError> {
        self.recorder.open(self.clerk.clear(allow(), account(run, new_call(), body)).unwrap()).await
    }

    /// One whole call.
    pub async fn call(&self, run: RunId, body: impl Into<recorder::Body>) {
        let opened = self.open(run, body).await.unwrap();
        self.recorder.close(opened, outcome("{}")).await.unwrap();
    }

    pub async fn wait_published(&self) {
        let size = *self.recorder.committed().borrow();
        self.recorder.published().wait_for(|published| *published >= size).await.unwrap();
    }
}

/// All leaves of a folder's log.
pub fn leaves(dir: &Path) -> Vec<(Seq, Leaf)> {
    let reader = Reader::open(dir).unwrap();
    let read = reader.leaves(Seq(0)).map(|leaf| leaf.unwrap());
    read.map(|(seq, bytes)| (seq, Leaf::decode(&bytes).unwrap())).collect()
}

pub fn count(leaves: &[(Seq, Leaf)], kind: Kind) -> usize {
    leaves.iter().filter(|(_, leaf)| leaf.kind == kind).count()
}

/// Verifies a folder and gives its leaves.
pub fn verified(dir: &Path) -> Vec<(Seq, Leaf)> {
    let report = verify_folder(dir, None).unwrap();
    assert!(report.ok, "{report}");
    let leaves = leaves(dir);
    assert_eq!(report.records, leaves.len() as u64);
    leaves
}

/// Copies a folder.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Bytes that do not compress.
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let step = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(step).collect()
}
