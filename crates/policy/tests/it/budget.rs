//! Limits: how they are counted, and that no run gets more.

use std::sync::atomic::{AtomicU64, Ordering};

use policy::budget::{Asking, Budgets, Kept, Taken};
use policy::{Ask, Limited};
use proptest::prelude::*;

use super::made::{bundle, question};

/// The limits of an annotation, as a call of a tool falls under them.
fn limits(text: &str, tool: &str) -> Vec<Limited> {
    let bundle = bundle(&format!("@id(\"p\") @limit(\"{text}\") permit (principal, action, resource);"));
    bundle.decide(&question(&[], "files", Ask::CallTool { name: tool, arguments: None })).limits
}

fn asking(run: &str, now_ms: u64) -> Asking<'_> {
    Asking { run, until_ms: None, now_ms }
}

/// What a call is told.
fn take(budgets: &Budgets, limits: &[Limited], now_ms: u64) -> Result<Taken, String> {
    budgets.take(&asking("run_1", now_ms), limits).map_err(|spent| spent.to_string())
}

#[test]
fn a_window_slides() {
    let (budgets, limits) = (Budgets::with_room(9), limits("2 calls per minute", "read_file"));
    assert_eq!(limits[0].policy, "p");
    for now in [0, 30_000] {
        take(&budgets, &limits, now).unwrap();
    }
    let told = take(&budgets, &limits, 40_000).unwrap_err();
    assert_eq!(told, "the limit of 2 calls per minute is reached; come again in 22 seconds");
    take(&budgets, &limits, 61_200).unwrap();
    take(&budgets, &limits, 61_200).unwrap_err();
    assert!(take(&budgets, &limits, 0).is_err(), "a clock that steps back gives nothing back");
}

#[test]
fn a_budget_is_of_the_run_and_ends_with_it() {
    let (budgets, limits) = (Budgets::with_room(9), limits("1 calls per run, 9 calls per day", "read_file"));
    take(&budgets, &limits, 0).unwrap();
    let told = take(&budgets, &limits, 1_000_000_000).unwrap_err();
    assert_eq!(told, "the limit of 1 calls per run is reached, and nothing is left for this run");
    budgets.take(&asking("run_2", 0), &limits).unwrap();
    budgets.forget("run_1");
    take(&budgets, &limits, 0).unwrap();
}

/// One request may want many things under one limit.
#[test]
fn what_is_wanted_together_is_counted_together() {
    let many = |limit: &str, times: usize| -> Vec<Limited> {
        let one = limits(limit, "read_file");
        (0..times).flat_map(|_| one.clone()).collect()
    };
    let budgets = Budgets::with_room(9);
    let told = take(&budgets, &many("1 calls per minute", 50), 0).unwrap_err();
    assert_eq!(told, "it asks for more at once than the limit of 1 calls per minute allows; ask for less");
    take(&budgets, &many("5 calls per minute", 3), 0).unwrap();
    let told = take(&budgets, &many("5 calls per minute", 3), 0).unwrap_err();
    assert_eq!(told, "the limit of 5 calls per minute is reached; come again in 62 seconds");
    take(&budgets, &many("5 calls per minute", 2), 0).unwrap();
    let open = take(&budgets, &many("3 at once", 2), 0).unwrap();
    let told = take(&budgets, &many("3 at once", 2), 0).unwrap_err();
    assert_eq!(told, "the limit of 3 at once is reached; come again when a call has ended");
    budgets.ended(&open, 0);
    take(&budgets, &many("3 at once", 3), 0).unwrap();
    let read = take(&budgets, &many("2 KiB per run", 3), 0).unwrap();
    budgets.ended(&read, 1024);
    take(&budgets, &many("2 KiB per run", 3), 0).expect("a result's bytes are counted once");
    take(&Budgets::with_room(1), &many("9 calls per day", 9), 0).expect("room for one counter is enough");
}

#[test]
fn bytes_are_counted_when_a_call_ends() {
    let (budgets, limits) = (Budgets::with_room(9), limits("1 KiB per run", "read_file"));
    let first = take(&budgets, &limits, 0).unwrap();
    budgets.ended(&first, 1023);
    let second = take(&budgets, &limits, 0).unwrap();
    budgets.ended(&second, 70_000);
    let told = take(&budgets, &limits, 0).unwrap_err();
    assert_eq!(told, "the limit of 1 KiB per run is reached, and nothing is left for this run");
}

#[test]
fn places_are_given_back_and_tools_are_apart() {
    let budgets = Budgets::with_room(9);
    let [read, write] = ["read_file", "write_file"].map(|tool| limits("1 at once per tool", tool));
    let open = take(&budgets, &read, 0).unwrap();
    let told = take(&budgets, &read, 0).unwrap_err();
    assert_eq!(told, "the limit of 1 at once per tool is reached; come again when a call has ended");
    take(&budgets, &write, 0).unwrap();
    budgets.ended(&open, 5);
    take(&budgets, &read, 0).unwrap();
}

#[test]
fn a_call_takes_from_all_limits_or_from_none() {
    let (budgets, both) = (Budgets::with_room(9), limits("1 at once, 2 calls per run", "read_file"));
    let open = take(&budgets, &both, 0).unwrap();
    for _ in 0..5 {
        take(&budgets, &both, 0).unwrap_err();
    }
    budgets.ended(&open, 0);
    take(&budgets, &both, 0).expect("what was refused was not counted");
}

#[test]
fn without_room_nothing_is_allowed() {
    let (budgets, limits) = (Budgets::with_room(2), limits("1 calls per minute", "read_file"));
    for run in ["a", "b"] {
        budgets.take(&asking(run, 0), &limits).unwrap();
    }
    let told = budgets.take(&asking("c", 0), &limits).unwrap_err().to_string();
    assert_eq!(told, "more runs are counted than there is room for; come again in a minute");
    budgets.take(&asking("c", 200_000), &limits).expect("windows that have passed make room");
}

#[test]
fn what_outlives_the_process_is_kept() {
    let (budgets, limits) = (Budgets::with_room(9), limits("1 calls per run", "read_file"));
    let kept = Asking { until_ms: Some(10), ..asking("run_1", 0) };
    budgets.take(&kept, &limits).unwrap();
    budgets.take(&asking("run_2", 0), &limits).unwrap();
    let changed = budgets.changed();
    let counters = vec![("p\n1 calls per run".to_owned(), vec![(0, 1)])];
    assert_eq!(changed, [Kept { run: "run_1".to_owned(), until_ms: 10, counters }]);
    assert_eq!(budgets.changed(), []);
    let again = Budgets::with_room(9);
    again.restore(changed);
    again.take(&kept, &limits).unwrap_err();
}

#[test]
fn obligations_add_up() {
    let bundle = bundle(
        r#"@id("a") @limit("9 calls per minute") permit (principal, action, resource);
@id("b") @limit("1 GiB per day per tool, 3 at once") permit (principal, action, resource in Server::"files");
@limit("1 at once") permit (principal, action, resource in Server::"bank");"#,
    );
    let judged = bundle.decide(&question(&[], "files", Ask::CallTool { name: "read_file", arguments: None }));
    let told: Vec<String> =
        judged.limits.iter().map(|one| format!("{} {} {}", one.policy, one.limit, one.thing)).collect();
    assert_eq!(
        told,
        [
            "a 9 calls per minute files/read_file",
            "b 1 GiB per day per tool files/read_file",
            "b 3 at once files/read_file"
        ]
    );
}

/// Numbers of which no window of that length holds more than `most`.
fn within(moments: &[u64], window: u64, most: usize) -> bool {
    moments.iter().all(|end| {
        moments.iter().filter(|moment| **moment <= *end && **moment + window > *end).count() <= most
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_window_holds_more(
        most in 1_usize..6,
        steps in prop::collection::vec(prop_oneof![0_u64..50, 0_u64..2_000, 0_u64..90_000], 1..120),
    ) {
        let limits = limits(&format!("{most} calls per minute"), "read_file");
        let budgets = Budgets::with_room(1);
        let (mut now, mut allowed, mut last) = (0, Vec::new(), None);
        for step in steps {
            now += step;
            match budgets.take(&asking("run_1", now), &limits) {
                Ok(_) => allowed.push(now),
                Err(_) => last = Some(now),
            }
        }
        prop_assert!(within(&allowed, 60_000, most), "{allowed:?}");
        if let Some(refused) = last {
            let recent = allowed.iter().filter(|moment| **moment + 61_200 > refused && **moment <= refused).count();
            prop_assert!(recent >= most, "strict by a fiftieth and no more");
        }
    }

    #[test]
    fn however_many_ask_together_no_more_are_allowed(
        most in 1_u64..40, at_once in 1_u64..4, threads in 2_usize..6, each in 1_u64..40,
    ) {
        let limits = limits(&format!("{most} calls per run, {at_once} at once"), "read_file");
        let budgets = Budgets::with_room(8);
        let [allowed, open, highest] = [0, 0, 0].map(AtomicU64::new);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    for _ in 0..each {
                        let Ok(taken) = budgets.take(&asking("run_1", 0), &limits) else { continue };
                        allowed.fetch_add(1, Ordering::SeqCst);
                        highest.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        std::thread::yield_now();
                        open.fetch_sub(1, Ordering::SeqCst);
                        budgets.ended(&taken, 1);
                    }
                });
            }
        });
        let allowed = allowed.into_inner();
        prop_assert!(allowed <= most, "{allowed} of {most}");
        prop_assert!(highest.into_inner() <= at_once);
        prop_assert!(allowed > 0);
    }
}
