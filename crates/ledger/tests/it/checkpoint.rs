//! Signed heads: what a key vouches for, and what it does not.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use expect_test::expect;
use ledger::checkpoint::{NoteError, check_cosignature};
use ledger::{Checkpoint, Hash, LogKey, VerifierKey};

const ORIGIN: &str = "example.org/tollbook";

fn key() -> LogKey {
    LogKey::from_seed(ORIGIN, &[42; 32]).unwrap()
}

fn head() -> Checkpoint {
    Checkpoint { origin: ORIGIN.to_owned(), size: 4711, root: Hash::of(b"root") }
}

#[test]
fn a_checkpoint_is_signed_as_documented() {
    let note = key().sign(&head());
    expect![[r#"
        example.org/tollbook
        4711
        SBNJTRN+FjG7owHVrKtue7eqdM4RhdRWVl71HXN2d7I=

        — example.org/tollbook leqELXO4YJKFDo6V8CFfBwhRfwZ3geETsHqD+GJ+7M+2U92CL79kHlQGH49gpPwuewzTDv0jZe6qAhYFM9hL0QPIXgE=
    "#]].assert_eq(&note);
    expect!["example.org/tollbook+95ea842d+ARl/ayPhbIUyxqvIOPrNXqeJvgx2spIDNAOb+os9No1h"]
        .assert_eq(&key().verifier().to_string());
    assert_eq!(Checkpoint::verify(&note, &key().verifier()), Ok(head()));
    assert!(format!("{:?}", key()).starts_with("LogKey { name: \"example.org/tollbook\", .. }"));
}

#[test]
fn keys_are_read_as_they_were_written() {
    let text = key().verifier().to_string();
    assert_eq!(format!("{text}\n").parse(), Ok(key().verifier()));
    // A witness's key stays one.
    let witness = Witness::new("example.net/witness").vkey();
    assert_eq!(witness.parse::<VerifierKey>().unwrap().to_string(), witness);

    let parts: Vec<&str> = text.splitn(3, '+').collect();
    let (name, id, key) = (parts[0], parts[1], parts[2]);
    let bad = [
        String::new(),
        name.to_owned(),
        format!("{name}+{id}"),
        format!("{name}+95ea842e+{key}"),
        format!("{name}+5ea842d+{key}"),
        format!("other+{id}+{key}"),
        format!("{name}+{id}+{}", key.get(..40).unwrap()),
        format!("{name}+{id}+{}", STANDARD.encode([1; 33])),
        // Of an algorithm that this program does not know.
        keyed(name, 2, &[7; 32]),
        keyed("", 1, &[7; 32]),
        keyed("two words", 1, &[7; 32]),
    ];
    for text in bad {
        assert_eq!(text.parse::<VerifierKey>(), Err(NoteError::Form), "{text}");
    }
    assert!(keyed("one", 1, &[7; 32]).parse::<VerifierKey>().is_ok());
    for name in ["", "two words", "a+b", "line\nbreak"] {
        assert!(LogKey::from_seed(name, &[42; 32]).is_none(), "{name}");
    }
}

/// A verifier key whose id is right.
fn keyed(name: &str, kind: u8, public: &[u8]) -> String {
    let key = [&[kind], public].concat();
    let id = Hash::of(&[name.as_bytes(), b"\n", &key].concat());
    format!("{name}+{}+{}", id.to_hex().get(..8).unwrap(), STANDARD.encode(key))
}

#[test]
fn a_note_of_another_program_holds() {
    // From the documentation of Go's golang.org/x/mod/sumdb/note.
    let key = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    let key: VerifierKey = key.parse().unwrap();
    let note = "If you think cryptography is the answer to your problem,\n\
        then you don't know what your problem is.\n\n\
        \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
    // Signed, though no checkpoint.
    assert_eq!(Checkpoint::verify(note, &key), Err(NoteError::Checkpoint));
    assert_eq!(Checkpoint::verify(&note.replace("answer", "anspter"), &key), Err(NoteError::Signature));
}

#[test]
fn every_changed_byte_shows() {
    let note = key().sign(&head());
    for at in 0..note.len() {
        for bit in [1, 4, 0x20] {
            let mut bytes = note.clone().into_bytes();
            bytes[at] ^= bit;
            let Ok(changed) = String::from_utf8(bytes) else { continue };
            assert!(Checkpoint::verify(&changed, &key().verifier()).is_err(), "byte {at}, {bit}: {changed}");
        }
        if let Some(cut) = note.get(..at) {
            assert!(Checkpoint::verify(cut, &key().verifier()).is_err(), "cut at {at}");
        }
    }
}

#[test]
fn only_the_logs_own_key_counts() {
    let note = key().sign(&head());
    let foreign = LogKey::from_seed(ORIGIN, &[43; 32]).unwrap();
    assert_eq!(Checkpoint::verify(&note, &foreign.verifier()), Err(NoteError::Unsigned));
    let renamed = LogKey::from_seed("example.org/other", &[42; 32]).unwrap();
    assert_eq!(Checkpoint::verify(&note, &renamed.verifier()), Err(NoteError::Unsigned));
    // Signed by the key of one log, the head of another.
    assert_eq!(Checkpoint::verify(&renamed.sign(&head()), &renamed.verifier()), Err(NoteError::Origin));
    // A signature of the key, moved under another text.
    let (_, signature) = note.split_once("\n\n").unwrap();
    let longer = Checkpoint { size: 4712, ..head() };
    let moved = format!("{}\n{signature}", longer.text());
    assert_eq!(Checkpoint::verify(&moved, &key().verifier()), Err(NoteError::Signature));
}

#[test]
fn signatures_of_others_are_passed_over() {
    let note = key().sign(&head());
    let (text, own) = note.split_once("\n\n").unwrap();
    let foreign = LogKey::from_seed(ORIGIN, &[43; 32]).unwrap().sign(&head());
    let (_, foreign) = foreign.split_once("\n\n").unwrap();
    let witness = Witness::new("example.net/witness").line(&head().text(), 1_795_235_437);
    for lines in [
        format!("{foreign}{own}"),
        format!("{own}{foreign}{witness}"),
        format!("{own}\u{2014} somebody AAAAAAAA\n"),
        format!("{own}{own}"),
    ] {
        assert_eq!(
            Checkpoint::verify(&format!("{text}\n\n{lines}"), &key().verifier()),
            Ok(head()),
            "{lines}"
        );
    }
    // A broken one by the key itself is not outweighed by a good one.
    let broken = own.replace("leqEL", "leqEM");
    assert_eq!(
        Checkpoint::verify(&format!("{text}\n\n{broken}"), &key().verifier()),
        Err(NoteError::Unsigned)
    );
    let (signer, signature) = own.trim_end().rsplit_once(' ').unwrap();
    let mut signature = STANDARD.decode(signature).unwrap();
    signature[30] ^= 1;
    let broken = format!("{signer} {}\n", STANDARD.encode(signature));
    let both = format!("{text}\n\n{own}{broken}");
    assert_eq!(Checkpoint::verify(&both, &key().verifier()), Err(NoteError::Signature));
}

#[test]
fn checkpoints_have_one_spelling() {
    let root = STANDARD.encode(Hash::of(b"root").0);
    let expected = Ok(head());
    assert_eq!(Checkpoint::parse(&head().text()), expected);
    assert_eq!(Checkpoint::parse(&format!("{}an extension\n", head().text())), expected);
    let empty = Checkpoint { size: 0, ..head() };
    assert_eq!(Checkpoint::parse(&empty.text()), Ok(empty));
    for text in [
        String::new(),
        format!("{ORIGIN}\n4711\n"),
        format!("\n4711\n{root}\n"),
        format!("{ORIGIN}\n04711\n{root}\n"),
        format!("{ORIGIN}\n+4711\n{root}\n"),
        format!("{ORIGIN}\n-1\n{root}\n"),
        format!("{ORIGIN}\n18446744073709551616\n{root}\n"),
        format!("{ORIGIN}\n4711\r\n{root}\r\n"),
        format!("{ORIGIN}\n4711\n{}\n", root.trim_end_matches('=')),
        format!("{ORIGIN}\n4711\n{}\n", root.replace("I=", "J=")),
        format!("{ORIGIN}\n4711\n{}\n", STANDARD.encode([0; 31])),
        format!("{ORIGIN}\n4711\n {root}\n"),
    ] {
        assert_eq!(Checkpoint::parse(&text), Err(NoteError::Checkpoint), "{text}");
    }
    for note in ["", "\n\n", "a\n\n", "a\n\nb", "a\r\n\n\u{2014} x AAAA\n"] {
        assert_eq!(Checkpoint::verify(note, &key().verifier()), Err(NoteError::Form), "{note:?}");
    }
}

struct Witness {
    name: &'static str,
    pair: Ed25519KeyPair,
}

impl Witness {
    fn new(name: &'static str) -> Witness {
        Witness { name, pair: Ed25519KeyPair::from_seed_unchecked(&[5; 32]).unwrap() }
    }

    fn vkey(&self) -> String {
        keyed(self.name, 4, self.pair.public_key().as_ref())
    }

    /// As C2SP tlog-cosignature has it.
    fn line(&self, text: &str, time: u64) -> String {
        let id = Hash::of(&[self.name.as_bytes(), b"\n\x04", self.pair.public_key().as_ref()].concat());
        let signature = self.pair.sign(format!("cosignature/v1\ntime {time}\n{text}").as_bytes());
        let bytes = [&id.0[..4], &time.to_be_bytes(), signature.as_ref()].concat();
        format!("\u{2014} {} {}\n", self.name, STANDARD.encode(bytes))
    }
}

#[test]
fn a_witness_vouches_for_a_time() {
    let witness = Witness::new("example.net/witness");
    let vkey: VerifierKey = witness.vkey().parse().unwrap();
    let signed = key().sign(&head());
    let time = 1_795_235_437;
    let note = format!("{signed}{}", witness.line(&head().text(), time));
    assert_eq!(check_cosignature(&note, &vkey), Ok(time));
    assert_eq!(Checkpoint::verify(&note, &key().verifier()), Ok(head()));

    assert_eq!(check_cosignature(&signed, &vkey), Err(NoteError::Unsigned));
    let other: VerifierKey = Witness::new("example.net/other").vkey().parse().unwrap();
    assert_eq!(check_cosignature(&note, &other), Err(NoteError::Unsigned));
    let elsewhere = Checkpoint { size: 4712, ..head() };
    let moved = format!("{signed}{}", witness.line(&elsewhere.text(), time));
    assert_eq!(check_cosignature(&moved, &vkey), Err(NoteError::Signature));
    // Another time under the same signature.
    let line = witness.line(&head().text(), time);
    let mut bytes = STANDARD.decode(line.trim_end().rsplit(' ').next().unwrap()).unwrap();
    bytes[11] ^= 1;
    let backdated = format!("{signed}\u{2014} {} {}\n", witness.name, STANDARD.encode(bytes));
    assert_eq!(check_cosignature(&backdated, &vkey), Err(NoteError::Signature));
    assert_eq!(check_cosignature("no note", &vkey), Err(NoteError::Form));
}
