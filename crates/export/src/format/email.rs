//! Mail: plain text, with an id that is the same for each attempt.

use std::time::{Duration, SystemTime};

use lettre::Message;
use lettre::address::Envelope;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};

use crate::notice::Notice;
use crate::settings::{Address, DestinationSettings, Mail};

/// Most characters of a subject.
const SUBJECT: usize = 150;

/// The message for a notice; `None` if no such message can be.
pub(crate) fn mail(notice: &Notice, destination: &str, mail: &Mail) -> Option<Message> {
    let Address(from) = &mail.from;
    let domain = from.email.domain();
    // All copies are the same mail: who gets two of them sees one.
    let section = DestinationSettings::section(destination);
    let id = |of: &str| format!("<{of}.{section}@{domain}>");
    let date = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(notice.at))?;
    let subject: String = format!("[Tollbook] {}", notice.title).chars().take(SUBJECT).collect();
    let automatic = HeaderName::new_from_ascii_str("Auto-Submitted");
    let mut builder = Message::builder()
        .from(from.clone())
        .date(date)
        .message_id(Some(id(&notice.id)))
        .references(id(&notice.thread))
        .subject(subject)
        .header(ContentType::TEXT_PLAIN)
        .raw_header(HeaderValue::new(automatic, "auto-generated".to_owned()));
    for Address(to) in &mail.to {
        builder = builder.to(to.clone());
    }
    if let Some(Address(only)) = &mail.only {
        let envelope = Envelope::new(Some(from.email.clone()), vec![only.email.clone()]).ok()?;
        builder = builder.envelope(envelope);
    }
    builder.body(text(notice)).ok()
}

fn text(notice: &Notice) -> String {
    let mut text = format!("{}\n\n", notice.title);
    for (label, value) in &notice.facts {
        text.push_str(&format!("{label}: {value}\n"));
    }
    if let Some(arguments) = &notice.arguments {
        text.push_str(&format!("\nArguments:\n{arguments}\n"));
    }
    text.push_str(&format!(
        "\n{}:\n{}\n\nNothing is decided by answering this mail.\n",
        notice.invitation(),
        notice.link
    ));
    text
}
