//! Teams' incoming webhooks of Workflows: a message with one adaptive card.
//!
//! What others wrote stands in text runs, which know no Markdown. `{{`, with which a card's functions begin, is parted.

use serde_json::{Value, json};

use super::parts;
use crate::notice::Notice;

/// The body for a notice.
pub(crate) fn teams(notice: &Notice) -> String {
    let mut body = vec![block(&[("Bolder", &notice.title)])];
    body.extend(
        notice
            .facts
            .iter()
            .map(|(label, value)| block(&[("Bolder", &format!("{label}: ")), ("Default", value)])),
    );
    if let Some(arguments) = &notice.arguments {
        body.push(block(&[("Bolder", "Arguments")]));
        body.extend(parts(arguments).iter().map(|part| block(&[("Default", part)])));
    }
    let card = json!({
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json", "type": "AdaptiveCard", "version": "1.4",
        "msteams": {"width": "Full"}, "fallbackText": "Open the link of this message", "body": body,
        "actions": [{"type": "Action.OpenUrl", "title": notice.invitation(), "url": notice.link}],
    });
    let attachment = json!({"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": null, "content": card});
    json!({"type": "message", "attachments": [attachment]}).to_string()
}

fn block(runs: &[(&str, &str)]) -> Value {
    let runs: Vec<Value> = runs
        .iter()
        .map(|(weight, text)| json!({"type": "TextRun", "weight": weight, "text": text.replace("{{", "{ {")}))
        .collect();
    json!({"type": "RichTextBlock", "inlines": runs})
}
