/* SPDX-License-Identifier: MIT
 *
 * Remote calls: frames taken apart, replies, and who answers what. */
#include "tavi/jsonrpc.h"

#include "guard.h"
#include "tavi/json.h"
#include "test.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct tavi_slice slice(const char *text) { return (struct tavi_slice){text, strlen(text)}; }

TEST(jsonrpc_parse__members) {
  struct tavi_jsonrpc_frame f;
  CHECK_INT(tavi_jsonrpc_parse(slice(" {\"id\" : [1] ,\"method\":\"a.b\",\"params\":{\"x\":1}} "), &f), 0);
  CHECK_STR(f.id, "[1]");
  CHECK_STR(f.method, "\"a.b\"");
  CHECK_STR(f.params, "{\"x\":1}");
  CHECK_INT(f.result.len + f.error.len, 0);
  CHECK_INT(tavi_jsonrpc_parse(slice("{\"result\":null,\"id\":\"x\"}"), &f), 0);
  CHECK_INT(f.method.len, 0);
  CHECK_STR(f.result, "null");
  CHECK_STR(f.id, "\"x\"");
  CHECK_INT(tavi_jsonrpc_parse(slice("{\"error\":{}}"), &f), 0);
  CHECK_STR(f.error, "{}");

  static const char *const bad[] = {"", "x", "{", "{\"method\":\"a\"", "{\"method\":\"a\"} x", "{\"method\":\"a\",}", "{\"method\":1}",
                                    "{\"method\":null,\"result\":1}", "{}", "[]", "1", "[{\"method\":\"a\"}]", "{\"id\":1}"};
  for (size_t i = 0; i < COUNT(bad); i++) {
    test_note("%s", bad[i]);
    CHECK_INT(tavi_jsonrpc_parse(slice(bad[i]), &f), TAVI_E_PROTOCOL);
    CHECK_STR(f.text, bad[i]);
  }
  CHECK_STR(f.id, "1"); /* of the last one */
}

/* ==== calls ==== */

static unsigned calls;

static void echo(struct tavi_jsonrpc_call *call, void *user) {
  calls++;
  CHECK_INT(tavi_jsonrpc_ok(call, user != NULL ? slice(user) : call->frame.params), 0);
  CHECK_INT(tavi_jsonrpc_ok(call, slice("2")), TAVI_E_STATE);
  CHECK_INT(tavi_jsonrpc_err(call, 1, slice("2")), TAVI_E_STATE);
}

static void fail(struct tavi_jsonrpc_call *call, void *user) {
  (void)user;
  calls++;
  CHECK_INT(tavi_jsonrpc_err(call, -7, slice("no \"good\"\n")), 0);
}

static void silent(struct tavi_jsonrpc_call *call, void *user) {
  (void)user;
  calls++;
  CHECK(call->frame.text.len > 0);
}

static void reply(struct tavi_jsonrpc_call *call, void *user) {
  calls += 100;
  (void)user;
  tavi_jsonrpc_ok(call, slice("1")); /* goes nowhere */
}

static const struct tavi_jsonrpc_method methods[] = {
    {"echo", echo, NULL}, {"first.*", echo, (char *)"1"}, {"first.x", echo, (char *)"2"}, {"fail", fail, NULL}, {"silent", silent, NULL},
    {"", reply, NULL},    {"\xc3\xa9", echo, (char *)"3"}, {"????????????????????????????????????????", echo, (char *)"4"},
};

static const struct exchange {
  const char *in, *out;
  unsigned calls;
} exchanges[] = {
    {"{\"id\":1,\"method\":\"echo\",\"params\":[1,{}]}", "{\"id\":1,\"result\":[1,{}]}", 1},
    {"{\"method\":\"echo\",\"params\":1,\"id\": \"a\\\"b\" }", "{\"id\":\"a\\\"b\",\"result\":1}", 1},
    {"{\"id\":null,\"method\":\"echo\",\"params\":1}", "{\"id\":null,\"result\":1}", 1},
    {"{\"method\":\"echo\",\"params\":1}", "", 1},
    {"{\"id\":1,\"method\":\"first.x\"}", "{\"id\":1,\"result\":1}", 1},
    {"{\"id\":1,\"method\":\"\\u00e9\"}", "{\"id\":1,\"result\":3}", 1},
    {"{\"id\":2,\"method\":\"fail\"}", "{\"id\":2,\"error\":{\"code\":-7,\"message\":\"no \\\"good\\\"\\n\"}}", 1},
    {"{\"method\":\"fail\"}", "", 1},
    {"{\"id\":2,\"method\":\"silent\"}", "{\"id\":2,\"error\":{\"code\":-32603,\"message\":\"handler produced no response\"}}", 1},
    {"{\"method\":\"silent\"}", "", 1},
    {"{\"id\":3,\"method\":\"first.a/b\"}", "{\"id\":3,\"error\":{\"code\":-32601,\"message\":\"first.a/b not found\"}}", 0},
    {"{\"id\":3,\"method\":\"\"}", "{\"id\":3,\"error\":{\"code\":-32601,\"message\":\" not found\"}}", 0},
    {"{\"id\":3,\"method\":\"\\u0022\"}", "{\"id\":3,\"error\":{\"code\":-32601,\"message\":\"\\\" not found\"}}", 0},
    {"{\"method\":\"unknown\"}", "", 0},
    {"{\"id\":4,\"result\":1}", "", 100},
    {"{\"id\":4,\"error\":1}", "", 100},
    {"{\"id\":4}", "{\"id\":4,\"error\":{\"code\":-32700,\"message\":\"{\\\"id\\\":4}\"}}", 0},
    {"garbage\xff", "{\"id\":null,\"error\":{\"code\":-32700,\"message\":\"garbage\xef\xbf\xbd\"}}", 0},
    {"", "{\"id\":null,\"error\":{\"code\":-32700,\"message\":\"\"}}", 0},
    {"{\"id\":1,\"method\":\"echo\"",
     "{\"id\":null,\"error\":{\"code\":-32700,\"message\":\"{\\\"id\\\":1,\\\"method\\\":\\\"echo\\\"\"}}", 0},
};

TEST(jsonrpc_process__exchanges_and_every_size_of_room) {
  for (size_t i = 0; i < COUNT(exchanges); i++) {
    const struct exchange *x = &exchanges[i];
    const size_t wanted = strlen(x->out);
    char out[256];
    calls = 0;
    test_note("%s", x->in);
    const struct tavi_slice in = {guard_at_end(x->in, strlen(x->in)), strlen(x->in)};
    const int64_t len = tavi_jsonrpc_process(methods, COUNT(methods), in, out, sizeof out);
    CHECK_BYTES(out, (size_t)(len > 0 ? len : 0), x->out, wanted);
    CHECK_INT(calls, x->calls);
    struct tavi_slice whole;
    if (wanted > 0) CHECK(tavi_json_get((struct tavi_slice){out, wanted}, "$", &whole) == 0 && whole.len == wanted);
  }
}

TEST(jsonrpc_process__room_that_is_too_small__is_told_and_kept) {
  static const char in[] = "{\"id\":2,\"method\":\"nobody\"}";
  char out[128];
  const int64_t len = tavi_jsonrpc_process(NULL, 0, slice(in), out, sizeof out);
  CHECK(len > 0);
  for (size_t cap = 0; cap < (size_t)len; cap++)
    CHECK_INT(tavi_jsonrpc_process(NULL, 0, slice(in), guard_at_end(out, cap), cap), TAVI_E_LIMIT);
  CHECK_INT(tavi_jsonrpc_process(NULL, 0, slice(in), guard_at_end(out, (size_t)len), (size_t)len), len);

  static const char result[] = "{\"id\":1,\"result\":\"x\"}";
  CHECK_INT(tavi_jsonrpc_result(slice("1"), slice("\"x\""), out, sizeof result - 2), TAVI_E_LIMIT);
  CHECK_INT(tavi_jsonrpc_result(slice("1"), slice("\"x\""), guard_at_end(out, sizeof result - 1), sizeof result - 1), sizeof result - 1);
}

TEST(jsonrpc_process__long_names_with_escapes__are_found_or_are_nobodys) {
  static const struct tavi_jsonrpc_method any[] = {{"x#", echo, (char *)"5"}};
  char in[2048], out[4096];
  for (size_t n = 200; n < 300; n++) {
    size_t at = (size_t)snprintf(in, sizeof in, "{\"id\":1,\"method\":\"\\u0078");
    memset(in + at, 'y', n), at += n;
    memcpy(in + at, "\"}", 3);
    test_note("%zu letters", n);
    calls = 0;
    CHECK(tavi_jsonrpc_process(any, 1, slice(in), out, sizeof out) > 0);
    CHECK_INT(calls, n + 1 <= 256);
  }
}
