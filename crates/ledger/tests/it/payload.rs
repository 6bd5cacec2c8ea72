//! Payloads and the salted digests of what they hold.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use expect_test::expect;
use ledger::evidence::open_disclosure;
use ledger::payload::{BODY, Commitment, Fields, Spans, encode_head};
use ledger::{Hash, Payload};
use proptest::prelude::*;

/// The payload that `docs/formats/record.md` takes apart.
pub fn example() -> Payload {
    let body = r#"{"id":1,"method":"tools/call","params":{"arguments":{"a":1},"name":"add"}}"#;
    Payload {
        secret: std::array::from_fn(|at| u8::try_from(at).unwrap()),
        fields: Fields::from([
            ("method".to_owned(), r#""tools/call""#.to_owned()),
            ("principal".to_owned(), r#""mira@example.org""#.to_owned()),
        ]),
        spans: Spans::from([("arguments".to_owned(), 52..59)]),
        body: Bytes::from_static(body.as_bytes()),
    }
}

#[test]
fn bytes_are_as_documented() {
    let payload = example();
    let encoded = payload.encode();
    assert_eq!(encoded[..4], 156u32.to_le_bytes());
    expect![[
        r#"{"fields":{"method":"tools/call","principal":"mira@example.org"},"secret":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8","spans":{"arguments":[52,59]},"v":1}{"id":1,"method":"tools/call","params":{"arguments":{"a":1},"name":"add"}}"#
    ]]
    .assert_eq(std::str::from_utf8(&encoded[4..]).unwrap());
    assert_eq!(Payload::decode(&encoded.into()), Ok(payload));
}

#[test]
fn disclosures_are_as_documented() {
    let payload = example();
    let mut told = String::new();
    for name in payload.names().chain([BODY]) {
        let disclosure = payload.disclose(name).unwrap();
        let json = String::from_utf8(URL_SAFE_NO_PAD.decode(&disclosure).unwrap()).unwrap();
        told.push_str(&format!("{json}\n{disclosure}\n{}\n", Hash::of(disclosure.as_bytes())));
    }
    expect![[r#"
        ["Hf3XTMjJRtczcm7RmYjjZg","method","tools/call"]
        WyJIZjNYVE1qSlJ0Y3pjbTdSbVlqalpnIiwibWV0aG9kIiwidG9vbHMvY2FsbCJd
        qzpoIcQcQnM3R4fPK8zbxCGYuvqci-9a3fuuUTCAnxg
        ["Xrn_QtPNgsANGyxlvBDeiA","principal","mira@example.org"]
        WyJYcm5fUXRQTmdzQU5HeXhsdkJEZWlBIiwicHJpbmNpcGFsIiwibWlyYUBleGFtcGxlLm9yZyJd
        bIwCsefoV71HlMMThmsOdPqsOCxJj1tCmfo6mvot0h4
        ["9soiJjs65Eik0XdnvDhyUQ","arguments",{"a":1}]
        WyI5c29pSmpzNjVFaWswWGRudkRoeVVRIiwiYXJndW1lbnRzIix7ImEiOjF9XQ
        GUKEjREEXzbZaF_QB5yzMfd2zMcPfB51ihl5yDXyJWY
        ["hH-rJfoQJthY2NARgGn0vg","body",{"sha256":"wBSzKdI1bt4QxowFGHNOjNEZldjCuVCgJPGL3NOAahM","size":74}]
        WyJoSC1ySmZvUUp0aFkyTkFSZ0duMHZnIiwiYm9keSIseyJzaGEyNTYiOiJ3QlN6S2RJMWJ0NFF4b3dGR0hOT2pORVpsZGpDdVZDZ0pQR0wzTk9BYWhNIiwic2l6ZSI6NzR9XQ
        74rKS7M6at3GsoVMXVuWdpCuR1EtM1ryi3qoA-a_lZw
    "#]].assert_eq(&told);
    assert_eq!(payload.disclose("result"), None);
}

#[test]
fn digests_are_those_of_rfc_9901() {
    // RFC 9901 §4.2.3.
    let disclosure = "WyIyR0xDNDJzS1F2ZUNmR2ZyeU5STjl3IiwgImdpdmVuX25hbWUiLCAiSm9obiJd";
    expect!["jsu9yVulwQQlhFlM_3JlzMaSFzglhQG0DpfayQwLUK4"]
        .assert_eq(&Hash::of(disclosure.as_bytes()).to_string());
    assert_eq!(open_disclosure(disclosure), Some(("given_name".to_owned(), r#""John""#.to_owned())));
}

#[test]
fn a_body_is_committed_to_with_a_salt() {
    let payload = example();
    let (name, value) = open_disclosure(&payload.disclose(BODY).unwrap()).unwrap();
    assert_eq!(name, BODY);
    let mut salted = URL_SAFE_NO_PAD.decode(payload.body_salt()).unwrap();
    assert_eq!(salted.len(), 16);
    salted.extend_from_slice(&payload.body);
    assert_eq!(value, format!(r#"{{"sha256":"{}","size":{}}}"#, Hash::of(&salted), payload.body.len()));
    assert!(!value.contains(&Hash::of(&payload.body).to_string()));
}

#[test]
fn digests_of_two_records_share_nothing() {
    let one = example();
    let other = Payload { secret: [9; 32], ..example() };
    let all: BTreeSet<Hash> = one.commitments().into_iter().chain(other.commitments()).collect();
    assert_eq!(all.len(), one.commitments().len() + other.commitments().len());
    // Nor do two fields of one value.
    let twice = Fields::from(["a", "b"].map(|name| (name.to_owned(), "1".to_owned())));
    let payload = Payload { fields: twice, ..example() };
    let salts: BTreeSet<String> = payload.names().filter_map(|name| payload.disclose(name)).collect();
    assert_eq!(salts.len(), 3);
}

fn check(header: &str, body: &[u8]) -> String {
    let mut bytes = u32::try_from(header.len()).unwrap().to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(body);
    match Payload::decode(&bytes.into()) {
        Ok(_) => "a payload".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn hostile_payloads_are_refused() {
    let secret = r#""secret":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8""#;
    let headers = [
        format!(r#"{{"fields":{{}},{secret},"spans":{{}},"v":1}}"#),
        format!(r#"{{"fields":{{}},{secret},"spans":{{}},"v":1,"later":[]}}"#),
        format!(r#"{{"fields":{{}},{secret},"spans":{{}},"v":2}}"#),
        format!(r#"{{"fields":{{}},{secret},"spans":{{}}}}"#),
        format!(r#"{{"fields":[],{secret},"spans":{{}},"v":1}}"#),
        format!(r#"{{"fields":{{"a":}},{secret},"spans":{{}},"v":1}}"#),
        format!(r#"{{"fields":{{"a":1,"a":2}},{secret},"spans":{{}},"v":1}}"#),
        format!(r#"{{"fields":{{}},{secret},"spans":{{"a":[0,4]}},"v":1}}"#),
        format!(r#"{{"fields":{{}},{secret},"spans":{{"a":[0,5]}},"v":1}}"#),
        format!(r#"{{"fields":{{}},{secret},"spans":{{"a":[3,2]}},"v":1}}"#),
        format!(r#"{{"fields":{{}},{secret},"spans":{{"a":[-1,2]}},"v":1}}"#),
        format!(r#"{{"fields":{{}},{secret},"spans":{{"a":[0,18446744073709551615]}},"v":1}}"#),
        r#"{"fields":{},"secret":"AAEC","spans":{},"v":1}"#.to_owned(),
        r#"{"fields":{},"secret":"?","spans":{},"v":1}"#.to_owned(),
        String::new(),
    ];
    let told: Vec<String> =
        headers.iter().map(|header| format!("{header}\n    {}\n", check(header, b"true"))).collect();
    expect![[r#"
        {"fields":{},"secret":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8","spans":{},"v":1}
            a payload
        {"fields":{},"secret":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8","spans":{},"v":1,"later":[]}
            a payload
        {"fields":{},"secret":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8","spans":{},"v":2}
            not a payload: of a version that this program does not know
        {"fields":{},"secret":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8","spans":{}}
            not a payload: the header is not sound
        {"fields":[],"secret":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8","spans":{},"v":1}
            not a payload: the header is not sound
        {"fields":{"a":},"secret":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8","spans":{},"v":1}
            not a payload: the header is not sound
        {"fields":{"a":1,"a":2},"secret":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8","spans":{},"v":1}
            a payload
        {"fields":{},"secret":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8","spans":{"a":[0,4]},"v":1}
            a payload
        {"fields":{},"secret":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8","spans":{"a":[0,5]},"v":1}
            not a payload: a span lies outside the body
        {"fields":{},"secret":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8","spans":{"a":[3,2]},"v":1}
            not a payload: a span lies outside the body
        {"fields":{},"secret":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8","spans":{"a":[-1,2]},"v":1}
            not a payload: the header is not sound
        {"fields":{},"secret":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8","spans":{"a":[0,18446744073709551615]},"v":1}
            not a payload: a span lies outside the body
        {"fields":{},"secret":"AAEC","spans":{},"v":1}
            not a payload: the secret is not sound
        {"fields":{},"secret":"?","spans":{},"v":1}
            not a payload: the secret is not sound

            not a payload: the header is not sound
    "#]].assert_eq(&told.concat());

    let cut: [&'static [u8]; 4] = [b"", b"\x01\x00\x00", b"\x01\x00\x00\x00", b"\xff\xff\xff\xff{}"];
    let told: Vec<String> =
        cut.map(|bytes| format!("{}\n", Payload::decode(&Bytes::from_static(bytes)).unwrap_err())).into();
    expect![[r#"
        not a payload: no header
        not a payload: no header
        not a payload: the header is cut off
        not a payload: the header is cut off
    "#]]
    .assert_eq(&told.concat());
}

fn payload() -> impl Strategy<Value = Payload> {
    let field = ("[a-z\"\u{e9}\u{0}-\u{1f}]{1,8}", any::<i64>());
    let fields = prop::collection::btree_map(field.0, field.1, 0..5);
    let spans = prop::collection::btree_map(
        "[A-Z]{1,4}",
        (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
        0..4,
    );
    (any::<[u8; 32]>(), fields, spans, ".{0,80}").prop_map(|(secret, fields, spans, body)| {
        let cuts: Vec<usize> = body.char_indices().map(|(at, _)| at).chain([body.len()]).collect();
        let spans: Spans = spans
            .into_iter()
            .map(|(name, (a, b))| {
                let (a, b) = (*a.get(&cuts), *b.get(&cuts));
                (name, a.min(b)..a.max(b))
            })
            .collect();
        let fields: BTreeMap<String, String> =
            fields.into_iter().map(|(name, value)| (name, value.to_string())).collect();
        Payload { secret, fields, spans, body: body.into() }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn payloads_are_read_as_they_were_written(payload in payload()) {
        prop_assert_eq!(Payload::decode(&payload.encode().into()).unwrap(), payload);
    }

    #[test]
    fn a_leaf_commits_to_exactly_what_can_be_disclosed(payload in payload()) {
        let names = payload.names().chain([BODY]);
        let mut disclosed: Vec<Hash> =
            names.map(|name| Hash::of(payload.disclose(name).unwrap().as_bytes())).collect();
        disclosed.sort_unstable();
        prop_assert_eq!(payload.commitments(), disclosed);
    }

    #[test]
    fn commitments_do_not_depend_on_the_pieces(payload in payload(), piece in 1_usize..9) {
        let mut commitment = Commitment::begin(&payload.secret, &payload.fields, &payload.spans);
        payload.body.chunks(piece).for_each(|piece| commitment.push(piece));
        prop_assert_eq!(commitment.finish(), payload.commitments());
        let head = encode_head(&payload.secret, &payload.fields, &payload.spans);
        prop_assert_eq!([head, payload.body.to_vec()].concat(), payload.encode());
    }

    #[test]
    fn no_bytes_make_the_reader_fall(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Payload::decode(&bytes.into()).is_err());
    }
}
