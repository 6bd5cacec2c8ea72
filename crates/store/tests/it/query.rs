use expect_test::{Expect, expect};
use jiff::Timestamp;
use jiff::civil::date;
use proptest::collection::vec;
use proptest::prelude::*;
use store::{
    ArgumentTest, Comparison, Contained, Exact, Expr, Figure, HexPrefix, Metric, Pattern, Piece, Query, Step,
    Term,
};

fn now() -> Timestamp {
    "2026-11-21T08:00:00Z".parse().unwrap()
}

/// Each line's normal form, or the error under the place it names.
#[expect(clippy::needless_pass_by_value, reason = "expect! is written in the call")]
fn check(lines: &str, expected: Expect) {
    let mut out = String::new();
    for line in lines.lines().map(str::trim).filter(|l| !l.is_empty()) {
        match Query::parse(line, now()) {
            Ok(query) => {
                out += &format!("{line}  →  {query}\n");
                assert_eq!(Query::parse(&query.to_string(), now()), Ok(query));
            }
            Err(error) => out += &format!("{line}\n{:1$}^ {error}\n", "", error.at),
        }
    }
    expected.assert_eq(&out);
}

#[test]
fn fields_and_free_text() {
    check(
        r#"
        tool:read_*
        server:"my server" -status:ok
        TOOL=read_file and verdict:deny
        refund or "exact phrase" (a b)
        not (server:a or server:b) status!=ok
        args.user.name:"Bob" args.items.0.price>=9.5 args."a b".c:*
        run:run_8f3 call:call_0190AB*
        day:today day>2026-11-19
        "or" "-x" "a*b" a*b "say \"hi\" \\o/"
        error:"no such file" reason:quota text:foo
        C:\dir
        ((a))
        a.b.c:d
        "#,
        expect![[r#"
            tool:read_*  →  tool:read_*
            server:"my server" -status:ok  →  server:"my server" -status:ok
            TOOL=read_file and verdict:deny  →  tool:read_file verdict:deny
            refund or "exact phrase" (a b)  →  refund or "exact phrase" a b
            not (server:a or server:b) status!=ok  →  -(server:a or server:b) -status:ok
            args.user.name:"Bob" args.items.0.price>=9.5 args."a b".c:*  →  args.user.name:Bob args.items.0.price>=9.5 args."a b".c:*
            run:run_8f3 call:call_0190AB*  →  run:run_8f3 call:call_0190ab
            day:today day>2026-11-19  →  day:2026-11-21 time>2026-11-19T23:59:59.999999Z
            "or" "-x" "a*b" a*b "say \"hi\" \\o/"  →  "or" "-x" "a*b" a*b "say \"hi\" \\o/"
            error:"no such file" reason:quota text:foo  →  error:"no such file" reason:quota foo
            C:\dir
            ^ unknown field `C`; to search for the text itself, put it in quotes (at character 1)
            ((a))  →  a
            a.b.c:d  →  "a.b.c:d"
        "#]],
    );
}

#[test]
fn numbers_and_times() {
    check(
        "
        bytes>10000 bytes>=64KiB bytes<1.5MB
        duration>=500ms duration<2s duration>1.5h duration:250us
        time>=2026-11-20T10:00Z time<2026-11-20T10:00:30.25
        time>=2026-11-20T10:00+02:00
        time:2026-11-20 day<=yesterday
        since:1h last:2d until:2026-11-20
        round>0 round:1
        ",
        expect![[r#"
            bytes>10000 bytes>=64KiB bytes<1.5MB  →  bytes>10000 bytes>=65536 bytes<1500000
            duration>=500ms duration<2s duration>1.5h duration:250us  →  duration>=500ms duration<2s duration>90m duration:250us
            time>=2026-11-20T10:00Z time<2026-11-20T10:00:30.25  →  time>=2026-11-20T10:00:00Z time<2026-11-20T10:00:30.25Z
            time>=2026-11-20T10:00+02:00  →  time>=2026-11-20T08:00:00Z
            time:2026-11-20 day<=yesterday  →  day:2026-11-20 time<=2026-11-20T23:59:59.999999Z
            since:1h last:2d until:2026-11-20  →  time>=2026-11-21T07:00:00Z time>=2026-11-19T08:00:00Z time<2026-11-20T00:00:00Z
            round>0 round:1  →  round>0 round:1
        "#]],
    );
}

#[test]
fn mistakes_say_where_and_what_instead() {
    check(
        r#"
        tol:x
        server:a sevrer:b
        https://example.com
        verdict:denied
        status:okay
        status:zzz
        tool:
        tool: x
        tool>x
        (a or b
        a)
        "never closed
        a or
        or a
        not
        duration>500
        bytes>lots
        round>-1
        time:2026-11-20T10:00
        time>=soon
        since:*
        last:2026-11-20
        until:1380477470h
        day:monday
        run:zz
        args.n>many
        error~boom
        "#,
        expect![[r#"
            tol:x
            ^ unknown field `tol`, did you mean `tool`? (at character 1)
            server:a sevrer:b
                     ^ unknown field `sevrer`, did you mean `server`? (at character 10)
            https://example.com
            ^ unknown field `https`; to search for the text itself, put it in quotes (at character 1)
            verdict:denied
                    ^ `verdict` is never `denied`, did you mean `deny`? (at character 9)
            status:okay
                   ^ `status` is never `okay`, did you mean `ok`? (at character 8)
            status:zzz
                   ^ `status` is never `zzz`; it is one of ok, tool_error, error, input_required, accepted, cancelled, disconnected, timeout, upstream_failed, withheld, unknown, open, refused (at character 8)
            tool:
                 ^ expected a value after `tool`, without a space before it (at character 6)
            tool: x
                 ^ expected a value after `tool`, without a space before it (at character 6)
            tool>x
                 ^ only `duration`, `bytes`, `time`, `day`, `round` and `args.…` have an order (at character 6)
            (a or b
            ^ this `(` is never closed (at character 1)
            a)
             ^ this `)` closes nothing; put it in quotes to search for it (at character 2)
            "never closed
            ^ this quote is never closed (at character 1)
            a or
                ^ expected a condition here; quote `or`, `(` or `)` to search for them (at character 5)
            or a
            ^ expected a condition here; quote `or`, `(` or `)` to search for them (at character 1)
            not
               ^ expected a condition here; quote `and`, `or` or `)` to search for them (at character 4)
            duration>500
                     ^ expected a duration with its unit like `500ms` or `2s` (at character 10)
            bytes>lots
                  ^ expected a size like `10000`, `64KiB` or `2MB` (at character 7)
            round>-1
                  ^ expected a round's number, from 0 (at character 7)
            time:2026-11-20T10:00
                 ^ a time needs `>=` or `<`, or write a whole day: `day:2026-11-20` (at character 6)
            time>=soon
                  ^ expected a time like `2026-11-20T10:00Z` or `2026-11-20` (at character 7)
            since:*
                  ^ expected a duration back from now like `1h` or `2d`, or a time like `2026-11-20T10:00Z` (at character 7)
            last:2026-11-20
                 ^ expected a duration back from now like `1h` or `2d`, or a time like `2026-11-20T10:00Z` (at character 6)
            until:1380477470h
                  ^ expected a duration back from now like `1h` or `2d`, or a time like `2026-11-20T10:00Z` (at character 7)
            day:monday
                ^ expected a day like `2026-11-20`, `today` or `yesterday` (at character 5)
            run:zz
                ^ expected an id like `run_0a1b2c3d` or the beginning of one (at character 5)
            args.n>many
                   ^ expected a number to compare with (at character 8)
            error~boom
                 ^ `~` is no operator; write `error:…`, with `*` for any text (at character 6)
        "#]],
    );
}

#[test]
fn too_much_is_refused() {
    for text in ["(".repeat(100), "-".repeat(100), "a ".repeat(300), "x".repeat(9_000), "not ".repeat(1_000)]
    {
        assert!(Query::parse(&text, now()).is_err());
    }
    assert_eq!(Query::parse(" \t ", now()), Ok(Query::default()));
}

#[test]
fn time_bounds_are_never_narrower_than_what_matches() {
    let bounds = |text: &str| Query::parse(text, now()).unwrap().time_bounds();
    let day = 1_795_132_800_000_000..=1_795_219_199_999_999;
    assert_eq!(bounds("day:2026-11-20"), day);
    assert_eq!(bounds("x day:2026-11-20 since:10d"), day);
    assert_eq!(bounds("day:2026-11-20 or x"), i64::MIN..=i64::MAX);
    assert_eq!(bounds("-day:2026-11-20"), i64::MIN..=i64::MAX);
    assert_eq!(bounds("(since:1h or day:2026-11-20)"), *day.start()..=i64::MAX);
    assert_eq!(bounds(""), i64::MIN..=i64::MAX);
}

fn pattern() -> impl Strategy<Value = Pattern> {
    let piece = prop_oneof![
        any::<String>().prop_map(Piece::Literal),
        "[a-z_]{1,5}".prop_map(Piece::Literal),
        Just(Piece::Any)
    ];
    vec(piece, 0..4).prop_map(Pattern::new)
}

fn comparison() -> impl Strategy<Value = Comparison> {
    prop::sample::select(vec![Comparison::Less, Comparison::AtMost, Comparison::More, Comparison::AtLeast])
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        any::<String>().prop_map(Step::Key),
        "[a-z0-9_-]{0,6}".prop_map(Step::Key),
        any::<u32>().prop_map(Step::Index)
    ]
}

fn term() -> impl Strategy<Value = Term> {
    let open = vec![
        Exact::Server,
        Exact::Tool,
        Exact::Name,
        Exact::Method,
        Exact::Principal,
        Exact::Agent,
        Exact::Version,
        Exact::Trace,
    ];
    let contained = vec![Contained::Args, Contained::Error, Contained::Reason];
    let figure = prop_oneof![
        any::<i64>().prop_map(Figure::Whole),
        any::<f64>().prop_filter("finite", |n| n.is_finite()).prop_map(Figure::Real)
    ];
    let test = prop_oneof![
        pattern().prop_map(ArgumentTest::Is),
        (comparison(), figure).prop_map(|(c, n)| ArgumentTest::Compares(c, n))
    ];
    let hex = || "[0-9a-f]{1,32}".prop_map(|s| HexPrefix::new(&s).unwrap());
    prop_oneof![
        4 => pattern().prop_map(Term::Text),
        4 => (prop::sample::select(open), pattern()).prop_map(|(f, p)| Term::Exact(f, p)),
        1 => prop::sample::select(vec!["allow", "deny", "hold"])
            .prop_map(|v| Term::Exact(Exact::Verdict, Pattern::new(vec![Piece::Literal(v.to_owned())]))),
        2 => (prop::sample::select(contained), pattern()).prop_map(|(f, p)| Term::Contained(f, p)),
        1 => hex().prop_map(Term::Run),
        1 => hex().prop_map(Term::Call),
        1 => (comparison(), 0..200_000_000_000i64).prop_map(|(c, n)| Term::Number(Metric::Duration, c, n)),
        1 => (comparison(), 0..900_000_000_000i64).prop_map(|(c, n)| Term::Number(Metric::Bytes, c, n)),
        1 => (comparison(), 0..4_000_000_000_000_000i64).prop_map(|(c, n)| Term::Number(Metric::Time, c, n)),
        1 => (0..20_000i32).prop_map(|d| Term::Day(date(1990, 1, 1).checked_add(jiff::Span::new().days(d)).unwrap())),
        3 => (vec(step(), 1..5), test).prop_map(|(p, t)| Term::Argument(p, t)),
    ]
}

pub fn expr() -> impl Strategy<Value = Expr> {
    term().prop_map(Expr::Term).prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 1..4).prop_map(|parts| Expr::all(parts).unwrap()),
            vec(inner.clone(), 1..4).prop_map(|parts| Expr::any(parts).unwrap()),
            inner.prop_map(|part| Expr::Not(Box::new(part))),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn what_is_displayed_parses_to_the_same(expr in expr()) {
        let query = Query::from(expr);
        let text = query.to_string();
        prop_assert_eq!(Query::parse(&text, now()), Ok(query), "{}", text);
    }

    #[test]
    fn no_text_panics(text in any::<String>(), wild in "[a-z:<>=()\"*. \\\\-]{0,40}") {
        for text in [text, wild] {
            if let Ok(query) = Query::parse(&text, now()) {
                prop_assert_eq!(Query::parse(&query.to_string(), now()), Ok(query), "{}", text);
            }
        }
    }
}
