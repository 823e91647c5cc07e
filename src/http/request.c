/* SPDX-License-Identifier: MIT
 *
 * A call's life: made, judged and copied; it waits for a link, has one, perhaps another; it ends with on_done or is
 * cancelled. Its struct is freed when it has ended and none of its callbacks is running. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/request.h"
#include "net/file.h"

void tavi_http_request_init(struct tavi_http_request *req, const char *method, const char *url) {
  *req = (struct tavi_http_request){
      .method = method,
      .url = url,
      .body_fd = -1,
      .body_length = TAVI_HTTP_CHUNKS,
      .body_bytes_max = (uint64_t) 16 << 20,
      .redirects_max = 10,
      .connect_timeout_ms = 30000,
      .first_byte_timeout_ms = 60000,
      .idle_timeout_ms = 60000,
  };
}

/* ==== bodies ==== */

void tavi__http_body_unref(struct tavi__http_body *body) {
  if (body == NULL || --body->refs > 0) return;
  if (body->release != NULL) body->release(body->release_arg);
  tavi__file_unref(body->file);
  free(body);
}

/* Takes what req says is taken, also on failure. *ret_body NULL: there is none. */
static int new_body(struct tavi_http_request *req, struct tavi__http_body **ret_body) {
  bool is_file = req->body_fd >= 0, is_copied = !is_file && req->release == NULL;
  *ret_body = NULL;
  if (!is_file && req->body.len == 0) {
    if (req->release != NULL) req->release(req->release_arg);
    return 0;
  }
  struct tavi__http_body *body = calloc(1, sizeof(*body) + (is_copied ? req->body.len : 0));
  if (is_file) {
    struct tavi__file *file = tavi__file_new(req->body_fd); /* closes it when it fails */
    if (body != NULL && file != NULL) {
      body->file = file;
    } else {
      tavi__file_unref(file);
      free(body);
      body = NULL;
    }
  } else if (body == NULL) {
    if (req->release != NULL) req->release(req->release_arg);
  } else {
    body->release = req->release;
    body->release_arg = req->release_arg;
    body->bytes = req->body;
    if (is_copied) body->bytes.ptr = memcpy(body + 1, req->body.ptr, req->body.len);
    req->body_length = req->body.len;
  }
  if (body == NULL) return TAVI_E_NOMEM;
  body->refs = 1;
  *ret_body = body;
  return 0;
}

/* What was not looked at because something else is wrong. */
static void release_taken(const struct tavi_http_request *req) {
  if (req->release != NULL) req->release(req->release_arg);
  tavi__fd_close(req->body_fd);
}

/* ==== making one ==== */

static bool is_method(struct tavi_slice m) {
  char padded[64 + TAVI__HTTP1_PAD] = {0};
  if (m.len == 0 || m.len > 64) return false;
  memcpy(padded, m.ptr, m.len);
  if (m.len == 7 && memcmp(m.ptr, "CONNECT", 7) == 0) return false;
  return tavi__http1_is_token((struct tavi_slice){padded, m.len});
}

static bool makes_sense(const struct tavi_http_request *req, const struct tavi_http_call_handlers *handlers) {
  bool is_file = req->body_fd >= 0, is_memory = req->body.len > 0 || req->release != NULL;
  if (handlers == NULL || handlers->on_done == NULL || req->url == NULL || req->method == NULL) return false;
  if (req->url[0] == '\0' || (req->header_count > 0 && req->headers == NULL)) return false;
  if (is_file + is_memory + req->streams_body > 1) return false;
  if (is_file && req->body_length == TAVI_HTTP_CHUNKS) return false;
  if (req->body_length > INT64_MAX && req->body_length != TAVI_HTTP_CHUNKS) return false;
  if (req->total_timeout_ms > TAVI_TIMER_MS_MAX || (req->streams_body && handlers->on_more == NULL)) return false;
  return is_method((struct tavi_slice){req->method, strlen(req->method)});
}

static void free_call(struct tavi_http_call *call) {
  struct tavi_manager *m = call->pool->m;
  tavi__recvbuf_free(&call->kept, m);
  tavi__decoder_free(call->decoder);
  tavi__http_body_unref(call->body);
  free(call->url);
  free(call->next_url);
  free(call->basic);
  free(call->proxy);
  free(call->proxy_basic);
  free(call->err_text);
  free(call);
}

/* The struct with what is copied behind it: the method, and the headers as lines. */
static int new_call(const struct tavi_http_request *req, struct tavi_http_call **ret_call) {
  size_t method_len = strlen(req->method);
  int64_t lines_need = tavi__http_lines_need(req->headers, req->header_count);
  if (lines_need < 0) return (int) lines_need;
  struct tavi_http_call *call = calloc(1, sizeof(*call) + method_len + (size_t) lines_need + TAVI__HTTP1_PAD);
  if (call == NULL) return TAVI_E_NOMEM;

  char *lines = call->text + method_len;
  char *end = tavi__http_lines_put(lines, req->headers, req->header_count, &call->given);
  if (end == NULL) {
    free(call);
    return TAVI_E_ARG;
  }
  call->req = *req;
  call->method = (struct tavi_slice){memcpy(call->text, req->method, method_len), method_len};
  call->lines = (struct tavi_slice){lines, (size_t) (end - lines)};
  if (call->given & TAVI__GIVEN_ACCEPT_ENCODING) call->req.decodes = false; /* then the user decodes */
  *ret_call = call;
  return 0;
}

static void on_total(struct tavi_timer *t, void *user) {
  struct tavi_http_call *call = user;
  char text[80];
  (void) t;
  call->timer = NULL;
  snprintf(text, sizeof(text), "not finished within %llu ms", (unsigned long long) call->req.total_timeout_ms);
  tavi__http_call_fail(call, TAVI_E_TIMEOUT, text);
}

/* Everything is valid: go. What fails from here on but for memory is told by on_done. */
static int begin(struct tavi_http_call *call, const char *url, const char *proxy) {
  const char *why = NULL;
  int err = tavi__http_call_set_url(call, (struct tavi_slice){url, strlen(url)}, &why);
  if (err == 0 && proxy != NULL) err = tavi__http_call_set_proxy(call, proxy, &why);
  if (err == TAVI_E_NOMEM) return err;
  if (err == 0 && call->req.total_timeout_ms != 0)
    err = tavi_timer_start(call->pool->m, call->req.total_timeout_ms, 0, on_total, call, &call->timer);
  if (err == TAVI_E_NOMEM) return err;
  call->pool->call_count++;
  if (err < 0) {
    char text[400];
    snprintf(text, sizeof(text), "%.200s: %s", url, why);
    tavi__http_call_fail_verbatim(call, err, text);
    return 0;
  }
  err = tavi__http_enqueue(call, false);
  if (err < 0) {
    call->pool->call_count--;
    tavi_timer_cancel(call->timer);
  }
  return err;
}

int tavi_http_request(struct tavi_manager *m, const struct tavi_http_request *req,
                      const struct tavi_http_call_handlers *handlers, void *user, struct tavi_http_call **ret_call) {
  struct tavi__http_pool *pool = NULL;
  struct tavi_http_call *call = NULL;
  int err = makes_sense(req, handlers) ? 0 : TAVI_E_ARG;
  if (err == 0 && m->is_closing_all) err = TAVI_E_CLOSED;
  if (err == 0) {
    pool = tavi__http_pool_of(m);
    err = pool != NULL && tavi__http_pool_wake(pool) ? new_call(req, &call) : TAVI_E_NOMEM;
  }
  if (err < 0) {
    release_taken(req);
    return err;
  }
  call->pool = pool;
  call->handlers = handlers;
  call->user = user;
  err = new_body(&call->req, &call->body);
  if (err == 0) err = begin(call, req->url, req->proxy);
  if (err < 0) {
    free_call(call);
    return err;
  }
  if (ret_call != NULL) *ret_call = call;
  return 0;
}

/* ==== ending ==== */

bool tavi__http_call_left(struct tavi_http_call *call) {
  bool is_over = call->is_over;
  if (--call->inside == 0 && is_over) free_call(call);
  return is_over;
}

/* From wherever it is: its host's list, the list of the failed, its link. */
static void detach(struct tavi_http_call *call) {
  struct tavi__http_link *link = call->link;
  if (call->is_failed) tavi__list_remove(&call->node);
  call->is_failed = false;
  tavi__http_dequeue(call);
  tavi_timer_cancel(call->timer);
  call->timer = NULL;
  if (link == NULL) return;
  call->link = NULL;
  link->call = NULL;
  tavi__http_link_retire(link);
}

static void tell_done(struct tavi_http_call *call, const struct tavi_http_result *result) {
  call->is_over = true;
  call->inside++;
  call->pool->call_count--;
  call->handlers->on_done(call, result, call->user);
  tavi__http_call_left(call);
}

void tavi__http_call_done(struct tavi_http_call *call, const struct tavi_http_msg *msg, bool was_kept) {
  struct tavi_http_result result = {0, "", msg, call->url, call->redirects, was_kept};
  detach(call);
  tell_done(call, &result);
}

static void tell_failed(struct tavi_http_call *call) {
  const char *text = call->err_text != NULL ? call->err_text : tavi_err_text(call->err);
  struct tavi_http_result result = {call->err, text, NULL, call->url != NULL ? call->url : "", call->redirects, false};
  detach(call);
  tell_done(call, &result);
}

void tavi__http_tell_failed(struct tavi__http_pool *pool) {
  while (!tavi__list_empty(&pool->failed)) tell_failed(TAVI__CONTAINER(pool->failed.next, struct tavi_http_call, node));
}

void tavi__http_call_fail_verbatim(struct tavi_http_call *call, int err, const char *text) {
  struct tavi__http_pool *pool = call->pool;
  detach(call);
  call->err = err;
  size_t size = strlen(text) + 1;
  call->err_text = malloc(size);
  if (call->err_text != NULL) memcpy(call->err_text, text, size);
  if (pool->watch == NULL) {
    tell_failed(call);
    return;
  }
  call->is_failed = true;
  tavi__list_append(&pool->failed, &call->node);
  tavi__source_again(&pool->watch->src);
}

void tavi__http_call_fail(struct tavi_http_call *call, int err, const char *what) {
  char text[600];
  int origin_len = (int) (call->origin_len < 160 ? call->origin_len : 160);
  snprintf(text, sizeof(text), "%.*s: %.400s", origin_len, call->url, what);
  tavi__http_call_fail_verbatim(call, err, text);
}

void tavi_http_call_cancel(struct tavi_http_call *call) {
  if (call == NULL || call->is_over) return;
  detach(call);
  call->is_over = true;
  call->pool->call_count--;
  if (call->inside == 0) free_call(call);
}

/* ==== asking ==== */

size_t tavi_http_call_pending(const struct tavi_http_call *call) {
  return call->link == NULL ? 0 : call->link->c->out.bytes;
}
