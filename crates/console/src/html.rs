//! The pages as HTML. What people or providers call themselves is escaped.

use identity::operators::{Invited, Operator};

/// Nothing runs, nothing is fetched but the style, nothing frames them.
pub(crate) const POLICY: &str =
    "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The whole style.
pub(crate) const STYLE: &str = include_str!("style.css");

/// Name of the cookie that leads back to a page after a login.
pub(crate) const WAY_BACK: &str = "tollbook-way-back";

/// The form of a login.
pub(crate) const LOGIN: &str = "<form method=\"post\" action=\"/login\">\
    <label>Name <input name=\"name\" autocomplete=\"username\" autocapitalize=\"none\" required></label>\
    <label>Password <input name=\"password\" type=\"password\" autocomplete=\"current-password\" required></label>\
    <button>Log in</button></form>";

/// The way to the provider.
pub(crate) const PROVIDER: &str = "<p><a href=\"/login/provider\">Log in with your provider</a></p>";

/// Who has come back from the provider goes on by themselves.
pub(crate) const ENTERED: &str =
    "<meta http-equiv=\"refresh\" content=\"0;url=/\"><p><a href=\"/\">Go on</a></p>";

/// A whole page.
pub(crate) fn page(title: &str, content: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{title} · Tollbook</title><link rel=\"stylesheet\" href=\"/style.css\"><h1>{title}</h1>{content}</html>"
    )
}

/// The form by which a password is chosen, and what was wrong with the one before.
pub(crate) fn setup(whom: &Invited, wrong: Option<&str>) -> String {
    let wrong = wrong.map(|why| format!("<p role=\"alert\">{}</p>", escaped(why))).unwrap_or_default();
    let name = match whom {
        Invited::First => "<p>You will be the first operator, an admin.</p><label>Name <input name=\"name\" \
                           autocomplete=\"username\" autocapitalize=\"none\" required></label>"
            .to_owned(),
        Invited::Operator(name) => format!("<p>For <b>{}</b>.</p>", escaped(name)),
    };
    let field = |name: &str, label: &str| {
        format!(
            "<label>{label} <input name=\"{name}\" type=\"password\" autocomplete=\"new-password\" minlength=\"12\" \
             required></label>"
        )
    };
    format!(
        "{wrong}<form method=\"post\">{name}{}{}<button>Choose</button></form>",
        field("password", "Password, 12 characters at least"),
        field("again", "Once more")
    )
}

/// What somebody who is logged in sees.
pub(crate) fn home(operator: &Operator) -> String {
    let roles: Vec<&str> = operator.roles.iter().map(|role| role.as_str()).collect();
    format!(
        "<p>You are <b>{}</b>: {}.</p><p><a href=\"/approvals\">Calls that wait for people</a></p><form method=\"post\" action=\"/logout\">\
         <input type=\"hidden\" name=\"csrf\" value=\"{}\"><button>Log out</button></form>",
        escaped(&operator.name),
        roles.join(", "),
        escaped(&operator.csrf)
    )
}

/// A text that is no markup.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(character),
        }
    }
    out
}
