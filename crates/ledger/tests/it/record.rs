//! Leaves: their bytes are a format that outlives the program, so each kind has a golden file.

use std::collections::BTreeMap;

use expect_test::{expect, expect_file};
use ledger::record::{BlobRef, LEAF_BYTES, LeafError, Reference, RunLink};
use ledger::{CallId, Fact, Hash, KekId, Kind, Leaf, RunId, Seq, Status, Verdict, leaf_hash};
use proptest::option;
use proptest::prelude::*;
use serde_json::value::RawValue;

use crate::made::{call, run};

/// A leaf of a kind with the members that such a record has.
pub fn example(kind: Kind) -> Leaf {
    let mut leaf = Leaf::new(kind, 1_795_235_437_123_456);
    let facts: &[(&str, Fact)] = match kind {
        Kind::Start => &[("boot", text("9f2c")), ("runs", Fact::Int(1)), ("size", Fact::Int(4711))],
        Kind::SessionClose => &[("count", Fact::Int(43)), ("reason", text("client-closed"))],
        Kind::Heartbeat => &[
            ("dropped", Fact::Int(0)),
            ("intents", Fact::Int(12)),
            ("notes", Fact::Int(3)),
            ("open", Fact::Int(1)),
            ("outcomes", Fact::Int(11)),
            ("refused", Fact::Int(2)),
        ],
        Kind::KeyCreated | Kind::KeyDestroyed => &[("kek", text("kek_0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b"))],
        Kind::HoldSet | Kind::HoldRelease => &[("hold", text("h-17"))],
        Kind::Access => &[("from", Fact::Int(100)), ("to", Fact::Int(199))],
        Kind::IndexManifest => &[("files", Fact::Int(2)), ("from", Fact::Int(0)), ("to", Fact::Int(4710))],
        Kind::Seal => &[("reason", text("moved"))],
        _ => &[],
    };
    leaf.facts = facts.iter().map(|(name, fact)| ((*name).to_owned(), fact.clone())).collect();
    let of_run = !matches!(
        kind,
        Kind::Start
            | Kind::Heartbeat
            | Kind::KeyCreated
            | Kind::KeyDestroyed
            | Kind::HoldSet
            | Kind::HoldRelease
            | Kind::Access
            | Kind::Config
            | Kind::IndexManifest
            | Kind::Seal
    );
    if of_run {
        let (number, previous) =
            if kind == Kind::SessionOpen { (0, None) } else { (42, Some(Hash([6; 32]))) };
        leaf.link = Some(RunLink { run: run(1), number, previous });
    }
    if of_run && !matches!(kind, Kind::SessionOpen | Kind::SessionClose) {
        leaf.call = Some(call(2));
        leaf.round = Some(0);
    }
    if matches!(kind, Kind::Intent | Kind::Refused | Kind::ApprovalReq) {
        leaf.verdict = Some(match kind {
            Kind::Intent => Verdict::Allow,
            Kind::Refused => Verdict::Deny,
            _ => Verdict::Hold,
        });
        leaf.policy = Some(Hash([8; 32]));
    }
    let ends = matches!(kind, Kind::Outcome | Kind::OutcomeUnknown);
    if ends || matches!(kind, Kind::Note | Kind::ApprovalGrant | Kind::ApprovalDeny) {
        leaf.reference = Some(Reference {
            hash: Hash([9; 32]),
            seq: Seq(123_455),
            origin: "example.org/tollbook".to_owned(),
        });
    }
    if ends {
        leaf.status = Some(if kind == Kind::Outcome { Status::Ok } else { Status::Unknown });
    }
    if kind == Kind::Config {
        leaf.config = Some(Hash([10; 32]));
    }
    if kind == Kind::Note {
        leaf.parent = Some(call(1));
    }
    if of_run && !matches!(kind, Kind::SessionClose | Kind::OutcomeUnknown) {
        leaf.commitments = vec![Hash([1; 32]), Hash([2; 32])];
        leaf.blobs = vec![BlobRef { digest: Hash([3; 32]), kek: KekId([11; 16]), size: 1834 }];
    }
    leaf
}

fn text(word: &str) -> Fact {
    Fact::Text(word.to_owned())
}

#[test]
fn each_kind_has_its_golden_bytes() {
    for kind in Kind::ALL {
        let leaf = example(*kind);
        let encoded = leaf.encode();
        let golden = expect_file![format!("../golden/{}.json", kind.as_str())];
        golden.assert_eq(std::str::from_utf8(&encoded).unwrap());
        assert_eq!(Leaf::decode(&encoded), Ok(leaf));
    }
}

#[test]
fn words_are_what_they_print() {
    let all = Kind::ALL.iter().map(|kind| (kind.as_str(), serde_json::to_string(kind).unwrap()));
    let all =
        all.chain(Verdict::ALL.iter().map(|word| (word.as_str(), serde_json::to_string(word).unwrap())));
    for (word, json) in
        all.chain(Status::ALL.iter().map(|word| (word.as_str(), serde_json::to_string(word).unwrap())))
    {
        assert_eq!(json, format!("\"{word}\""));
    }
}

fn check(member: &str) -> String {
    let leaf = format!(r#"{{"k":"note","t":1,"v":1{member}}}"#);
    match Leaf::decode(leaf.as_bytes()) {
        Ok(_) => "a leaf".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn members_of_later_versions_are_passed_over() {
    let plain = Leaf::new(Kind::Note, 1);
    for extra in [r#","zz":[{"a":null}]"#, r#","_x":1.5"#, r#","":"""#, r#","a":{"k":"intent","t":"x"}"#] {
        let bytes = format!(r#"{{"k":"note","t":1,"v":1{extra}}}"#);
        assert_eq!(Leaf::decode(bytes.as_bytes()), Ok(plain.clone()), "{extra}");
        // They are not written anew, and they count.
        assert_ne!(leaf_hash(bytes.as_bytes()), leaf_hash(&plain.encode()));
    }
}

#[test]
fn hostile_leaves_are_refused() {
    let run = r#","s":"run_00000000000000000000000000000001""#;
    let members = [
        r#","n":-1"#.to_owned(),
        r#","n":4294967296"#.to_owned(),
        r#","n":1.0"#.to_owned(),
        r#","c":"run_00000000000000000000000000000001""#.to_owned(),
        r#","c":"call_0000000000000000000000000000000A""#.to_owned(),
        r#","c":"call_+0000000000000000000000000000001""#.to_owned(),
        r#","cfg":"AAAA""#.to_owned(),
        r#","cfg":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=""#.to_owned(),
        r#","cfg":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB""#.to_owned(),
        r#","dec":"maybe""#.to_owned(),
        r#","st":"fine""#.to_owned(),
        run.to_owned(),
        format!(r#"{run},"sp":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA""#),
        r#","sn":0"#.to_owned(),
        r#","b":[{"d":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","z":1}]"#.to_owned(),
        r#","r":{"h":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","i":"0","o":"x"}"#.to_owned(),
        r#","x":{"a":1.5}"#.to_owned(),
        r#","x":{"a":true}"#.to_owned(),
        r#","x":{"a":9223372036854775808}"#.to_owned(),
        r#","x":{"count":1,"count":2}"#.to_owned(),
        r#","_sd":["AAAA"]"#.to_owned(),
        r#","_sd_alg":"sha-1""#.to_owned(),
        r#","t":2"#.to_owned(),
    ];
    let told: Vec<String> = members
        .iter()
        .map(|member| format!("{}\n    {}\n", member.trim_start_matches(','), check(member)))
        .collect();
    expect![[r#"
        "n":-1
            not a leaf: invalid value: integer `-1`, expected u32 at line 1 column 30
        "n":4294967296
            not a leaf: invalid value: integer `4294967296`, expected u32 at line 1 column 38
        "n":1.0
            not a leaf: invalid type: floating point `1.0`, expected u32 at line 1 column 31
        "c":"run_00000000000000000000000000000001"
            not a leaf: expected `call_ and 32 hexadecimal digits` at line 1 column 66
        "c":"call_0000000000000000000000000000000A"
            not a leaf: expected `call_ and 32 hexadecimal digits` at line 1 column 67
        "c":"call_+0000000000000000000000000000001"
            not a leaf: expected `call_ and 32 hexadecimal digits` at line 1 column 67
        "cfg":"AAAA"
            not a leaf: expected `43 characters of base64url` at line 1 column 36
        "cfg":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
            not a leaf: expected `43 characters of base64url` at line 1 column 76
        "cfg":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB"
            not a leaf: expected `43 characters of base64url` at line 1 column 75
        "dec":"maybe"
            not a leaf: unknown variant `maybe`, expected one of `allow`, `deny`, `hold` at line 1 column 37
        "st":"fine"
            not a leaf: unknown variant `fine`, expected one of `ok`, `tool_error`, `error`, `input_required`, `accepted`, `cancelled`, `disconnected`, `timeout`, `upstream_failed`, `withheld`, `unknown` at line 1 column 35
        "s":"run_00000000000000000000000000000001"
            not a leaf: `s`, `sn` and `sp` go together
        "s":"run_00000000000000000000000000000001","sp":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
            not a leaf: `s`, `sn` and `sp` go together
        "sn":0
            not a leaf: `s`, `sn` and `sp` go together
        "b":[{"d":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","z":1}]
            not a leaf: missing field `kek` at line 1 column 86
        "r":{"h":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","i":"0","o":"x"}
            not a leaf: invalid type: string "0", expected u64 at line 1 column 86
        "x":{"a":1.5}
            not a leaf: data did not match any variant of untagged enum Fact at line 1 column 37
        "x":{"a":true}
            not a leaf: data did not match any variant of untagged enum Fact at line 1 column 38
        "x":{"a":9223372036854775808}
            not a leaf: data did not match any variant of untagged enum Fact at line 1 column 53
        "x":{"count":1,"count":2}
            not a leaf: duplicate member in `x` at line 1 column 49
        "_sd":["AAAA"]
            not a leaf: expected `43 characters of base64url` at line 1 column 37
        "_sd_alg":"sha-1"
            not a leaf: `_sd_alg` is not sha-256
        "t":2
            not a leaf: duplicate field `t` at line 1 column 27
    "#]].assert_eq(&told.concat());

    let whole: [&[u8]; 9] = [
        b"",
        b"[]",
        br#"[[],null,[],null,null,null,"note",null,null,null,null,null,null,null,null,1,1,{}]"#,
        br#" {"k":"note","t":1,"v":1}"#,
        b"{}",
        br#"{"k":"note","t":1,"v":2}"#,
        br#"{"k":"dance","t":1,"v":1}"#,
        br#"{"k":"note","t":1,"v":1}{}"#,
        b"{\"k\":\"no\xffte\",\"t\":1,\"v\":1}",
    ];
    let told: Vec<String> =
        whole.iter().map(|leaf| format!("{}\n", Leaf::decode(leaf).unwrap_err())).collect();
    expect![[r#"
        not a leaf: expected an object
        not a leaf: expected an object
        not a leaf: expected an object
        not a leaf: expected an object
        not a leaf: missing field `k` at line 1 column 2
        a leaf of version 2, which this program does not know; use a newer one
        not a leaf: unknown variant `dance`, expected one of `start`, `intent`, `approval.req`, `approval.grant`, `approval.deny`, `outcome`, `outcome.unknown`, `refused`, `note`, `session.open`, `session.close`, `heartbeat`, `key.created`, `key.destroyed`, `hold.set`, `hold.release`, `access`, `config`, `index.manifest`, `seal` at line 1 column 12
        not a leaf: trailing characters at line 1 column 25
        not a leaf: invalid unicode code point at line 1 column 9
    "#]].assert_eq(&told.concat());
}

#[test]
fn depth_and_length_are_bounded() {
    let deep = format!(r#"{{"k":"note","t":1,"v":1,"y":{}{}}}"#, "[".repeat(20_000), "]".repeat(20_000));
    assert_eq!(Leaf::decode(deep.as_bytes()), Ok(Leaf::new(Kind::Note, 1)));
    let mut longest = Leaf::new(Kind::Note, 1);
    longest.facts.insert("a".to_owned(), Fact::Text(String::new()));
    let room = LEAF_BYTES - longest.encode().len();
    longest.facts.insert("a".to_owned(), Fact::Text("a".repeat(room)));
    assert_eq!(Leaf::decode(&longest.encode()).as_ref(), Ok(&longest));
    longest.facts.insert("a".to_owned(), Fact::Text("a".repeat(room + 1)));
    assert_eq!(Leaf::decode(&longest.encode()), Err(LeafError::TooLong(LEAF_BYTES + 1)));
}

#[test]
fn ids_have_one_spelling() {
    let call = CallId::new(0x0123_4567_89ab, [0xff; 10]);
    expect!["call_0123456789ab7fffbfffffffffffffff"].assert_eq(&call.to_string());
    assert_eq!(call.to_string().parse(), Ok(call));
    assert!(CallId::new(1, [0xff; 10]) < CallId::new(2, [0; 10]));
    assert!("call_0123456789AB7FFFBFFFFFFFFFFFFFFF".parse::<CallId>().is_err());
    assert!("run_0123456789ab7fffbfffffffffffffff".parse::<CallId>().is_err());
    assert!(" call_0123456789ab7fffbfffffffffffffff".parse::<CallId>().is_err());
    assert_eq!(Hash::of(b"").to_string().parse(), Ok(Hash::of(b"")));
    expect!["47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"].assert_eq(&Hash::of(b"").to_string());
    expect!["expected `43 characters of base64url`"].assert_eq(&"x".parse::<Hash>().unwrap_err().to_string());
}

fn hash() -> impl Strategy<Value = Hash> {
    any::<[u8; 32]>().prop_map(Hash)
}

fn fact() -> impl Strategy<Value = Fact> {
    prop_oneof![any::<i64>().prop_map(Fact::Int), any::<String>().prop_map(Fact::Text)]
}

fn link() -> impl Strategy<Value = RunLink> {
    (any::<[u8; 16]>(), any::<u64>(), option::of(hash())).prop_map(|(run, number, previous)| RunLink {
        run: RunId(run),
        number,
        previous,
    })
}

fn reference() -> impl Strategy<Value = Reference> {
    (hash(), any::<u64>(), any::<String>()).prop_map(|(hash, seq, origin)| Reference {
        hash,
        seq: Seq(seq),
        origin,
    })
}

fn blob() -> impl Strategy<Value = BlobRef> {
    (hash(), any::<[u8; 16]>(), any::<u64>()).prop_map(|(digest, kek, size)| BlobRef {
        digest,
        kek: KekId(kek),
        size,
    })
}

fn leaf() -> impl Strategy<Value = Leaf> {
    let words = (
        prop::sample::select(Kind::ALL),
        any::<u64>(),
        option::of(prop::sample::select(Verdict::ALL)),
        option::of(prop::sample::select(Status::ALL)),
    );
    let calls = (option::of(any::<[u8; 16]>()), option::of(any::<u32>()), option::of(any::<[u8; 16]>()));
    let links = (option::of(link()), option::of(reference()), option::of(hash()), option::of(hash()));
    let lists = (
        prop::collection::vec(blob(), 0..3),
        prop::collection::vec(hash(), 0..5),
        prop::collection::btree_map(any::<String>(), fact(), 0..4),
    );
    (words, calls, links, lists).prop_map(|(words, calls, links, lists)| {
        let (kind, time_us, verdict, status) = words;
        let (call, round, parent) = (calls.0.map(CallId), calls.1, calls.2.map(CallId));
        let (link, reference, policy, config) = links;
        let (blobs, commitments, facts) = lists;
        Leaf {
            kind,
            time_us,
            call,
            round,
            parent,
            link,
            reference,
            verdict,
            status,
            policy,
            config,
            blobs,
            commitments,
            facts,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn leaves_are_read_as_they_were_written(leaf in leaf()) {
        let encoded = leaf.encode();
        prop_assert_eq!(Leaf::decode(&encoded).unwrap(), leaf);
        // Members in bytewise order, no white space.
        let members: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(&encoded).unwrap();
        let sorted: Vec<String> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        prop_assert_eq!(format!("{{{}}}", sorted.join(",")).into_bytes(), encoded);
    }

    #[test]
    fn no_bytes_make_the_reader_fall(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Leaf::decode(&bytes).is_err());
    }

    #[test]
    fn a_leaf_cut_anywhere_is_none(leaf in leaf(), at in any::<prop::sample::Index>()) {
        let encoded = leaf.encode();
        prop_assert!(Leaf::decode(&encoded[..at.index(encoded.len())]).is_err());
    }
}
