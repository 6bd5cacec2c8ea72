//! What programs ask the console: `/api/v1/…`, JSON both ways, problems as RFC 9457 has them.
//!
//! [`ROUTES`] says of each route who may use it, and [`answer`] is the one place that asks.

use bytes::Bytes;
use http::header::{ALLOW, HeaderValue, RETRY_AFTER};
use http::{Method, Response, StatusCode};
use http_body_util::Full;
use identity::operators::{self, EnrolError, Invitation, Permission, Role};
use serde::Deserialize;
use serde_json::{Value, json};
use store::state::{Action, OperatorRow, State};

use crate::approvals::routes;
use crate::desk::{Asked, Desk, Present};
use crate::form::Form;
use crate::reply;

/// Actions that are listed if nothing else is asked for, and at most.
const ACTIONS: (u32, u32) = (100, 1000);

/// A route, and who may use it.
pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    /// `None`: whoever is logged in.
    pub(crate) needs: Option<Permission>,
    act: Act,
}

#[derive(Clone, Copy)]
enum Act {
    Me,
    List,
    Add,
    SetRoles,
    Link,
    Disable,
    Actions,
    Document,
    Approvals(routes::Act),
}

/// All routes. `{id}` stands for one part of a path.
pub(crate) static ROUTES: [Route; 15] = [
    Route { method: Method::GET, path: "/api/v1/openapi.json", needs: None, act: Act::Document },
    Route { method: Method::GET, path: "/api/v1/me", needs: None, act: Act::Me },
    manage(Method::GET, "/api/v1/operators", Act::List),
    manage(Method::POST, "/api/v1/operators", Act::Add),
    manage(Method::PUT, "/api/v1/operators", Act::SetRoles),
    manage(Method::DELETE, "/api/v1/operators", Act::Disable),
    manage(Method::POST, "/api/v1/operators/links", Act::Link),
    Route {
        method: Method::GET,
        path: "/api/v1/actions",
        needs: Some(Permission::SeeActions),
        act: Act::Actions,
    },
    see_approvals("/api/v1/approvals", routes::Act::List),
    see_approvals("/api/v1/approvals/changes", routes::Act::Changes),
    see_approvals("/api/v1/approvals/{id}", routes::Act::Show),
    decide("/api/v1/approvals/{id}/grant", routes::Act::Grant),
    decide("/api/v1/approvals/{id}/refuse", routes::Act::Refuse),
    decide("/api/v1/approvals/{id}/withdraw", routes::Act::Withdraw),
    decide("/api/v1/approvals/{id}/prolong", routes::Act::Prolong),
];

/// What programs find all this in; the same file as in `docs`.
const DOCUMENT: &str = include_str!("../../../docs/openapi.json");

const fn see_approvals(path: &'static str, act: routes::Act) -> Route {
    Route { method: Method::GET, path, needs: Some(Permission::SeeCalls), act: Act::Approvals(act) }
}

const fn decide(path: &'static str, act: routes::Act) -> Route {
    Route { method: Method::POST, path, needs: Some(Permission::Approve), act: Act::Approvals(act) }
}

const fn manage(method: Method, path: &'static str, act: Act) -> Route {
    Route { method, path, needs: Some(Permission::ManageOperators), act }
}

/// What a request is answered with that is not done.
pub(crate) struct Problem {
    status: StatusCode,
    detail: String,
    /// How what was to be decided on stands.
    standing: Option<&'static str>,
    /// Seconds after which it may be tried again.
    after: Option<u64>,
}

impl Problem {
    pub(crate) fn of(status: StatusCode, detail: String) -> Problem {
        Problem { status, detail, standing: None, after: None }
    }

    pub(crate) fn standing(self, standing: &'static str) -> Problem {
        Problem { standing: Some(standing), ..self }
    }

    pub(crate) fn after(self, seconds: u64) -> Problem {
        Problem { after: Some(seconds), ..self }
    }
}

/// An operator as a request names them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    name: String,
    #[serde(default)]
    roles: Vec<String>,
}

/// Answers a request of somebody; `None`: of nobody. Its origin was looked at.
pub(crate) async fn answer(desk: &Desk, who: Option<Present>, asked: &Asked) -> Response<Full<Bytes>> {
    let of_path = routes_of(&asked.path);
    let is_public = of_path.iter().any(|route| matches!(route.act, Act::Document));
    if is_public && asked.method == Method::GET {
        return reply(StatusCode::OK, "application/json", DOCUMENT.to_owned());
    }
    let Some(who) = who else {
        return problem(Problem::of(StatusCode::UNAUTHORIZED, "log in at `/login` first".to_owned()));
    };
    if of_path.is_empty() {
        return problem(Problem::of(StatusCode::NOT_FOUND, "there is nothing here".to_owned()));
    }
    let Some(route) = of_path.iter().find(|route| route.method == asked.method) else {
        let allowed: Vec<&str> = of_path.iter().map(|route| route.method.as_str()).collect();
        let mut response =
            problem(Problem::of(StatusCode::METHOD_NOT_ALLOWED, "this is not done that way".to_owned()));
        let allowed = HeaderValue::from_str(&allowed.join(", ")).ok();
        response.headers_mut().extend(allowed.map(|allowed| (ALLOW, allowed)));
        return response;
    };
    if let Some(wanted) = route.needs.filter(|wanted| !who.operator.may(*wanted)) {
        let why = format!("no role of theirs permits {}", wanted.as_str());
        desk.tell_forbidden(Some(&who), asked, &why).await;
        let text = format!("your roles do not permit {}; ask an admin", wanted.as_str());
        return problem(Problem::of(StatusCode::FORBIDDEN, text));
    }
    let sent = asked.headers.get("x-csrf-token").and_then(|token| token.to_str().ok());
    if route.method != Method::GET && !who.operator.sent(sent.unwrap_or_default()) {
        desk.tell_forbidden(Some(&who), asked, "the `x-csrf-token` header is missing or wrong").await;
        let text = "send the `csrf` of `/api/v1/me` as `x-csrf-token`".to_owned();
        return problem(Problem::of(StatusCode::FORBIDDEN, text));
    }
    let (act, now) = (route.act, desk.now());
    if matches!(act, Act::Me) {
        return told(StatusCode::OK, &me(&who));
    }
    if let Act::Approvals(act) = act {
        let id = part(route.path, &asked.path).unwrap_or_default();
        return match routes::answer(act, desk, (&who, asked), id).await {
            Ok(answer) => told(StatusCode::OK, &answer),
            Err(refused) => problem(refused),
        };
    }
    let state = desk.operators().state().acting(&who.operator.identity, now);
    let (query, body) = (asked.query.clone(), asked.body.clone());
    let done = tokio::task::spawn_blocking(move || act.done(&state, (&query, &body), now)).await;
    match done {
        Ok(Ok((status, answer))) => told(status, &answer),
        Ok(Err(refused)) => problem(refused),
        Err(_) => problem(Problem::of(StatusCode::INTERNAL_SERVER_ERROR, "it could not be done".to_owned())),
    }
}

/// The routes of a path: those that name it as it is, else those that stand for it.
fn routes_of(path: &str) -> Vec<&'static Route> {
    let named: Vec<&Route> =
        ROUTES.iter().filter(|route| route.path == path && !path.contains('{')).collect();
    if !named.is_empty() {
        return named;
    }
    ROUTES.iter().filter(|route| part(route.path, path).is_some()).collect()
}

/// What stands in a path where the route's has `{id}`.
fn part<'a>(route: &str, path: &'a str) -> Option<&'a str> {
    let (before, after) = route.split_once("{id}")?;
    let part = path.strip_prefix(before)?.strip_suffix(after)?;
    (!part.is_empty() && !part.contains('/')).then_some(part)
}

impl Act {
    /// Blocks on the disk.
    fn done(
        self,
        state: &State,
        (query, body): (&str, &[u8]),
        now: u64,
    ) -> Result<(StatusCode, Value), Problem> {
        match self {
            // Answered before, in other ways.
            Act::Me | Act::Document | Act::Approvals(_) => Ok((StatusCode::OK, Value::Null)),
            Act::List => {
                let rows = state.operators().map_err(EnrolError::from)?;
                Ok((StatusCode::OK, json!({ "operators": rows.iter().map(operator).collect::<Vec<_>>() })))
            }
            Act::Add => {
                let named = Named::read(body)?;
                let invitation = operators::add(state, &named.name, &named.roles()?, now)?;
                Ok((StatusCode::CREATED, invited(&invitation)))
            }
            Act::SetRoles => {
                let named = Named::read(body)?;
                operators::set_roles(state, &named.name, &named.roles()?)?;
                Ok((StatusCode::OK, json!({ "name": named.name, "roles": named.roles })))
            }
            Act::Link => {
                let invitation = operators::link(state, &Named::read(body)?.name, now)?;
                Ok((StatusCode::CREATED, invited(&invitation)))
            }
            Act::Disable => {
                let wrong = || Problem::of(StatusCode::BAD_REQUEST, "say whom: `?name=NAME`".to_owned());
                let form = Form::parse(query.as_bytes()).ok_or_else(wrong)?;
                operators::disable(state, form.field("name").ok_or_else(wrong)?, now)?;
                Ok((StatusCode::OK, json!({ "disabled": form.field("name") })))
            }
            Act::Actions => {
                let form = Form::parse(query.as_bytes());
                let limit =
                    form.as_ref().and_then(|form| form.field("limit")?.parse().ok()).unwrap_or(ACTIONS.0);
                let actions = state.actions(limit.min(ACTIONS.1)).map_err(EnrolError::from)?;
                Ok((StatusCode::OK, json!({ "actions": actions.iter().map(action).collect::<Vec<_>>() })))
            }
        }
    }
}

impl Named {
    fn read(body: &[u8]) -> Result<Named, Problem> {
        let wrong = |_| {
            Problem::of(StatusCode::BAD_REQUEST, "send JSON like {\"name\": …, \"roles\": […]}".to_owned())
        };
        serde_json::from_slice(body).map_err(wrong)
    }

    fn roles(&self) -> Result<Vec<Role>, EnrolError> {
        self.roles.iter().map(|role| role.parse()).collect()
    }
}

impl From<EnrolError> for Problem {
    fn from(error: EnrolError) -> Problem {
        let status = match &error {
            EnrolError::Taken(_) => StatusCode::CONFLICT,
            EnrolError::Unknown(_) | EnrolError::Link => StatusCode::NOT_FOUND,
            EnrolError::Name | EnrolError::NoRole(_) | EnrolError::NoRoles | EnrolError::Password(_) => {
                StatusCode::BAD_REQUEST
            }
            EnrolError::Busy => StatusCode::SERVICE_UNAVAILABLE,
            EnrolError::State(_) | EnrolError::Random(_) => {
                tracing::error!(%error, "the state of operators cannot be used");
                let text = "the state cannot be used; see the log".to_owned();
                return Problem::of(StatusCode::SERVICE_UNAVAILABLE, text);
            }
        };
        Problem::of(status, error.to_string())
    }
}

fn me(who: &Present) -> Value {
    let operator = &who.operator;
    let roles: Vec<&str> = operator.roles.iter().map(|role| role.as_str()).collect();
    json!({ "identity": operator.identity, "name": operator.name, "roles": roles, "csrf": operator.csrf })
}

fn operator(row: &OperatorRow) -> Value {
    let OperatorRow { identity, name, roles, groups, password, created, disabled } = row;
    json!({
        "identity": identity, "name": name, "roles": roles, "groups": groups, "created": created, "disabled": disabled,
        "password": password.is_some(),
    })
}

fn invited(invitation: &Invitation) -> Value {
    let link = format!("/setup/{}", invitation.secret.reveal());
    json!({ "identity": invitation.identity, "link": link, "expires": invitation.expires })
}

fn action(action: &Action) -> Value {
    let Action { id, at, who, what, subject, reason, outcome, seq, .. } = action;
    json!({
        "id": id, "at": at, "who": who, "what": what, "subject": subject, "reason": reason,
        "outcome": outcome.as_str(), "seq": seq.map(|seq| seq.0),
    })
}

fn told(status: StatusCode, value: &Value) -> Response<Full<Bytes>> {
    reply(status, "application/json", value.to_string())
}

fn problem(problem: Problem) -> Response<Full<Bytes>> {
    let Problem { status, detail, standing, after } = problem;
    let title = status.canonical_reason().unwrap_or_default();
    let mut value = json!({ "title": title, "status": status.as_u16(), "detail": detail });
    if let (Some(standing), Some(members)) = (standing, value.as_object_mut()) {
        members.insert("standing".to_owned(), standing.into());
    }
    let mut response = reply(status, "application/problem+json", value.to_string());
    let after = after.and_then(|seconds| HeaderValue::from_str(&seconds.to_string()).ok());
    response.headers_mut().extend(after.map(|after| (RETRY_AFTER, after)));
    response
}

#[cfg(test)]
mod tests {
    use super::{Act, DOCUMENT, ROUTES, routes_of};

    /// Who adds a route adds its case to `tests/it/attacks.rs`, too.
    #[test]
    fn who_may_use_which_route() {
        let lines: Vec<String> = ROUTES.iter().map(line).collect();
        expect_test::expect![[r#"
            GET /api/v1/openapi.json: nothing
            GET /api/v1/me: a session
            GET /api/v1/operators: to manage operators
            POST /api/v1/operators: to manage operators
            PUT /api/v1/operators: to manage operators
            DELETE /api/v1/operators: to manage operators
            POST /api/v1/operators/links: to manage operators
            GET /api/v1/actions: to see what operators did
            GET /api/v1/approvals: to see calls
            GET /api/v1/approvals/changes: to see calls
            GET /api/v1/approvals/{id}: to see calls
            POST /api/v1/approvals/{id}/grant: to decide on calls that wait
            POST /api/v1/approvals/{id}/refuse: to decide on calls that wait
            POST /api/v1/approvals/{id}/withdraw: to decide on calls that wait
            POST /api/v1/approvals/{id}/prolong: to decide on calls that wait"#]]
        .assert_eq(&lines.join("\n"));
    }

    fn line(route: &super::Route) -> String {
        let needs = match route.act {
            Act::Document => "nothing",
            _ => route.needs.map_or("a session", |needs| needs.as_str()),
        };
        format!("{} {}: {needs}", route.method, route.path)
    }

    /// Every route is in the document, and every operation of the document is a route, with who may use it.
    #[test]
    fn the_document_has_the_routes() {
        let document: serde_json::Value = serde_json::from_str(DOCUMENT).unwrap();
        let mut told = Vec::new();
        for (path, operations) in document["paths"].as_object().unwrap() {
            for (method, operation) in operations.as_object().unwrap() {
                if method == "parameters" {
                    continue;
                }
                let is_public = operation["security"].as_array().is_some_and(Vec::is_empty);
                let needs = operation["x-permission"].as_str();
                let needs = needs.unwrap_or(if is_public { "nothing" } else { "a session" });
                told.push(format!("{} {path}: {needs}", method.to_uppercase()));
            }
        }
        let mut routes: Vec<String> = ROUTES.iter().map(line).collect();
        told.sort_unstable();
        routes.sort_unstable();
        assert_eq!(told, routes);
    }

    #[test]
    fn a_path_stands_for_one_route() {
        for (path, expected) in [
            ("/api/v1/approvals/changes", "/api/v1/approvals/changes"),
            ("/api/v1/approvals/hold_1", "/api/v1/approvals/{id}"),
            ("/api/v1/approvals/hold_1/grant", "/api/v1/approvals/{id}/grant"),
            ("/api/v1/approvals/changes/grant", "/api/v1/approvals/{id}/grant"),
            ("/api/v1/approvals/{id}", "/api/v1/approvals/{id}"),
            ("/api/v1/approvals/", ""),
            ("/api/v1/approvals/a/b", ""),
            ("/api/v1/approvals/a/grant/", ""),
        ] {
            let found: Vec<&str> = routes_of(path).iter().map(|route| route.path).collect();
            let expected: Vec<&str> = Some(expected).filter(|path| !path.is_empty()).into_iter().collect();
            assert_eq!(found, expected, "{path}");
        }
    }
}
