//! What each kind of destination is sent, byte for byte, when everybody who could write something into it wrote what is nasty.

use export::{Address, Arguments, DestinationSettings, Mail, MailTls, Sink, Url};
use ledger::Seq;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

use crate::made::{Does, Receiver, ask, courier, destination, pass, state, tell, webhook};

const FINE: Does = Does::Answers("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");

/// The body of the request that tells of a hold.
async fn told(settings: impl FnOnce(&str) -> DestinationSettings) -> (String, Value) {
    let folder = tempfile::tempdir().unwrap();
    let state = state(folder.path());
    let receiver = Receiver::start(FINE).await;
    let settings = settings(&receiver.url);
    tell(&state, &[&settings]);
    let mut courier = courier(&state, settings.clone());
    ask(&state, "hold_1");
    if settings.arguments == Arguments::Shown {
        assert_eq!(courier.round().await.unwrap(), 1);
        assert_eq!(receiver.seen().len(), 0, "the record of the call is waited for");
        state.hold_recorded("hold_1", Seq(7)).unwrap();
        pass(1);
    }
    assert_eq!(courier.round().await.unwrap(), 1);
    let request = receiver.seen().remove(0);
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let value: Value = serde_json::from_str(body).unwrap();
    for c in body.chars() {
        assert!(!policy::unseen::hides(c), "{c:?} in {body}");
    }
    (head.to_owned(), value)
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap() + "\n"
}

#[tokio::test]
async fn a_webhook() {
    let (head, body) = told(|url| webhook("hook", url)).await;
    for header in [
        "webhook-id: msg_",
        "webhook-timestamp: 1000",
        "webhook-signature: v1,",
        "content-type: application/json",
    ] {
        assert!(head.contains(header), "{header}: {head}");
    }
    expect_test::expect_file!["golden/webhook.json"].assert_eq(&pretty(&body));
}

#[tokio::test]
async fn a_slack_channel() {
    let (_, body) = told(|url| destination("ops", Sink::Slack { url: Url::parse(url).unwrap() })).await;
    let text = body.to_string();
    assert!(!text.contains("<!channel>") && !text.contains("<@U1>"), "nobody is mentioned: {text}");
    expect_test::expect_file!["golden/slack.json"].assert_eq(&pretty(&body));
}

#[tokio::test]
async fn a_teams_channel() {
    let (_, body) = told(|url| destination("ops", Sink::Teams { url: Url::parse(url).unwrap() })).await;
    assert!(!body.to_string().contains("{{DATE"), "no function is run");
    expect_test::expect_file!["golden/teams.json"].assert_eq(&pretty(&body));
}

#[tokio::test]
async fn arguments_are_told_where_an_operator_wants_it_bounded_and_visible() {
    let shown =
        |settings: DestinationSettings| DestinationSettings { arguments: Arguments::Shown, ..settings };
    let (_, body) = told(|url| shown(webhook("hook", url))).await;
    let arguments = body["data"]["arguments"].as_str().unwrap();
    assert!(arguments.starts_with("{\"note\":\"‹U+202E›üüü"), "{arguments}");
    assert!(arguments.ends_with("… (cut; all of them are behind the link)"), "{arguments}");
    assert!(arguments.len() < 2_200, "{}", arguments.len());
    for sink in [|url| Sink::Slack { url }, |url| Sink::Teams { url }] {
        let (_, body) = told(|url| shown(destination("ops", sink(Url::parse(url).unwrap())))).await;
        assert!(body.to_string().contains("‹U+202E›üüü"));
        longest(&body);
    }
}

/// Slack takes no longer text; Teams no larger message than 28 kB.
fn longest(value: &Value) {
    match value {
        Value::String(text) => assert!(text.chars().count() <= 2_000, "{text}"),
        Value::Array(all) => all.iter().for_each(longest),
        Value::Object(all) => all.values().for_each(longest),
        _ => {}
    }
    assert!(value.to_string().len() < 20_000);
}

/// A mail server of a few words, that gives what it was sent.
async fn mail_server(listener: TcpListener, refuse: Option<&'static str>) -> String {
    let (stream, _) = listener.accept().await.unwrap();
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    write.write_all(b"220 mail.example\r\n").await.unwrap();
    let (mut sent, mut is_data) = (String::new(), false);
    while let Ok(Some(line)) = lines.next_line().await {
        sent.push_str(&line);
        sent.push('\n');
        let answer = match line.as_str() {
            "." if is_data => {
                is_data = false;
                "250 taken"
            }
            _ if is_data => continue,
            "DATA" => {
                is_data = true;
                "354 go on"
            }
            "QUIT" => "221 bye",
            _ if line.starts_with("EHLO") => "250 mail.example",
            _ => refuse.unwrap_or("250 fine"),
        };
        write.write_all(format!("{answer}\r\n").as_bytes()).await.unwrap();
    }
    sent
}

async fn mailed(refuse: Option<&'static str>) -> (String, store::state::DestinationRow) {
    let folder = tempfile::tempdir().unwrap();
    let state = state(folder.path());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = tokio::spawn(mail_server(listener, refuse));
    let address = |text| Address::parse(text).unwrap();
    let mail = Mail {
        host: "127.0.0.1".to_owned(),
        port,
        tls: MailTls::Plain,
        login: None,
        from: address("Tollbook <tollbook@example.com>"),
        to: vec![address("ann@example.com"), address("Bob <bob@example.com>")],
        only: None,
    };
    let settings = destination("post", Sink::Email(Box::new(mail)));
    tell(&state, &[&settings]);
    let mut courier = courier(&state, settings);
    ask(&state, "hold_1");
    assert_eq!(courier.round().await.unwrap(), 1);
    let row = state.destinations().unwrap().remove(0);
    drop(courier);
    (serving.await.unwrap(), row)
}

#[tokio::test]
async fn a_mailbox() {
    let (sent, row) = mailed(None).await;
    assert_eq!(row.delivered, 1);
    // The event's id is random.
    let id = sent.split("Message-ID: <").nth(1).unwrap().split('.').next().unwrap().to_owned();
    assert_eq!(id.len(), 32);
    let sent = sent.replace(&id, "EVENT");
    assert!(!sent.lines().any(|line| line.starts_with("Bcc")), "{sent}");
    expect_test::expect_file!["golden/mail.txt"].assert_eq(&sent);
}

#[tokio::test]
async fn a_mail_server_that_refuses() {
    let (_, row) = mailed(Some("550 no such canary")).await;
    assert_eq!((row.dead, row.error.as_deref()), (1, Some("the mail server says 550")));
    let (_, row) = mailed(Some("451 later, canary")).await;
    assert_eq!((row.failing, row.error.as_deref()), (1, Some("the mail server says 451")));
}

#[tokio::test]
async fn mail_that_would_go_out_in_the_clear_is_not_sent() {
    let folder = tempfile::tempdir().unwrap();
    let state = state(folder.path());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = tokio::spawn(mail_server(listener, None));
    let address = Address::parse("ann@example.com").unwrap();
    let mail = |host: &str, tls| Mail {
        host: host.to_owned(),
        port,
        tls,
        login: None,
        from: address.clone(),
        to: vec![address.clone()],
        only: None,
    };
    let try_it =
        async |mail: Mail| courier(&state, destination("post", Sink::Email(Box::new(mail)))).test().await;
    let (arrived, said) = try_it(mail("127.0.0.1", MailTls::Starttls)).await;
    assert!(!arrived && said.contains("does not offer what is needed"), "{said}");
    assert!(!serving.await.unwrap().contains("MAIL FROM"), "it has no STARTTLS");
    let (arrived, said) = try_it(mail("mail.example", MailTls::Plain)).await;
    assert_eq!((arrived, said.as_str()), (false, "mail beyond this machine needs TLS"));
}
