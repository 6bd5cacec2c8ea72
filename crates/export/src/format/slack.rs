//! Slack's incoming webhooks: `text` for where blocks are not shown, blocks of plain text elsewhere.
//!
//! Plain text knows no markup and no mentions; `&`, `<` and `>`, with which both begin, are escaped everywhere all the same.

use serde_json::{Value, json};

use super::parts;
use crate::notice::Notice;

/// Most fields of a section.
const FIELDS: usize = 10;

/// The body for a notice.
pub(crate) fn slack(notice: &Notice) -> String {
    let title = escaped(&notice.title);
    let mut blocks = vec![section(&title)];
    for facts in notice.facts.chunks(FIELDS) {
        let fields: Vec<Value> =
            facts.iter().map(|(label, value)| plain(&format!("{label}\n{}", escaped(value)))).collect();
        blocks.push(json!({"type": "section", "fields": fields}));
    }
    if let Some(arguments) = &notice.arguments {
        blocks.push(section("Arguments"));
        blocks.extend(parts(arguments).iter().map(|part| section(&escaped(part))));
    }
    let link = format!("<{}|{}>", notice.link, notice.invitation());
    blocks.push(json!({"type": "section", "text": {"type": "mrkdwn", "text": link, "verbatim": true}}));
    let text = format!("{title}\n{}", notice.link);
    json!({"text": text, "mrkdwn": false, "unfurl_links": false, "unfurl_media": false, "blocks": blocks})
        .to_string()
}

fn section(text: &str) -> Value {
    json!({"type": "section", "text": plain(text)})
}

fn plain(text: &str) -> Value {
    json!({"type": "plain_text", "text": text, "emoji": false})
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
