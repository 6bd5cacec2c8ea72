//! `edit`: a member that is put in is there afterwards, one that is taken out is not, and no other byte has changed.

use expect_test::expect;
use mcp::edit::{EditError, set_meta};
use mcp::message::{Frame, parse};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const KEY: &str = "io.example/receipt";

fn edited(text: &str, key: &str, value: &str) -> Result<String, EditError> {
    let Ok(Frame::Single(message)) = parse(text.as_bytes()) else { panic!("no message: {text}") };
    set_meta(&message, key, value)
}

#[test]
fn a_member_is_put_where_it_belongs() {
    let messages = [
        r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{ }}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":1.50}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"_meta":{}}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"_meta" : { "a" : [ ] } , "b":2}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"_meta":{"a":1,"io.example/receipt":{"old":[1,2]},"b":2}}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"_meta":{"io.example\/receipt": "old" }}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"\u005fmeta":{"a":1}}}"#,
        r#"{"params":{"a":{"_meta":{}}},"id":1,"method":"x","jsonrpc":"2.0"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"_meta":null}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"_meta":[]}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"x"}"#,
        r#"{"jsonrpc":"2.0","method":"x","params":{"a":"ü"}}"#,
        r#"{"jsonrpc":"2.0","method":"x"}"#,
        "{\r\n \"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\r\n }}",
        r#"{"jsonrpc":"2.0","id":1,"result":{"content":[],"_meta":{"io.example/receipt":1}}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":[]}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":null}"#,
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"m"}}"#,
    ];
    let table: String = messages
        .iter()
        .map(|text| {
            let outcome = edited(text, KEY, "7").unwrap_or_else(|error| error.to_string());
            format!("{text}\n  → {outcome}\n").replace('\r', "␍")
        })
        .collect();
    expect![[r#"
        {"jsonrpc":"2.0","id":1,"method":"x","params":{}}
          → {"jsonrpc":"2.0","id":1,"method":"x","params":{"_meta":{"io.example/receipt":7}}}
        {"jsonrpc":"2.0","id":1,"method":"x","params":{ }}
          → {"jsonrpc":"2.0","id":1,"method":"x","params":{"_meta":{"io.example/receipt":7} }}
        {"jsonrpc":"2.0","id":1,"method":"x","params":{"a":1.50}}
          → {"jsonrpc":"2.0","id":1,"method":"x","params":{"_meta":{"io.example/receipt":7},"a":1.50}}
        {"jsonrpc":"2.0","id":1,"method":"x","params":{"_meta":{}}}
          → {"jsonrpc":"2.0","id":1,"method":"x","params":{"_meta":{"io.example/receipt":7}}}
        {"jsonrpc":"2.0","id":1,"method":"x","params":{"_meta" : { "a" : [ ] } , "b":2}}
          → {"jsonrpc":"2.0","id":1,"method":"x","params":{"_meta" : {"io.example/receipt":7, "a" : [ ] } , "b":2}}
        {"jsonrpc":"2.0","id":1,"method":"x","params":{"_meta":{"a":1,"io.example/receipt":{"old":[1,2]},"b":2}}}
          → {"jsonrpc":"2.0","id":1,"method":"x","params":{"_meta":{"a":1,"io.example/receipt":7,"b":2}}}
        {"jsonrpc":"2.0","id":1,"method":"x","params":{"_meta":{"io.example\/receipt": "old" }}}
          → {"jsonrpc":"2.0","id":1,"method":"x","params":{"_meta":{"io.example\/receipt": 7 }}}
        {"jsonrpc":"2.0","id":1,"method":"x","params":{"\u005fmeta":{"a":1}}}
          → {"jsonrpc":"2.0","id":1,"method":"x","params":{"\u005fmeta":{"io.example/receipt":7,"a":1}}}
        {"params":{"a":{"_meta":{}}},"id":1,"method":"x","jsonrpc":"2.0"}
          → {"params":{"_meta":{"io.example/receipt":7},"a":{"_meta":{}}},"id":1,"method":"x","jsonrpc":"2.0"}
        {"jsonrpc":"2.0","id":1,"method":"x","params":{"_meta":null}}
          → the message has no place for `_meta`
        {"jsonrpc":"2.0","id":1,"method":"x","params":{"_meta":[]}}
          → the message has no place for `_meta`
        {"jsonrpc":"2.0","id":1,"method":"x"}
          → the message has no place for `_meta`
        {"jsonrpc":"2.0","method":"x","params":{"a":"ü"}}
          → {"jsonrpc":"2.0","method":"x","params":{"_meta":{"io.example/receipt":7},"a":"ü"}}
        {"jsonrpc":"2.0","method":"x"}
          → the message has no place for `_meta`
        {␍
         "jsonrpc":"2.0","id":1,"result":{␍
         }}
          → {␍
         "jsonrpc":"2.0","id":1,"result":{"_meta":{"io.example/receipt":7}␍
         }}
        {"jsonrpc":"2.0","id":1,"result":{"content":[],"_meta":{"io.example/receipt":1}}}
          → {"jsonrpc":"2.0","id":1,"result":{"content":[],"_meta":{"io.example/receipt":7}}}
        {"jsonrpc":"2.0","id":1,"result":[]}
          → the message has no place for `_meta`
        {"jsonrpc":"2.0","id":1,"result":null}
          → the message has no place for `_meta`
        {"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"m"}}
          → the message has no place for `_meta`
    "#]].assert_eq(&table);
}

#[test]
fn an_element_of_a_batch_is_edited_by_itself() {
    let batch = r#" [ {"jsonrpc":"2.0","id":1,"result":{}} , {"jsonrpc":"2.0","id":2,"result":{"a":1}} ]"#;
    let frame = parse(batch.as_bytes()).unwrap();
    let edited: Vec<String> =
        frame.messages().iter().map(|message| set_meta(message, "k", "0").unwrap()).collect();
    assert_eq!(
        edited,
        [
            r#"{"jsonrpc":"2.0","id":1,"result":{"_meta":{"k":0}}}"#,
            r#"{"jsonrpc":"2.0","id":2,"result":{"_meta":{"k":0},"a":1}}"#,
        ]
    );
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[ -~\u{e9}\n\"\\\\]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map("[a-z\"\u{e9}]{0,4}", inner, 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn json_object() -> impl Strategy<Value = Map<String, Value>> {
    prop::collection::btree_map("[a-z\"\u{e9}]{0,4}", json_value(), 0..5)
        .prop_map(|members| members.into_iter().collect())
}

/// Written as people may: with white space or without.
fn written(value: &Value, spaced: usize) -> String {
    if spaced == 0 { value.to_string() } else { serde_json::to_string_pretty(value).unwrap() }
}

proptest! {
    #[test]
    fn only_the_member_changes(
        mut holder in json_object(),
        meta in prop::option::of((json_object(), prop::option::of(json_value()))),
        (value, spaced, is_result) in (json_value(), 0usize..2, any::<bool>()),
    ) {
        let meta = meta.map(|(mut meta, old)| {
            if let Some(old) = old {
                meta.insert(KEY.to_owned(), old);
            }
            meta
        });
        if let Some(meta) = &meta {
            holder.insert("_meta".to_owned(), Value::Object(meta.clone()));
        }
        let with = |holder: Map<String, Value>| match is_result {
            true => json!({"jsonrpc": "2.0", "id": 1, "result": holder, "z": 0}),
            false => json!({"jsonrpc": "2.0", "id": 1, "method": "x", "params": holder, "z": 0}),
        };
        let text = written(&with(holder.clone()), spaced);
        let value_text = value.to_string();
        let edited = edited(&text, KEY, &value_text).unwrap();

        let mut new_meta = meta.unwrap_or_default();
        let old = new_meta.insert(KEY.to_owned(), value);
        holder.insert("_meta".to_owned(), Value::Object(new_meta));
        prop_assert_eq!(serde_json::from_str::<Value>(&edited).unwrap(), with(holder));

        // What stands before and after the edit stands in both; between is what was put in.
        let before = text.bytes().zip(edited.bytes()).take_while(|(a, b)| a == b).count();
        let after = text.bytes().rev().zip(edited.bytes().rev()).take_while(|(a, b)| a == b).count();
        if old.is_none() {
            prop_assert!(before + after >= text.len(), "bytes were taken away: {} → {}", text, edited);
            let most = value_text.len() + serde_json::to_string(KEY).unwrap().len() + r#""_meta":{:},"#.len();
            prop_assert!(edited.len() <= text.len() + most);
        } else {
            let old_len = text.len() + value_text.len() - edited.len();
            prop_assert!(before + after + old_len >= text.len(), "{} → {}", text, edited);
        }
    }
}

fn without(text: &str, names: &[&str]) -> Result<String, EditError> {
    let Ok(Frame::Single(message)) = parse(text.as_bytes()) else { panic!("no message: {text}") };
    message.without_params(names)
}

#[test]
fn members_of_params_are_taken_out() {
    let table: String = [
        r#"{"id":1,"method":"x","params":{"a":1,"b":2},"jsonrpc":"2.0"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"requestState":"s"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"requestState":"s","inputResponses":{}}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{ "requestState" : "s" , "a" : 1.50 }}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":[ ],"request\u0053tate":"s" , "inputResponses":{"k":{"action":"accept"}},"b":"ü"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":{"requestState":"kept"}}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"x"}"#,
        r#"{"jsonrpc":"2.0","method":"x","params":{"requestState":"s"}}"#,
    ]
    .iter()
    .map(|text| format!("{:?}\n", without(text, &["requestState", "inputResponses"])))
    .collect();
    expect![[r#"
        Ok("{\"id\":1,\"method\":\"x\",\"params\":{\"a\":1,\"b\":2},\"jsonrpc\":\"2.0\"}")
        Ok("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"x\",\"params\":{}}")
        Ok("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"x\",\"params\":{}}")
        Ok("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"x\",\"params\":{ \"a\" : 1.50 }}")
        Ok("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"x\",\"params\":{\"a\":[ ],\"b\":\"ü\"}}")
        Ok("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"x\",\"params\":{\"a\":{\"requestState\":\"kept\"}}}")
        Ok("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"x\",\"params\":{}}")
        Err(NoParams)
        Err(NoParams)
    "#]]
    .assert_eq(&table);
}

proptest! {
    #[test]
    fn what_is_left_are_the_others_in_their_order(
        members in prop::collection::vec(("[a-d\"\\\\ü]{1,2}", "[ -~]{0,4}"), 0..6),
        space in "[ \n]{0,2}",
    ) {
        let mut seen = std::collections::HashSet::new();
        let members: Vec<_> = members.into_iter().filter(|(name, _)| seen.insert(name.clone())).collect();
        let write = |members: &[&(String, String)]| -> String {
            let one = |(name, value): &&(String, String)| format!("{space}{}{space}:{space}{}", json!(name), json!(value));
            members.iter().map(one).collect::<Vec<_>>().join(",")
        };
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"x","params":{{{}}}}}"#, write(&members.iter().collect::<Vec<_>>()));
        let left: Value = serde_json::from_str(&without(&text, &["a", "b"]).unwrap()).unwrap();
        let wanted: Map<String, Value> = members
            .iter()
            .filter(|(name, _)| name != "a" && name != "b")
            .map(|(name, value)| (name.clone(), json!(value)))
            .collect();
        prop_assert_eq!(&left["params"], &Value::Object(wanted));
    }
}
