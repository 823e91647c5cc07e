/* SPDX-License-Identifier: MIT
 *
 * Remote calls: see tavi/jsonrpc.h. A frame is checked as a whole before anything is taken from it, so that no handler
 * runs for half of one. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "tavi/jsonrpc.h"
#include "tavi/text.h"
#include "wire/json.h"

static struct tavi_slice text_of(const char *text) { return (struct tavi_slice){text, strlen(text)}; }

/* ==== one frame ==== */

static struct tavi_slice member(struct tavi_slice text, const char *path) {
  struct tavi_slice value = {NULL, 0};
  tavi_json_get(text, path, &value);
  return value;
}

int tavi_jsonrpc_parse(struct tavi_slice text, struct tavi_jsonrpc_frame *ret_frame) {
  struct tavi_jsonrpc_frame f = {.text = text};
  int err = tavi__json_check(text);
  if (err == 0) {
    f.id = member(text, "$.id");
    f.method = member(text, "$.method");
    f.params = member(text, "$.params");
    f.result = member(text, "$.result");
    f.error = member(text, "$.error");
    bool is_call = f.method.len > 0 && f.method.ptr[0] == '"';
    bool is_reply = f.method.len == 0 && (f.result.len > 0 || f.error.len > 0);
    if (!is_call && !is_reply) err = TAVI_E_PROTOCOL;
  }
  *ret_frame = f;
  return err;
}

static void put_id(struct tavi__json_out *out, struct tavi_slice id) {
  tavi__json_put(out, text_of("{\"id\":"));
  tavi__json_put(out, id.len > 0 ? id : text_of("null"));
}

static int64_t written(const struct tavi__json_out *out) {
  return out->len <= out->cap ? (int64_t) out->len : TAVI_E_LIMIT;
}

int64_t tavi_jsonrpc_result(struct tavi_slice id, struct tavi_slice result, char *out, size_t cap) {
  struct tavi__json_out o = {out, cap, 0};
  put_id(&o, id);
  tavi__json_put(&o, text_of(",\"result\":"));
  tavi__json_put(&o, result);
  tavi__json_put(&o, text_of("}"));
  return written(&o);
}

/* message and what may be to follow it */
static int64_t put_error(struct tavi_slice id, int64_t code, struct tavi_slice message, const char *more, char *out,
                         size_t cap) {
  struct tavi__json_out o = {out, cap, 0};
  char number[24];
  put_id(&o, id);
  snprintf(number, sizeof(number), "%" PRId64, code);
  tavi__json_put(&o, text_of(",\"error\":{\"code\":"));
  tavi__json_put(&o, text_of(number));
  tavi__json_put(&o, text_of(",\"message\":\""));
  tavi__json_put_escaped(&o, message);
  tavi__json_put_escaped(&o, text_of(more));
  tavi__json_put(&o, text_of("\"}}"));
  return written(&o);
}

int64_t tavi_jsonrpc_error(struct tavi_slice id, int64_t code, struct tavi_slice message, char *out, size_t cap) {
  return put_error(id, code, message, "", out, cap);
}

/* ==== calls and their handlers ==== */

/* Keep what was written as the answer; a call without an id gets none. */
static int answer(struct tavi_jsonrpc_call *call, int64_t len) {
  call->is_answered = 1;
  call->len = call->frame.id.len > 0 ? len : 0;
  return call->len < 0 ? (int) call->len : 0;
}

int tavi_jsonrpc_ok(struct tavi_jsonrpc_call *call, struct tavi_slice result) {
  if (call->is_answered) return TAVI_E_STATE;
  return answer(call, tavi_jsonrpc_result(call->frame.id, result, call->out, call->cap));
}

int tavi_jsonrpc_err(struct tavi_jsonrpc_call *call, int64_t code, struct tavi_slice message) {
  if (call->is_answered) return TAVI_E_STATE;
  return answer(call, tavi_jsonrpc_error(call->frame.id, code, message, call->out, call->cap));
}

/* The method's name, decoded to buf where it has escapes. A longer one stays as it is, and is nobody's. */
static struct tavi_slice method_name(struct tavi_slice method, char buf[TAVI__JSONRPC_METHOD_BYTES]) {
  struct tavi_slice name = {method.ptr + 1, method.len - 2};
  if (memchr(name.ptr, '\\', name.len) == NULL) return name;
  int64_t len = tavi_json_get_str(method, "$", buf, TAVI__JSONRPC_METHOD_BYTES);
  return len < 0 ? name : (struct tavi_slice){buf, (size_t) len};
}

static bool is_for(const struct tavi_jsonrpc_method *m, bool is_reply, struct tavi_slice name) {
  if (m->pattern[0] == '\0' || is_reply) return m->pattern[0] == '\0' && is_reply;
  return tavi_match(name, text_of(m->pattern), NULL, 0) >= 0;
}

int64_t tavi_jsonrpc_process(const struct tavi_jsonrpc_method *methods, size_t count, struct tavi_slice text, char *out,
                             size_t cap) {
  struct tavi_jsonrpc_call call = {.out = out, .cap = cap};
  char buf[TAVI__JSONRPC_METHOD_BYTES];
  struct tavi_slice name = {NULL, 0};
  int err = tavi_jsonrpc_parse(text, &call.frame);
  if (err < 0) return tavi_jsonrpc_error(call.frame.id, TAVI_JSONRPC_PARSE_ERROR, text, out, cap);

  bool is_reply = call.frame.method.len == 0;
  if (!is_reply) name = method_name(call.frame.method, buf);
  size_t i = 0;
  while (i < count && !is_for(&methods[i], is_reply, name)) i++;
  if (i < count) methods[i].fn(&call, methods[i].user);
  if (is_reply) return 0;
  if (i < count) tavi_jsonrpc_err(&call, TAVI_JSONRPC_INTERNAL_ERROR, text_of("handler produced no response"));
  else answer(&call, put_error(call.frame.id, TAVI_JSONRPC_METHOD_NOT_FOUND, name, " not found", out, cap));
  return call.len;
}
