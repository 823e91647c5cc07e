/* SPDX-License-Identifier: MIT
 *
 * What the tests of requests share, on top of http_rig.h: a listening socket whose connections the test itself serves, and
 * calls that note everything that they are told. */
#ifndef TAVI_TESTS_E2E_REQUEST_RIG_H
#define TAVI_TESTS_E2E_REQUEST_RIG_H

#include "e2e/http_rig.h"

#include <strings.h>
#include <sys/mman.h>

static int listening = -1;
static uint16_t port;
static char url_text[256];

UNUSED const char *url(const char *target) {
  snprintf(url_text, sizeof(url_text), "http://127.0.0.1:%u%s", port, target);
  return url_text;
}

UNUSED int listen_any(uint16_t *ret_port) {
  struct sockaddr_in a = {.sin_family = AF_INET};
  socklen_t len = sizeof(a);
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), small = 32 * 1024;
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)); /* uploads shall be held back soon */
  if (bind(fd, (struct sockaddr *) &a, sizeof(a)) != 0 || listen(fd, 1024) != 0) abort();
  getsockname(fd, (struct sockaddr *) &a, &len);
  *ret_port = ntohs(a.sin_port);
  nonblocking(fd);
  return fd;
}

UNUSED void start(void) {
  rig_start();
  listening = listen_any(&port);
}

UNUSED void stop(void) {
  struct tavi_http_client_stats stats;
  tavi_http_client_stats(rig.m, &stats);
  CHECK_INT(stats.waiting, 0);
  rig_stop();
  close(listening);
}

static struct tavi_http_client_stats stats(void) {
  struct tavi_http_client_stats s;
  tavi_http_client_stats(rig.m, &s);
  return s;
}

/* ==== calls ==== */

struct ask {
  struct tavi_http_call *call;
  unsigned done, headers, datas, interims, mores;
  int err, status;
  char text[700], last_url[300], trailer[64];
  char *body;
  size_t len;
  bool was_kept, is_freed;
  unsigned redirects;
  void (*on_headers)(struct ask *a);
  void (*on_data)(struct ask *a);
  void (*on_more)(struct ask *a);
  void (*on_interim)(struct ask *a);
  void (*on_done)(struct ask *a);
};

UNUSED void add(struct ask *a, struct tavi_slice data) {
  if (data.len == 0) return;
  a->body = realloc(a->body, a->len + data.len + 1);
  if (a->body == NULL) abort();
  memcpy(a->body + a->len, data.ptr, data.len);
  a->len += data.len;
  a->body[a->len] = '\0';
}

UNUSED void ask_on_interim(struct tavi_http_call *call, const struct tavi_http_msg *msg, void *user) {
  struct ask *a = user;
  (void) call, (void) msg;
  a->interims++;
  if (a->on_interim != NULL) a->on_interim(a);
}

UNUSED void ask_on_headers(struct tavi_http_call *call, const struct tavi_http_msg *msg, void *user) {
  struct ask *a = user;
  CHECK(call == a->call && a->done == 0);
  a->headers++;
  a->status = msg->status;
  if (a->on_headers != NULL) a->on_headers(a);
}

UNUSED void ask_on_data(struct tavi_http_call *call, struct tavi_slice data, void *user) {
  struct ask *a = user;
  CHECK(call == a->call && a->done == 0 && a->headers == 1 && data.len > 0);
  a->datas++;
  add(a, data);
  if (a->on_data != NULL) a->on_data(a);
}

UNUSED void ask_on_more(struct tavi_http_call *call, void *user) {
  struct ask *a = user;
  CHECK(call == a->call && a->done == 0);
  a->mores++;
  if (a->on_more != NULL) a->on_more(a);
}

UNUSED void ask_on_done(struct tavi_http_call *call, const struct tavi_http_result *r, void *user) {
  struct ask *a = user;
  CHECK(call == a->call && a->done == 0);
  CHECK((r->err == 0) == (r->msg != NULL));
  a->done++;
  a->err = r->err;
  a->was_kept = r->was_kept;
  a->redirects = r->redirects;
  snprintf(a->text, sizeof(a->text), "%s", r->text);
  snprintf(a->last_url, sizeof(a->last_url), "%s", r->url);
  if (r->msg != NULL) {
    a->status = r->msg->status;
    if (r->msg->body.len > 0) CHECK(a->datas == 0);
    add(a, r->msg->body);
    if (r->msg->trailer_count > 0)
      snprintf(a->trailer, sizeof(a->trailer), "%.*s", (int) r->msg->trailers[0].value.len, r->msg->trailers[0].value.ptr);
  }
  if (a->on_done != NULL) a->on_done(a);
  a->call = NULL;
}

UNUSED const struct tavi_http_call_handlers whole = {
    .on_interim = ask_on_interim, .on_headers = ask_on_headers, .on_more = ask_on_more, .on_done = ask_on_done};
UNUSED const struct tavi_http_call_handlers pieces = {.on_interim = ask_on_interim,
                                                      .on_headers = ask_on_headers,
                                                      .on_data = ask_on_data,
                                                      .on_more = ask_on_more,
                                                      .on_done = ask_on_done};

static struct tavi_http_request req; /* of the next call; set by new_req() */

static struct tavi_http_request *new_req(const char *method, const char *target) {
  tavi_http_request_init(&req, method, strstr(target, "://") != NULL ? target : url(target));
  return &req;
}

UNUSED int send_req(struct ask *a, const struct tavi_http_call_handlers *handlers) {
  return tavi_http_request(rig.m, &req, handlers, a, &a->call);
}

UNUSED void get(struct ask *a, const char *target, const struct tavi_http_call_handlers *handlers) {
  new_req("GET", target);
  CHECK_INT(send_req(a, handlers), 0);
}

UNUSED void forget(struct ask *a) {
  free(a->body);
  memset(a, 0, sizeof(*a));
}

UNUSED void failed(struct ask *a, int err, const char *part) {
  UNTIL(a->done == 1);
  CHECK_INT(a->err, err);
  if (!CHECK(strstr(a->text, part) != NULL)) printf("  the text is: %s\n", a->text);
  CHECK(strstr(a->text, "127.0.0.1") != NULL || strstr(a->text, "http") != NULL);
}

UNUSED void got(struct ask *a, int status, const char *body) {
  UNTIL(a->done == 1);
  if (!CHECK_INT(a->err, 0)) printf("  the text is: %s\n", a->text);
  CHECK_INT(a->status, status);
  CHECK_BYTES(a->body != NULL ? a->body : "", a->len, body, strlen(body));
}

/* ==== servers ==== */

static struct peer accept_from(int fd) {
  struct peer p = {.fd = -1};
  int one = 1;
  UNTIL((p.fd = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0);
  setsockopt(p.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
  return p;
}

static struct peer accept_peer(void) { return accept_from(listening); }

/* Wait for a head; the text behind the last one that was taken, which ends with it. */
UNUSED const char *request(struct peer *p) {
  const char *end = NULL;
  UNTIL((peer_pump(p), p->bytes != NULL && (end = strstr(p->bytes + p->at, "\r\n\r\n")) != NULL));
  if (end == NULL) return "";
  const char *head = p->bytes + p->at;
  p->at = (size_t) (end + 4 - p->bytes);
  return head;
}

UNUSED bool has_line(const char *head, const char *line) {
  const char *end = strstr(head, "\r\n\r\n"), *found = strcasestr(head, line);
  return found != NULL && end != NULL && found <= end;
}

UNUSED void hang_up(struct peer *p) {
  rig_settle();
  peer_pump(p);
  peer_close(p);
}

#define OK(body_text) "HTTP/1.1 200 OK\r\nContent-Length: " body_text

/* One request on its own connection, answered with these bytes; then the server closes when `closes`. */
UNUSED void serve(struct ask *a, const struct tavi_http_call_handlers *handlers, const char *response, size_t len,
                  bool slowly, bool closes) {
  start();
  get(a, "/x", handlers);
  struct peer p = accept_peer();
  CHECK(strncmp(request(&p), "GET /x HTTP/1.1\r\nHost: 127.0.0.1:", 33) == 0);
  if (slowly)
    peer_send_slowly(&p, response, len);
  else
    peer_send_bytes(&p, response, len);
  if (closes) hang_up(&p);
  UNTIL(a->done == 1);
  if (!closes) peer_close(&p);
}

UNUSED const struct {
  const char *response, *body;
  int status;
  bool closes;
} framings[] = {
    {OK("5\r\n\r\nhello"), "hello", 200, false},
    {OK("0\r\n\r\n"), "", 200, false},
    {"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno", "no", 404, false},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", "abcde", 200, false},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nDigest: y\r\n\r\n", "abc", 200, false},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "", 200, false},
    {"HTTP/1.1 200 OK\r\n\r\nuntil the end", "until the end", 200, true},
    {"HTTP/1.0 200 OK\r\n\r\n", "", 200, true},
    {"HTTP/1.1 204 No Content\r\n\r\n", "", 204, false},
    {"HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n", "", 304, false},
    {"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na", "a", 200, false},
    {"HTTP/1.1 302 Found\r\nContent-Length: 1\r\n\r\na", "a", 302, false}, /* there is no Location */
};

enum { FRAMINGS = sizeof(framings) / sizeof(framings[0]) };

UNUSED void answer(struct peer *p, const char *target, const char *body) {
  char text[300];
  const char *head = request(p);
  if (!CHECK(strstr(head, target) != NULL)) printf("  it is: %s\n", head);
  snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s", strlen(body), body);
  peer_send(p, text);
}

UNUSED void release(void *arg) { ++*(unsigned *) arg; }

#endif
