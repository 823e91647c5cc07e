/* SPDX-License-Identifier: MIT
 *
 * Remote calls as JSON texts, after JSON-RPC 2.0 with two differences: frames need no "jsonrpc" member and replies have
 * none, and there are no batches. Texts in, texts out: over what they travel is up to the program.
 *
 *     static void twice(struct tavi_jsonrpc_call *call, void *user) {
 *       struct tavi_slice value, bad = {"a short value, please", 21};
 *       char pair[512];
 *       if (tavi_json_get(call->frame.params, "$[0]", &value) < 0 || value.len > 200) {
 *         tavi_jsonrpc_err(call, TAVI_JSONRPC_INVALID_PARAMS, bad);
 *         return;
 *       }
 *       int n = snprintf(pair, sizeof pair, "[%.*s,%.*s]", (int)value.len, value.ptr, (int)value.len, value.ptr);
 *       tavi_jsonrpc_ok(call, (struct tavi_slice){pair, (size_t)n});
 *     }
 *     static const struct tavi_jsonrpc_method methods[] = {{"twice", twice, NULL}};
 *     int64_t len = tavi_jsonrpc_process(methods, 1, text, reply, sizeof reply);
 */
#ifndef TAVI_JSONRPC_H
#define TAVI_JSONRPC_H

#include "tavi/base.h"

TAVI_BEGIN_DECLS

enum {
  TAVI_JSONRPC_PARSE_ERROR = -32700,      /* no JSON, or no call; the message is the frame */
  TAVI_JSONRPC_METHOD_NOT_FOUND = -32601,
  TAVI_JSONRPC_INVALID_PARAMS = -32602,   /* for handlers */
  TAVI_JSONRPC_INTERNAL_ERROR = -32603    /* the handler has not answered */
};

/* ==== one frame ==== */

/* The members of a frame as JSON texts, borrowed from it; those that are missing are empty. */
struct tavi_jsonrpc_frame {
  struct tavi_slice text;   /* the whole */
  struct tavi_slice id;     /* empty: the sender wants no reply */
  struct tavi_slice method; /* a string with its quotes, see tavi_json_get_str(); empty: a reply to a call of ours */
  struct tavi_slice params;
  struct tavi_slice result, error; /* of a reply */
};

/* Returns: 0; TAVI_E_PROTOCOL: not one JSON value and no more, or neither a call nor a reply; TAVI_E_LIMIT: more nested
 * than tavi/json.h reads. The frame is filled in any case, as far as could be read: an error can name the id. */
TAVI_API int tavi_jsonrpc_parse(struct tavi_slice text, struct tavi_jsonrpc_frame *ret_frame);

/* Write {"id":id,"result":result}. Both are JSON texts, copied as they are. Returns the number of bytes, at most
 * 64 + id.len + result.len; TAVI_E_LIMIT (cap). */
TAVI_API int64_t tavi_jsonrpc_result(struct tavi_slice id, struct tavi_slice result, char *out, size_t cap);

/* Write {"id":id,"error":{"code":code,"message":"message"}}; message is text. An empty id becomes null. Returns as
 * above, at most 64 + id.len + 6 * message.len. */
TAVI_API int64_t tavi_jsonrpc_error(struct tavi_slice id, int64_t code, struct tavi_slice message, char *out,
                                    size_t cap);

/* ==== calls and their handlers ==== */

/* A call while its handler runs. */
struct tavi_jsonrpc_call {
  struct tavi_jsonrpc_frame frame;
  char *out;   /* private */
  size_t cap;  /* private */
  int64_t len; /* private */
  int is_answered; /* private */
};

typedef void (*tavi_jsonrpc_fn)(struct tavi_jsonrpc_call *call, void *user);

struct tavi_jsonrpc_method {
  const char *pattern; /* as tavi_match(), or "": replies to calls of ours */
  tavi_jsonrpc_fn fn;
  void *user;
};

/* Answer the call. Returns: 0; TAVI_E_STATE: it is answered already; TAVI_E_LIMIT: the reply does not fit. */
TAVI_API int tavi_jsonrpc_ok(struct tavi_jsonrpc_call *call, struct tavi_slice result);
TAVI_API int tavi_jsonrpc_err(struct tavi_jsonrpc_call *call, int64_t code, struct tavi_slice message);

/* Find the first method that matches a frame's and let it answer.
 *
 * A call of an unknown method and one that its handler does not answer are answered with an error, and so is what is no
 * frame. Never answered are calls without an id, and replies.
 * Calls back: at most one handler.
 * Returns: the length of the reply in out, 0 for none; TAVI_E_LIMIT: it does not fit, though the handler has run. */
TAVI_API int64_t tavi_jsonrpc_process(const struct tavi_jsonrpc_method *methods, size_t count, struct tavi_slice text,
                                      char *out, size_t cap);

TAVI_END_DECLS

#endif
