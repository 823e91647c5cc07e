/* SPDX-License-Identifier: MIT
 *
 * Bytes that the user writes by hand on an HTTP connection, followed for their framing. A server must know when such a
 * response is complete, because the next request waits for that; a client must know what was asked, because the answer
 * to a HEAD has no body. Nothing is changed on the way, with one exception: the body of an answer to a HEAD is dropped.
 *
 * Bytes that are no HTTP are let through: then a server's answer ends with the connection. */
#include <stdlib.h>
#include <string.h>

#include "http/http.h"

enum { FOLLOWED_HEADERS = 128, FOLLOWED_HEAD_BYTES = 64 * 1024, QUESTIONS_MAX = 32 };

static const struct tavi__http1_limits limits = {FOLLOWED_HEAD_BYTES, FOLLOWED_HEAD_BYTES, FOLLOWED_HEADERS};

/* ==== heads that are written in parts ==== */

/* All of the head that is there, with `data` behind what came before. NULL ptr: out of memory. */
static struct tavi_slice gather(struct tavi__http_more *more, const char *data, size_t len) {
  if (more->out_len == 0) return (struct tavi_slice){data, len};

  if (more->out_cap - more->out_len < len) {
    size_t cap = more->out_len + len > FOLLOWED_HEAD_BYTES ? more->out_len + len : FOLLOWED_HEAD_BYTES;
    char *bigger = realloc(more->out_head, cap);
    if (bigger == NULL) return (struct tavi_slice){NULL, 0};
    more->out_head = bigger;
    more->out_cap = cap;
  }
  memcpy(more->out_head + more->out_len, data, len);
  more->out_len += len;
  return (struct tavi_slice){more->out_head, more->out_len};
}

/* It is not complete: remember it. Returns 0, TAVI_E_NOMEM, or TAVI_E_LIMIT: it is far too long. */
static int remember(struct tavi__http_more *more, struct tavi_slice head) {
  if (head.len > FOLLOWED_HEAD_BYTES) return TAVI_E_LIMIT;
  if (more->out_len > 0) return 0;
  if (more->out_cap < head.len) {
    char *bigger = realloc(more->out_head, FOLLOWED_HEAD_BYTES);
    if (bigger == NULL) return TAVI_E_NOMEM;
    more->out_head = bigger;
    more->out_cap = FOLLOWED_HEAD_BYTES;
  }
  memcpy(more->out_head, head.ptr, head.len);
  more->out_len = head.len;
  return 0;
}

/* Go through chunks. The decoder takes a trailer section only whole: what there is of one is remembered as a head is.
 * Returns the bytes of `data` up to the end of the last chunk, len when it has not come; TAVI_E_NOMEM; TAVI_E_PROTOCOL:
 * they are none. */
static int64_t follow_chunks(struct tavi__http_more *more, const char *data, size_t len, bool *ret_is_end) {
  size_t before = more->out_len, at = 0;
  struct tavi_slice in = gather(more, data, len);
  *ret_is_end = false;
  if (in.ptr == NULL) return TAVI_E_NOMEM;
  while (at < in.len) {
    enum tavi__http1_chunk_event event;
    struct tavi_slice unused;
    size_t used = 0;
    int r = tavi__http1_chunk(&more->out, in.ptr + at, in.len - at, TAVI__HTTP_TRAILER_BYTES, &used, &event, &unused);
    if (r < 0) return TAVI_E_PROTOCOL;
    at += used;
    if (r == TAVI_WIRE_MORE && at < in.len) {
      int err = remember(more, (struct tavi_slice){in.ptr + at, in.len - at});
      return err < 0 ? err : (int64_t) len;
    }
    if (r != TAVI_WIRE_MORE && event == TAVI__HTTP1_TRAILERS) {
      more->out_len = 0;
      *ret_is_end = true;
      return (int64_t) (at - before);
    }
  }
  return (int64_t) len;
}

/* ==== a server's responses ==== */

/* No use in following: the answer ends when the user closes. */
static int let_through(struct tavi__http *h) {
  h->answer = TAVI__ANSWER_UNTIL_CLOSE;
  h->is_followed_raw = true;
  h->keep_alive = false;
  return 0;
}

static void take_head(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  struct tavi__http *h = tavi__http_of(c);
  if (!msg->keep_alive || tavi__http_must_close(c)) h->keep_alive = false;
  h->becomes_raw = msg->status == 101 || (h->question == TAVI__HTTP1_CONNECT && msg->status / 100 == 2);
  h->u.out_left = 0;
  switch (msg->framing) {
    case TAVI_HTTP_LENGTH: h->u.out_left = msg->content_length; break;
    case TAVI_HTTP_CHUNKED: h->answer = TAVI__ANSWER_CHUNKED; return;
    case TAVI_HTTP_UNTIL_CLOSE: h->answer = TAVI__ANSWER_UNTIL_CLOSE; return;
    case TAVI_HTTP_NO_BODY: break;
  }
  h->answer = TAVI__ANSWER_LENGTH;
}

/* Bytes behind the last chunk are refused, and then nothing was followed. */
static int server_chunks(struct tavi_conn *c, const char *data, size_t len, bool *ret_is_end) {
  struct tavi__http *h = tavi__http_of(c);
  struct tavi__http_more *more = tavi__http_more(h);
  if (more == NULL) return TAVI_E_NOMEM;

  struct tavi__http1_chunks before = more->out;
  size_t remembered = more->out_len;
  int64_t used = follow_chunks(more, data, len, ret_is_end);
  if (used < 0) return used == TAVI_E_NOMEM ? TAVI_E_NOMEM : let_through(h);
  if ((size_t) used == len) return 0;
  more->out = before;
  more->out_len = remembered;
  return TAVI_E_STATE;
}

static int server_body(struct tavi_conn *c, const char *data, uint64_t len) {
  struct tavi__http *h = tavi__http_of(c);
  bool is_end = false;
  int may_chunks;
  int may = h->question == TAVI__HTTP1_HEAD ? 1 : 0; /* a response to HEAD has no body, whoever writes it */
  switch ((enum tavi__http_answer) h->answer) {
    case TAVI__ANSWER_LENGTH:
      if (len > h->u.out_left) return TAVI_E_STATE;
      h->u.out_left -= len;
      is_end = h->u.out_left == 0;
      break;
    case TAVI__ANSWER_CHUNKED:
      if (data == NULL) return TAVI_E_STATE;
      may_chunks = server_chunks(c, data, (size_t) len, &is_end);
      if (may_chunks < 0 || h->is_followed_raw) return may_chunks;
      break;
    case TAVI__ANSWER_UNTIL_CLOSE: return may;
    case TAVI__ANSWER_IDLE:
    case TAVI__ANSWER_NONE:
    case TAVI__ANSWER_DONE: return TAVI_E_STATE;
  }
  if (is_end) tavi__http_answered(c);
  return may;
}

/* The head is complete, with len bytes of data and the first `at` of them belonging to it. */
static int after_head(struct tavi_conn *c, const char *data, size_t len, size_t at) {
  struct tavi__http *h = tavi__http_of(c);
  bool has_more = at < len;
  if (h->answer != TAVI__ANSWER_LENGTH || h->u.out_left > 0)
    return has_more ? server_body(c, data + at, len - at) : 0;

  if (h->becomes_raw) has_more = false; /* those are the other protocol's */
  if (has_more && h->question != TAVI__HTTP1_HEAD) return TAVI_E_STATE;
  int err = has_more ? tavi__conn_queue(c, data, at) : 0; /* without the body */
  if (err < 0) return err;
  tavi__http_answered(c);
  return has_more ? 1 : 0;
}

static int server_head(struct tavi_conn *c, const char *data, size_t len) {
  struct tavi__http *h = tavi__http_of(c);
  struct tavi_http_header headers[FOLLOWED_HEADERS];
  struct tavi_http_msg msg;
  struct tavi__http_more *more = tavi__http_more(h);
  if (more == NULL) return TAVI_E_NOMEM;

  size_t remembered = more->out_len, at = 0;
  bool is_interim = true;
  for (; is_interim && at < len; is_interim = msg.status < 200 && msg.status != 101) {
    size_t before = more->out_len, used = 0;
    struct tavi_slice head = gather(more, data + at, len - at);
    if (head.ptr == NULL) return TAVI_E_NOMEM;
    enum tavi__http1_question question = (enum tavi__http1_question) h->question;
    int r = tavi__http1_response(head.ptr, head.len, question, &limits, headers, &used, &msg);
    if (r == TAVI_WIRE_MORE) {
      int err = remember(more, head);
      return err == TAVI_E_LIMIT ? let_through(h) : err;
    }
    if (r < 0) return let_through(h);
    at += used - before;
    more->out_len = 0;
    if (msg.status == 100) h->expects_continue = false; /* told */
  }
  if (is_interim) return 0;

  bool keep_alive = h->keep_alive;
  take_head(c, &msg);
  int may = after_head(c, data, len, at);
  if (may < 0) { /* nothing of it is sent, and the answer has not begun */
    h->answer = TAVI__ANSWER_NONE;
    h->keep_alive = keep_alive;
    h->becomes_raw = false;
    more->out_len = remembered;
  }
  return may;
}

/* Who cannot be followed any more for want of memory cannot be served either. */
static int or_fail(struct tavi_conn *c, int may) {
  if (may == TAVI_E_NOMEM) tavi__conn_fail_with(c, may, "cannot follow what is sent");
  return may;
}

/* Bytes of the body that an answer to a HEAD does not have, which the user sends as if it had; they may come when the
 * next request is there already. Behind them may stand the beginning of its answer. */
static int drop_owed(struct tavi_conn *c, const char *data, uint64_t len) {
  struct tavi__http_more *more = tavi__http_of(c)->more;
  uint64_t owed = len < more->head_owed ? len : more->head_owed;
  more->head_owed -= owed;
  if (owed == len) return 1;
  if (data == NULL) return TAVI_E_STATE; /* a file range cannot be split */

  data += owed;
  len -= owed;
  int may = tavi__http_server_output(c, data, len);
  if (may == 0) may = tavi__conn_queue(c, data, (size_t) len);
  return may < 0 ? may : 1;
}

int tavi__http_server_output(struct tavi_conn *c, const char *data, uint64_t len) {
  struct tavi__http *h = tavi__http_of(c);
  if (h->more != NULL && h->more->head_owed > 0) return drop_owed(c, data, len);
  if (tavi__http_is_compressed(c)) return TAVI_E_STATE; /* the peer could not decode what follows */
  if (h->is_followed_raw) return 0;
  if (tavi__http_is_head_done(c)) return 1;
  if (h->answer == TAVI__ANSWER_IDLE) return h->keep_alive ? TAVI_E_STATE : 0; /* false: before the first request */
  if (h->answer != TAVI__ANSWER_NONE) return or_fail(c, server_body(c, data, len));
  return data == NULL ? TAVI_E_STATE : or_fail(c, server_head(c, data, (size_t) len));
}

/* ==== a client's requests ==== */

enum tavi__http1_question tavi__http_question(struct tavi_conn *c) {
  const struct tavi__http *h = tavi__http_of(c);
  if (h->more == NULL || h->more->question_count == 0) return (enum tavi__http1_question) h->question; /* a link's */
  return (enum tavi__http1_question)(h->u.questions & 3);
}

void tavi__http_question_done(struct tavi_conn *c) {
  struct tavi__http *h = tavi__http_of(c);
  if (h->more == NULL || h->more->question_count == 0) return;
  h->u.questions >>= 2;
  if (--h->more->question_count == 0 && h->more->out_len == 0) h->has_asked = false;
}

static enum tavi__http1_question question_of(struct tavi_slice head) {
  if (head.len > 5 && memcmp(head.ptr, "HEAD ", 5) == 0) return TAVI__HTTP1_HEAD;
  if (head.len > 8 && memcmp(head.ptr, "CONNECT ", 8) == 0) return TAVI__HTTP1_CONNECT;
  return TAVI__HTTP1_OTHER;
}

static bool push_question(struct tavi__http *h, enum tavi__http1_question q) {
  if (h->more->question_count == QUESTIONS_MAX) return false;
  h->u.questions |= (uint64_t) q << (2 * h->more->question_count++);
  return true;
}

/* The head of a request. Returns the bytes of `data` that belong to it, or an error. */
static int64_t client_head(struct tavi__http *h, const char *data, size_t len) {
  struct tavi_http_header headers[FOLLOWED_HEADERS];
  struct tavi_http_msg msg;
  struct tavi__http_more *more = h->more;
  size_t before = more->out_len, used = 0;
  struct tavi_slice head = gather(more, data, len);
  if (head.ptr == NULL) return TAVI_E_NOMEM;

  int r = tavi__http1_request(head.ptr, head.len, &limits, headers, &used, &msg);
  if (r == TAVI_WIRE_MORE) {
    int err = remember(more, head);
    return err < 0 ? err : (int64_t) len;
  }
  if (r < 0) { /* not to our taste; what counts is the method, and where it ends */
    const char *end = memmem(head.ptr, head.len, "\r\n\r\n", 4);
    if (end == NULL) {
      int err = remember(more, head);
      return err < 0 ? err : (int64_t) len;
    }
    used = (size_t) (end + 4 - head.ptr);
    h->is_followed_raw = true; /* the length of its body is not known, so nothing behind it is either */
  } else {
    more->out_body = msg.framing == TAVI_HTTP_LENGTH ? msg.content_length : 0;
    more->out_is_chunked = msg.framing == TAVI_HTTP_CHUNKED;
    more->out = (struct tavi__http1_chunks){0};
  }
  if (!push_question(h, question_of(head))) return TAVI_E_STATE; /* too many without a response */
  more->out_len = 0;
  return (int64_t) (used - before);
}

static int follow_requests(struct tavi__http *h, const char *data, uint64_t len) {
  struct tavi__http_more *more = h->more;
  h->has_asked = true;
  while (len > 0 && !h->is_followed_raw) {
    int64_t used;
    if (more->out_body > 0) {
      used = (int64_t) (len < more->out_body ? len : more->out_body);
      more->out_body -= (uint64_t) used;
    } else if (data == NULL) {
      return TAVI_E_STATE; /* a file where a head belongs */
    } else if (more->out_is_chunked) {
      bool is_end;
      used = follow_chunks(more, data, (size_t) len, &is_end);
      if (used < 0) return used == TAVI_E_NOMEM ? TAVI_E_NOMEM : TAVI_E_STATE;
      more->out_is_chunked = !is_end;
    } else {
      used = client_head(h, data, (size_t) len);
      if (used < 0) return (int) used;
    }
    if (data != NULL) data += used;
    len -= (uint64_t) used;
  }
  return 0;
}

/* What is refused is not sent, not even its beginning: then it was not followed either. */
int tavi__http_client_output(struct tavi_conn *c, const char *data, uint64_t len) {
  struct tavi__http *h = tavi__http_of(c);
  if (tavi__http_more(h) == NULL) return or_fail(c, TAVI_E_NOMEM);

  struct tavi__http h_before = *h;
  struct tavi__http_more before = *h->more;
  int err = follow_requests(h, data, len);
  if (err == 0) return 0;

  before.out_head = h->more->out_head; /* may have grown */
  before.out_cap = h->more->out_cap;
  *h = h_before;
  *h->more = before;
  return or_fail(c, err);
}
