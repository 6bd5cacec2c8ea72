//! `message::parse`: what is a message, and what is refused since two parsers could read it differently.

use std::collections::HashMap;

use expect_test::{Expect, expect};
use mcp::message::{BATCH_ELEMENTS, Frame, IdBuf, Kind, id_of_refused, parse};

use crate::shown::{table, verdict};

fn check(inputs: &[&str], expected: &Expect) {
    expected.assert_eq(&table(inputs.iter().map(|input| input.as_bytes())));
}

#[test]
fn messages_of_every_kind_are_read() {
    check(
        &[
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"a":[1,{"b":null}]}}}"#,
            r#" {"params" : {} ,"method":"tools\/list", "id":"a\"b","jsonrpc":"2.0"} "#,
            "\r\n\t{\"jsonrpc\":\"2.0\",\"id\":-0.5e-3,\"method\":\"ping\"}\n",
            r#"{"jsonrpc":"2.0","id":"","method":""}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"x","vendor":{"a":[{}]},"vendor2":1}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"Arguments2":1,"names":2,"NAME_":3}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"arguments":{"Name":1,"name":2,"NAME":3}}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":{"k":1},"b":{"k":1},"k":[{"k":1},{"k":1}]}}"#,
            r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
            r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"7"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{"content":[]}}"#,
            r#"{"jsonrpc":"2.0","id":"1","result":null}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":[true]}"#,
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no"}}"#,
            r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"no"}}"#,
            r#"{"jsonrpc":"2.0","error":{"code":-32700,"message":"no"}}"#,
            r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#,
            r#" [ {"jsonrpc":"2.0","id":1,"method":"ping"} , {"jsonrpc":"2.0","method":"n"} ,{"jsonrpc":"2.0","id":1,"result":{}}]"#,
            r#"{"jsonrpc":"2.0","id":123456789012345678901234567890,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"s":"𝄞 \ud834\udd1e \u0000"}}"#,
        ],
        &expect![[r#"
            {"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"a":[1,{"b":null}]}}} → request 1 tools/call {"name":"echo","arguments":{"a":[1,{"b":null}]}}
             {"params" : {} ,"method":"tools\/list", "id":"a\"b","jsonrpc":"2.0"}  → request "a\"b" tools/list {}
            \r\n\t{"jsonrpc":"2.0","id":-0.5e-3,"method":"ping"}\n → request -0.5e-3 ping -
            {"jsonrpc":"2.0","id":"","method":""} → request ""  -
            {"jsonrpc":"2.0","id":1,"method":"x","vendor":{"a":[{}]},"vendor2":1} → request 1 x -
            {"jsonrpc":"2.0","id":1,"method":"x","params":{"Arguments2":1,"names":2,"NAME_":3}} → request 1 x {"Arguments2":1,"names":2,"NAME_":3}
            {"jsonrpc":"2.0","id":1,"method":"x","params":{"arguments":{"Name":1,"name":2,"NAME":3}}} → request 1 x {"arguments":{"Name":1,"name":2,"NAME":3}}
            {"jsonrpc":"2.0","id":1,"method":"x","params":{"a":{"k":1},"b":{"k":1},"k":[{"k":1},{"k":1}]}} → request 1 x {"a":{"k":1},"b":{"k":1},"k":[{"k":1},{"k":1}]}
            {"jsonrpc":"2.0","method":"notifications/initialized"} → notification notifications/initialized -
            {"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"7"}} → notification notifications/cancelled {"requestId":"7"}
            {"jsonrpc":"2.0","id":1,"result":{"content":[]}} → result of 1 {"content":[]}
            {"jsonrpc":"2.0","id":"1","result":null} → result of "1" null
            {"jsonrpc":"2.0","id":1,"result":[true]} → result of 1 [true]
            {"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no"}} → error of 1 {"code":-32601,"message":"no"}
            {"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"no"}} → error of - {"code":-32700,"message":"no"}
            {"jsonrpc":"2.0","error":{"code":-32700,"message":"no"}} → error of - {"code":-32700,"message":"no"}
            [{"jsonrpc":"2.0","id":1,"method":"ping"}] → batch: request 1 ping -
             [ {"jsonrpc":"2.0","id":1,"method":"ping"} , {"jsonrpc":"2.0","method":"n"} ,{"jsonrpc":"2.0","id":1,"result"… (115 bytes) → batch: request 1 ping - | notification n - | result of 1 {}
            {"jsonrpc":"2.0","id":123456789012345678901234567890,"method":"ping"} → request 123456789012345678901234567890 ping -
            {"jsonrpc":"2.0","id":1,"method":"ping","params":{"s":"\xf0\x9d\x84\x9e \ud834\udd1e \u0000"}} → request 1 ping {"s":"𝄞 \ud834\udd1e \u0000"}
        "#]],
    );
}

/// Equal keys, at each level, spelled alike or with escapes.
#[test]
fn equal_keys_are_refused() {
    check(
        &[
            r#"{"jsonrpc":"2.0","jsonrpc":"2.0","id":1,"method":"x"}"#,
            r#"{"jsonrpc":"2.0","id":1,"id":1,"method":"x"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","method":"tools/call"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","\u006dethod":"tools/call"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{},"params":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"x","v":1,"\u0076":2}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"x","v":{"a":1,"a":2}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{},"result":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"error":{},"error":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"name":"a","name":"b"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"name":"a","n\u0061me":"b"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"a\/b":1,"a/b":2}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"":1,"":2}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"é":1,"\u00e9":2}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"\ud834\udd1e":1,"𝄞":2}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"arguments":{"k":1,"k":1}}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"arguments":{"l":[0,{"k":1,"k":1}]}}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"k":{"k":1},"j":{},"k":0}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":1,"b":2,"c":3,"d":4,"e":5,"f":6,"g":7,"h":8,"i":9,"j":10,"k":11,"l":12,"m":13,"n":14,"o":15,"p":16,"q":17,"r":18,"q":19}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":1,"b":2,"c":3,"d":4,"e":5,"f":6,"g":7,"h":8,"i":9,"j":10,"k":11,"l":12,"m":13,"n":14,"o":15,"p":16,"q":17,"r":18,"a":19}}"#,
            r#"{"jsonrpc":"2.0","method":"x","params":{"a":1,"a":1}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"text":"a","text":"b"}]}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{},"params":{"a":1,"a":1}}"#,
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"code":2}}"#,
            r#"[{"jsonrpc":"2.0","id":1,"method":"x"},{"jsonrpc":"2.0","id":2,"id":3,"method":"x"}]"#,
        ],
        &expect![[r#"
            {"jsonrpc":"2.0","jsonrpc":"2.0","id":1,"method":"x"} → -32600 an object has the same key twice
            {"jsonrpc":"2.0","id":1,"id":1,"method":"x"} → -32600 an object has the same key twice
            {"jsonrpc":"2.0","id":1,"method":"tools/list","method":"tools/call"} → -32600 an object has the same key twice
            {"jsonrpc":"2.0","id":1,"method":"tools/list","\u006dethod":"tools/call"} → -32600 an object has the same key twice
            {"jsonrpc":"2.0","id":1,"method":"x","params":{},"params":{}} → -32600 an object has the same key twice
            {"jsonrpc":"2.0","id":1,"method":"x","v":1,"\u0076":2} → -32600 an object has the same key twice
            {"jsonrpc":"2.0","id":1,"method":"x","v":{"a":1,"a":2}} → -32600 an object has the same key twice
            {"jsonrpc":"2.0","id":1,"result":{},"result":{}} → -32600 an object has the same key twice
            {"jsonrpc":"2.0","id":1,"error":{},"error":{}} → -32600 an object has the same key twice
            {"jsonrpc":"2.0","id":1,"method":"x","params":{"name":"a","name":"b"}} → -32600 an object has the same key twice
            {"jsonrpc":"2.0","id":1,"method":"x","params":{"name":"a","n\u0061me":"b"}} → -32600 an object has the same key twice
            {"jsonrpc":"2.0","id":1,"method":"x","params":{"a\/b":1,"a/b":2}} → -32600 an object has the same key twice
            {"jsonrpc":"2.0","id":1,"method":"x","params":{"":1,"":2}} → -32600 an object has the same key twice
            {"jsonrpc":"2.0","id":1,"method":"x","params":{"\xc3\xa9":1,"\u00e9":2}} → -32600 an object has the same key twice
            {"jsonrpc":"2.0","id":1,"method":"x","params":{"\ud834\udd1e":1,"\xf0\x9d\x84\x9e":2}} → -32600 an object has the same key twice
            {"jsonrpc":"2.0","id":1,"method":"x","params":{"arguments":{"k":1,"k":1}}} → -32600 an object has the same key twice
            {"jsonrpc":"2.0","id":1,"method":"x","params":{"arguments":{"l":[0,{"k":1,"k":1}]}}} → -32600 an object has the same key twice
            {"jsonrpc":"2.0","id":1,"method":"x","params":{"k":{"k":1},"j":{},"k":0}} → -32600 an object has the same key twice
            {"jsonrpc":"2.0","id":1,"method":"x","params":{"a":1,"b":2,"c":3,"d":4,"e":5,"f":6,"g":7,"h":8,"i":9,"j":10,"k… (172 bytes) → -32600 an object has the same key twice
            {"jsonrpc":"2.0","id":1,"method":"x","params":{"a":1,"b":2,"c":3,"d":4,"e":5,"f":6,"g":7,"h":8,"i":9,"j":10,"k… (172 bytes) → -32600 an object has the same key twice
            {"jsonrpc":"2.0","method":"x","params":{"a":1,"a":1}} → -32600 an object has the same key twice
            {"jsonrpc":"2.0","id":1,"result":{"content":[{"text":"a","text":"b"}]}} → -32600 an object has the same key twice
            {"jsonrpc":"2.0","id":1,"result":{},"params":{"a":1,"a":1}} → -32600 an object has the same key twice
            {"jsonrpc":"2.0","id":1,"error":{"code":1,"code":2}} → -32600 an object has the same key twice
            [{"jsonrpc":"2.0","id":1,"method":"x"},{"jsonrpc":"2.0","id":2,"id":3,"method":"x"}] → -32600 an object has the same key twice
        "#]],
    );
}

/// Keys that a parser without regard to case takes for names of the protocol.
#[test]
fn case_variants_are_refused() {
    check(
        &[
            r#"{"jsonrpc":"2.0","id":1,"Method":"tools/call"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","METHOD":"tools/call"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"x","\u004dethod":"y"}"#,
            r#"{"JsonRpc":"2.0","id":1,"method":"x"}"#,
            r#"{"jsonrpc":"2.0","ID":1,"method":"x"}"#,
            r#"{"jsonrpc":"2.0","Id":1,"id":2,"method":"x"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"x","Params":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"x","param\u017f":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"x","PARAMſ":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"Result":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{},"Error":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","ResultType":"input_required"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{"inputrequests":{}}}"#,
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"Code":-32042}}"#,
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32042,"data":{"Elicitations":[]}}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"Name":"a"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"name":"a","NAME":"b"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"Arguments":{}}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"argumentſ":{}}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"URI":"file:///"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"_Meta":{}}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"taskid":"t"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"tas\u212aId":"t"}}"#,
            r#"{"jsonrpc":"2.0","method":"x","params":{"Name":"a"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"ref":{"name":"a"},"Ref":{"name":"b"}}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"Notifications":{}}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"ref":{"name":"a","Name":"b"}}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"ref":{"Uri":"a:1"}}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"notifications":{"resourceſubscriptions":[]}}}"#,
        ],
        &expect![[r#"
            {"jsonrpc":"2.0","id":1,"Method":"tools/call"} → -32600 a key differs from `method` in case alone
            {"jsonrpc":"2.0","id":1,"method":"tools/list","METHOD":"tools/call"} → -32600 a key differs from `method` in case alone
            {"jsonrpc":"2.0","id":1,"method":"x","\u004dethod":"y"} → -32600 a key differs from `method` in case alone
            {"JsonRpc":"2.0","id":1,"method":"x"} → -32600 a key differs from `jsonrpc` in case alone
            {"jsonrpc":"2.0","ID":1,"method":"x"} → -32600 a key differs from `id` in case alone
            {"jsonrpc":"2.0","Id":1,"id":2,"method":"x"} → -32600 a key differs from `id` in case alone
            {"jsonrpc":"2.0","id":1,"method":"x","Params":{}} → -32600 a key differs from `params` in case alone
            {"jsonrpc":"2.0","id":1,"method":"x","param\u017f":{}} → -32600 a key differs from `params` in case alone
            {"jsonrpc":"2.0","id":1,"method":"x","PARAM\xc5\xbf":{}} → -32600 a key differs from `params` in case alone
            {"jsonrpc":"2.0","id":1,"Result":{}} → -32600 a key differs from `result` in case alone
            {"jsonrpc":"2.0","id":1,"result":{},"Error":{}} → -32600 a key differs from `error` in case alone
            {"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","ResultType":"input_required"}} → -32600 a key differs from `resultType` in case alone
            {"jsonrpc":"2.0","id":1,"result":{"inputrequests":{}}} → -32600 a key differs from `inputRequests` in case alone
            {"jsonrpc":"2.0","id":1,"error":{"code":1,"Code":-32042}} → -32600 a key differs from `code` in case alone
            {"jsonrpc":"2.0","id":1,"error":{"code":-32042,"data":{"Elicitations":[]}}} → -32600 a key differs from `elicitations` in case alone
            {"jsonrpc":"2.0","id":1,"method":"x","params":{"Name":"a"}} → -32600 a key differs from `name` in case alone
            {"jsonrpc":"2.0","id":1,"method":"x","params":{"name":"a","NAME":"b"}} → -32600 a key differs from `name` in case alone
            {"jsonrpc":"2.0","id":1,"method":"x","params":{"Arguments":{}}} → -32600 a key differs from `arguments` in case alone
            {"jsonrpc":"2.0","id":1,"method":"x","params":{"argument\xc5\xbf":{}}} → -32600 a key differs from `arguments` in case alone
            {"jsonrpc":"2.0","id":1,"method":"x","params":{"URI":"file:///"}} → -32600 a key differs from `uri` in case alone
            {"jsonrpc":"2.0","id":1,"method":"x","params":{"_Meta":{}}} → -32600 a key differs from `_meta` in case alone
            {"jsonrpc":"2.0","id":1,"method":"x","params":{"taskid":"t"}} → -32600 a key differs from `taskId` in case alone
            {"jsonrpc":"2.0","id":1,"method":"x","params":{"tas\u212aId":"t"}} → -32600 a key differs from `taskId` in case alone
            {"jsonrpc":"2.0","method":"x","params":{"Name":"a"}} → -32600 a key differs from `name` in case alone
            {"jsonrpc":"2.0","id":1,"method":"x","params":{"ref":{"name":"a"},"Ref":{"name":"b"}}} → -32600 a key differs from `ref` in case alone
            {"jsonrpc":"2.0","id":1,"method":"x","params":{"Notifications":{}}} → -32600 a key differs from `notifications` in case alone
            {"jsonrpc":"2.0","id":1,"method":"x","params":{"ref":{"name":"a","Name":"b"}}} → -32600 a key differs from `name` in case alone
            {"jsonrpc":"2.0","id":1,"method":"x","params":{"ref":{"Uri":"a:1"}}} → -32600 a key differs from `uri` in case alone
            {"jsonrpc":"2.0","id":1,"method":"x","params":{"notifications":{"resource\xc5\xbfubscriptions":[]}}} → -32600 a key differs from `resourceSubscriptions` in case alone
        "#]],
    );
}

#[test]
fn what_is_no_json_is_refused() {
    let mut inputs: Vec<&[u8]> = [
        "",
        " ",
        "\n\r\t ",
        "{",
        "}",
        "[",
        "{]",
        "nul",
        "undefined",
        "NaN",
        "'a'",
        "{}{}",
        "{} {}",
        "[][]",
        "{},",
        "// comment\n{}",
        r#"{"jsonrpc":"2.0","id":1,"method":"ping"}x"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping"}{"jsonrpc":"2.0","id":2,"method":"ping"}"#,
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"ping\"}",
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\0",
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"pi\0ng\"}",
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"pi\nng\"}",
        "\u{feff}{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}",
        "\u{a0}{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}",
        "\u{b}{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}",
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\u{c}",
        r#"{"jsonrpc":"2.0","id":1,"method":"ping",}"#,
        r#"{"jsonrpc":"2.0" "id":1,"method":"ping"}"#,
        r#"{jsonrpc:"2.0","id":1,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":01,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":+1,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":1.,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":0x1,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"p\x69ng"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping\ud800"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"x","\ud800":1}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"x","v":"\udc00\ud800"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":"\ud800"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"\udfff":"a"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":"\ud800\u0041"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":1e999}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":-1e999}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"x","v":[1e999]}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{"a":1e999}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{"a":"\ud800"}}"#,
        r#"[{"jsonrpc":"2.0","id":1,"method":"ping"},]"#,
        r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]]"#,
    ]
    .map(str::as_bytes)
    .to_vec();
    inputs.extend([
        &b"\xff\xfe{\0}\0"[..],
        b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\"}",
        b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xed\xa0\x80\"}",
        b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xc0\xaf\"}",
        b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\x80",
    ]);
    expect![[r#"
         → -32700 the message is not JSON
          → -32700 the message is not JSON
        \n\r\t  → -32700 the message is not JSON
        { → -32700 the message is not JSON
        } → -32700 the message is not JSON
        [ → -32700 the message is not JSON
        {] → -32700 the message is not JSON
        nul → -32700 the message is not JSON
        undefined → -32700 the message is not JSON
        NaN → -32700 the message is not JSON
        \'a\' → -32700 the message is not JSON
        {}{} → -32700 the message is not JSON
        {} {} → -32700 the message is not JSON
        [][] → -32700 the message is not JSON
        {}, → -32700 the message is not JSON
        // comment\n{} → -32700 the message is not JSON
        {"jsonrpc":"2.0","id":1,"method":"ping"}x → -32700 the message is not JSON
        {"jsonrpc":"2.0","id":1,"method":"ping"}{"jsonrpc":"2.0","id":2,"method":"ping"} → -32700 the message is not JSON
        {"jsonrpc":"2.0","id":1,"method":"ping"}\n{"jsonrpc":"2.0","id":2,"method":"ping"} → -32700 the message is not JSON
        {"jsonrpc":"2.0","id":1,"method":"ping"}\x00 → -32700 the message is not JSON
        {"jsonrpc":"2.0","id":1,"method":"pi\x00ng"} → -32700 the message is not JSON
        {"jsonrpc":"2.0","id":1,"method":"pi\nng"} → -32700 the message is not JSON
        \xef\xbb\xbf{"jsonrpc":"2.0","id":1,"method":"ping"} → -32700 the message is not JSON
        \xc2\xa0{"jsonrpc":"2.0","id":1,"method":"ping"} → -32700 the message is not JSON
        \x0b{"jsonrpc":"2.0","id":1,"method":"ping"} → -32700 the message is not JSON
        {"jsonrpc":"2.0","id":1,"method":"ping"}\x0c → -32700 the message is not JSON
        {"jsonrpc":"2.0","id":1,"method":"ping",} → -32700 the message is not JSON
        {"jsonrpc":"2.0" "id":1,"method":"ping"} → -32700 the message is not JSON
        {jsonrpc:"2.0","id":1,"method":"ping"} → -32700 the message is not JSON
        {"jsonrpc":"2.0","id":01,"method":"ping"} → -32700 the message is not JSON
        {"jsonrpc":"2.0","id":+1,"method":"ping"} → -32700 the message is not JSON
        {"jsonrpc":"2.0","id":1.,"method":"ping"} → -32700 the message is not JSON
        {"jsonrpc":"2.0","id":0x1,"method":"ping"} → -32700 the message is not JSON
        {"jsonrpc":"2.0","id":1,"method":"p\x69ng"} → -32700 the message is not JSON
        {"jsonrpc":"2.0","id":1,"method":"ping\ud800"} → -32600 not a JSON-RPC 2.0 message: `method` is no string
        {"jsonrpc":"2.0","id":1,"method":"x","\ud800":1} → -32700 the message is not JSON
        {"jsonrpc":"2.0","id":1,"method":"x","v":"\udc00\ud800"} → -32700 the message is not JSON
        {"jsonrpc":"2.0","id":1,"method":"x","params":{"a":"\ud800"}} → -32700 the message is not JSON
        {"jsonrpc":"2.0","id":1,"method":"x","params":{"\udfff":"a"}} → -32700 the message is not JSON
        {"jsonrpc":"2.0","id":1,"method":"x","params":{"a":"\ud800\u0041"}} → -32700 the message is not JSON
        {"jsonrpc":"2.0","id":1,"method":"x","params":{"a":1e999}} → -32700 the message is not JSON
        {"jsonrpc":"2.0","id":1,"method":"x","params":{"a":-1e999}} → -32700 the message is not JSON
        {"jsonrpc":"2.0","id":1,"method":"x","v":[1e999]} → -32700 the message is not JSON
        {"jsonrpc":"2.0","id":1,"result":{"a":1e999}} → -32700 the message is not JSON
        {"jsonrpc":"2.0","id":1,"result":{"a":"\ud800"}} → -32700 the message is not JSON
        [{"jsonrpc":"2.0","id":1,"method":"ping"},] → -32700 the message is not JSON
        [{"jsonrpc":"2.0","id":1,"method":"ping"}]] → -32700 the message is not JSON
        \xff\xfe{\x00}\x00 → -32700 the message is not UTF-8
        {"jsonrpc":"2.0","id":1,"method":"\xff"} → -32700 the message is not UTF-8
        {"jsonrpc":"2.0","id":1,"method":"\xed\xa0\x80"} → -32700 the message is not UTF-8
        {"jsonrpc":"2.0","id":1,"method":"\xc0\xaf"} → -32700 the message is not UTF-8
        {"jsonrpc":"2.0","id":1,"method":"ping"}\x80 → -32700 the message is not UTF-8
    "#]].assert_eq(&table(inputs));
}

#[test]
fn what_is_no_message_is_refused() {
    check(
        &[
            "null",
            "true",
            "1",
            r#""jsonrpc""#,
            "{}",
            r#"{"id":1,"method":"x"}"#,
            r#"{"jsonrpc":"1.0","id":1,"method":"x"}"#,
            r#"{"jsonrpc":2.0,"id":1,"method":"x"}"#,
            r#"{"jsonrpc":"2.0 ","id":1,"method":"x"}"#,
            r#"{"jsonrpc":"2\u002e0","id":1,"method":"x"}"#,
            r#"{"jsonrpc":null,"id":1,"method":"x"}"#,
            r#"{"jsonrpc":"2.0"}"#,
            r#"{"jsonrpc":"2.0","id":1}"#,
            r#"{"jsonrpc":"2.0","id":null,"method":"x"}"#,
            r#"{"jsonrpc":"2.0","id":true,"method":"x"}"#,
            r#"{"jsonrpc":"2.0","id":{},"method":"x"}"#,
            r#"{"jsonrpc":"2.0","id":[1],"method":"x"}"#,
            r#"{"jsonrpc":"2.0","id":1e999,"method":"x"}"#,
            r#"{"jsonrpc":"2.0","id":"\ud800","method":"x"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":null}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":1}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":["x"]}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"x","params":[]}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"x","params":null}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"x","params":"a"}"#,
            r#"{"jsonrpc":"2.0","method":"x","params":[]}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"x","result":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"x","error":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"x","result":{},"error":{}}"#,
            r#"{"jsonrpc":"2.0","result":{}}"#,
            r#"{"jsonrpc":"2.0","id":null,"result":{}}"#,
            r#"{"jsonrpc":"2.0","id":false,"result":{}}"#,
            r#"{"jsonrpc":"2.0","id":{},"error":{}}"#,
            "[]",
            "[ ]",
            "[[]]",
            "[1]",
            "[null]",
            r#"["jsonrpc"]"#,
            r#"[[{"jsonrpc":"2.0","id":1,"method":"x"}]]"#,
            r#"[{"jsonrpc":"2.0","id":1,"method":"x"},1]"#,
            r#"[{"jsonrpc":"2.0","id":1,"method":"x"},{}]"#,
        ],
        &expect![[r#"
            null → -32600 not a JSON-RPC 2.0 message: neither an object nor a batch
            true → -32600 not a JSON-RPC 2.0 message: neither an object nor a batch
            1 → -32600 not a JSON-RPC 2.0 message: neither an object nor a batch
            "jsonrpc" → -32600 not a JSON-RPC 2.0 message: neither an object nor a batch
            {} → -32600 not a JSON-RPC 2.0 message: `jsonrpc` is not "2.0"
            {"id":1,"method":"x"} → -32600 not a JSON-RPC 2.0 message: `jsonrpc` is not "2.0"
            {"jsonrpc":"1.0","id":1,"method":"x"} → -32600 not a JSON-RPC 2.0 message: `jsonrpc` is not "2.0"
            {"jsonrpc":2.0,"id":1,"method":"x"} → -32600 not a JSON-RPC 2.0 message: `jsonrpc` is not "2.0"
            {"jsonrpc":"2.0 ","id":1,"method":"x"} → -32600 not a JSON-RPC 2.0 message: `jsonrpc` is not "2.0"
            {"jsonrpc":"2\u002e0","id":1,"method":"x"} → -32600 not a JSON-RPC 2.0 message: `jsonrpc` is not "2.0"
            {"jsonrpc":null,"id":1,"method":"x"} → -32600 not a JSON-RPC 2.0 message: `jsonrpc` is not "2.0"
            {"jsonrpc":"2.0"} → -32600 not a JSON-RPC 2.0 message: neither `method` nor `result` nor `error`
            {"jsonrpc":"2.0","id":1} → -32600 not a JSON-RPC 2.0 message: neither `method` nor `result` nor `error`
            {"jsonrpc":"2.0","id":null,"method":"x"} → -32600 not a JSON-RPC 2.0 message: `id` is neither a string nor a number
            {"jsonrpc":"2.0","id":true,"method":"x"} → -32600 not a JSON-RPC 2.0 message: `id` is neither a string nor a number
            {"jsonrpc":"2.0","id":{},"method":"x"} → -32600 not a JSON-RPC 2.0 message: `id` is neither a string nor a number
            {"jsonrpc":"2.0","id":[1],"method":"x"} → -32600 not a JSON-RPC 2.0 message: `id` is neither a string nor a number
            {"jsonrpc":"2.0","id":1e999,"method":"x"} → -32600 not a JSON-RPC 2.0 message: `id` is neither a string nor a number
            {"jsonrpc":"2.0","id":"\ud800","method":"x"} → -32600 not a JSON-RPC 2.0 message: `id` is neither a string nor a number
            {"jsonrpc":"2.0","id":1,"method":null} → -32600 not a JSON-RPC 2.0 message: `method` is no string
            {"jsonrpc":"2.0","id":1,"method":1} → -32600 not a JSON-RPC 2.0 message: `method` is no string
            {"jsonrpc":"2.0","id":1,"method":["x"]} → -32600 not a JSON-RPC 2.0 message: `method` is no string
            {"jsonrpc":"2.0","id":1,"method":"x","params":[]} → -32600 not a JSON-RPC 2.0 message: `params` is no object
            {"jsonrpc":"2.0","id":1,"method":"x","params":null} → -32600 not a JSON-RPC 2.0 message: `params` is no object
            {"jsonrpc":"2.0","id":1,"method":"x","params":"a"} → -32600 not a JSON-RPC 2.0 message: `params` is no object
            {"jsonrpc":"2.0","method":"x","params":[]} → -32600 not a JSON-RPC 2.0 message: `params` is no object
            {"jsonrpc":"2.0","id":1,"result":{},"error":{}} → -32600 not a JSON-RPC 2.0 message: more than one of `method`, `result` and `error`
            {"jsonrpc":"2.0","id":1,"method":"x","result":{}} → -32600 not a JSON-RPC 2.0 message: more than one of `method`, `result` and `error`
            {"jsonrpc":"2.0","id":1,"method":"x","error":{}} → -32600 not a JSON-RPC 2.0 message: more than one of `method`, `result` and `error`
            {"jsonrpc":"2.0","id":1,"method":"x","result":{},"error":{}} → -32600 not a JSON-RPC 2.0 message: more than one of `method`, `result` and `error`
            {"jsonrpc":"2.0","result":{}} → -32600 not a JSON-RPC 2.0 message: a result without `id`
            {"jsonrpc":"2.0","id":null,"result":{}} → -32600 not a JSON-RPC 2.0 message: `id` is neither a string nor a number
            {"jsonrpc":"2.0","id":false,"result":{}} → -32600 not a JSON-RPC 2.0 message: `id` is neither a string nor a number
            {"jsonrpc":"2.0","id":{},"error":{}} → -32600 not a JSON-RPC 2.0 message: `id` is neither a string nor a number
            [] → -32600 a batch may not be empty
            [ ] → -32600 a batch may not be empty
            [[]] → -32600 not a JSON-RPC 2.0 message: a batch element is no object
            [1] → -32600 not a JSON-RPC 2.0 message: a batch element is no object
            [null] → -32600 not a JSON-RPC 2.0 message: a batch element is no object
            ["jsonrpc"] → -32600 not a JSON-RPC 2.0 message: a batch element is no object
            [[{"jsonrpc":"2.0","id":1,"method":"x"}]] → -32600 not a JSON-RPC 2.0 message: a batch element is no object
            [{"jsonrpc":"2.0","id":1,"method":"x"},1] → -32600 not a JSON-RPC 2.0 message: a batch element is no object
            [{"jsonrpc":"2.0","id":1,"method":"x"},{}] → -32600 not a JSON-RPC 2.0 message: `jsonrpc` is not "2.0"
        "#]],
    );
}

#[test]
fn a_batch_has_at_most_its_limit() {
    let of =
        |elements: usize| format!("[{}]", [r#"{"jsonrpc":"2.0","method":"n"}"#].repeat(elements).join(","));
    let full = of(BATCH_ELEMENTS);
    let Ok(Frame::Batch(messages)) = parse(full.as_bytes()) else { panic!("a full batch is read") };
    assert_eq!(messages.len(), BATCH_ELEMENTS);
    expect!["-32600 a batch has more than 100 elements"]
        .assert_eq(&verdict(of(BATCH_ELEMENTS + 1).as_bytes()));
}

/// Depth is counted in each member of the envelope; beyond it is no stack to overflow either.
#[test]
fn nesting_is_bounded() {
    let arrays = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let call =
        |depth| format!(r#"{{"jsonrpc":"2.0","id":1,"method":"x","params":{{"a":{}}}}}"#, arrays(depth));
    let result = |depth| format!(r#"{{"jsonrpc":"2.0","id":1,"result":{}}}"#, arrays(depth));
    let other = |depth| format!(r#"{{"jsonrpc":"2.0","id":1,"method":"x","v":{}}}"#, arrays(depth));
    for (depth, of) in [(126, &call as &dyn Fn(usize) -> String), (127, &result), (127, &other)] {
        assert!(parse(of(depth).as_bytes()).is_ok(), "{depth}");
        for deeper in [depth + 1, 1_000, 200_000] {
            let refused = verdict(of(deeper).as_bytes());
            assert_eq!(refused, "-32700 the message is nested too deeply", "{deeper}");
        }
    }
    assert_eq!(verdict("[".repeat(500_000).as_bytes()), "-32700 the message is not JSON");
    assert_eq!(verdict(r#"{"a":"#.repeat(500_000).as_bytes()), "-32700 the message is not JSON");
    assert_eq!(
        verdict(arrays(500_000).as_bytes()),
        "-32600 not a JSON-RPC 2.0 message: a batch element is no object"
    );
}

/// The id of a message that was refused: read only where it is without doubt.
#[test]
fn a_refused_message_is_answered_under_its_id() {
    let ids: String = [
        r#"{"jsonrpc":"2.0","id":7,"method":"x","params":[]}"#,
        r#"{"jsonrpc":"2.0","id":"a\"b","Method":"x"}"#,
        r#"{"id":1.50}"#,
        r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"x"}"#,
        r#"{"jsonrpc":"2.0","id":1,"\u0069d":2,"method":"x"}"#,
        r#"{"jsonrpc":"2.0","id":null,"method":"x"}"#,
        r#"{"jsonrpc":"2.0","id":true}"#,
        r#"{"jsonrpc":"2.0","id":{"id":1}}"#,
        r#"{"jsonrpc":"2.0","id":1e999}"#,
        r#"{"jsonrpc":"2.0","id":"\ud800"}"#,
        r#"{"params":{"id":1}}"#,
        r#"{"id":1"#,
        r#"{"id":1}}"#,
        r#"[{"id":1}]"#,
        "[1]",
        r#"["a"]"#,
        r#" [7]"#,
        "1",
        "",
    ]
    .iter()
    .map(|text| {
        let id = id_of_refused(text.as_bytes());
        format!("{text} → {}\n", id.as_ref().map_or("-", IdBuf::raw))
    })
    .collect();
    expect![[r#"
        {"jsonrpc":"2.0","id":7,"method":"x","params":[]} → 7
        {"jsonrpc":"2.0","id":"a\"b","Method":"x"} → "a\"b"
        {"id":1.50} → 1.50
        {"jsonrpc":"2.0","id":1,"id":2,"method":"x"} → -
        {"jsonrpc":"2.0","id":1,"\u0069d":2,"method":"x"} → -
        {"jsonrpc":"2.0","id":null,"method":"x"} → -
        {"jsonrpc":"2.0","id":true} → -
        {"jsonrpc":"2.0","id":{"id":1}} → -
        {"jsonrpc":"2.0","id":1e999} → -
        {"jsonrpc":"2.0","id":"\ud800"} → -
        {"params":{"id":1}} → -
        {"id":1 → -
        {"id":1}} → -
        [{"id":1}] → -
        [1] → -
        ["a"] → -
         [7] → -
        1 → -
         → -
    "#]]
    .assert_eq(&ids);
}

/// Ids are one where the SDKs take them for one.
#[test]
fn ids_are_equal_by_value_and_kind() {
    let classes: [&[&str]; 9] = [
        &["1", "1.0", "1e0", "10e-1", "1.000"],
        &[r#""1""#, r#""\u0031""#],
        &["0", "-0", "0.0", "-0.0", "0e5"],
        &[r#""""#],
        &[r#""a/b""#, r#""a\/b""#, r#""\u0061/b""#],
        &[r#""A/b""#],
        &["-1", "-1.0"],
        &["1.5", "15e-1"],
        &[r#""é""#, r#""\u00e9""#],
    ];
    let ids: Vec<(usize, IdBuf)> = classes
        .iter()
        .enumerate()
        .flat_map(|(class, texts)| texts.iter().map(move |text| (class, IdBuf::of_raw(text))))
        .collect();
    for (class, id) in &ids {
        for (other_class, other) in &ids {
            assert_eq!(id == other, class == other_class, "{} and {}", id.raw(), other.raw());
        }
    }
    let classes_of: HashMap<&IdBuf, usize> = ids.iter().map(|(class, id)| (id, *class)).collect();
    assert_eq!(classes_of.len(), classes.len(), "equal ids have equal hashes");
    assert_eq!(classes_of.get(&IdBuf::of_raw("1.00")), Some(&0));
}

/// Every message is a slice of its input, without the white space round it.
#[test]
fn a_message_is_a_slice_of_its_input() {
    let text =
        " [ {\"jsonrpc\":\"2.0\", \"id\": 1 ,\"method\":\"a\"}\n,{\"method\":\"b\",\"jsonrpc\":\"2.0\"} ]";
    let frame = parse(text.as_bytes()).unwrap();
    let raws: Vec<&str> = frame.messages().iter().map(mcp::message::Message::raw).collect();
    assert_eq!(raws, [r#"{"jsonrpc":"2.0", "id": 1 ,"method":"a"}"#, r#"{"method":"b","jsonrpc":"2.0"}"#]);
    assert!(raws.iter().all(|raw| text.as_bytes().as_ptr_range().contains(&raw.as_ptr())));
    let Kind::Request { id, .. } = frame.messages()[0].kind() else { panic!("a request") };
    assert_eq!(id.to_buf(), IdBuf::of_raw("1"));
}
