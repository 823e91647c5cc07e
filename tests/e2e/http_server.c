/* SPDX-License-Identifier: MIT
 *
 * The server that the Python tests drive with other people's programs: prints its port, serves until its input ends.
 *
 *   /echo         the body; /stream/echo: while it arrives
 *   /bytes/N      N bytes; /chunks/N: as a stream that waits for the peer
 *   /status/N     that status with a short body
 *   /later        answered by a timer
 *   /trailers     a stream with a trailer
 *   /slow-body    refuses what has no length (411)
 *   /headers      the head of the request, as it came
 *   /file         its own first 10,000 bytes, by sendfile
 *   /compressed/X as /X, compressed when the client accepts that
 *   CONNECT       a tunnel that echoes */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tavi.h"

#define TEXT(text) ((struct tavi_slice){(text), sizeof(text) - 1})

static struct tavi_manager *m;

static bool begins(struct tavi_slice s, const char *with, struct tavi_slice *ret_rest) {
  size_t len = strlen(with);
  if (s.len < len || memcmp(s.ptr, with, len) != 0) return false;
  *ret_rest = (struct tavi_slice){s.ptr + len, s.len - len};
  return true;
}

static unsigned long long number(struct tavi_slice s) {
  char text[24] = "";
  memcpy(text, s.ptr, s.len < sizeof(text) - 1 ? s.len : sizeof(text) - 1);
  return strtoull(text, NULL, 10);
}

/* ==== streams ==== */

/* What is left of a stream is kept in the connection's user pointer. */
static void go_on(struct tavi_conn *c, void *user) {
  static char piece[65536];
  size_t left = (size_t) (uintptr_t) user;
  memset(piece, 'x', sizeof(piece));
  while (left > 0 && !(tavi_conn_flags(c) & TAVI_CONN_FULL)) {
    size_t len = left < sizeof(piece) ? left : sizeof(piece);
    if (tavi_http_chunk(c, piece, len) < 0) return;
    left -= len;
    if (left == 0) tavi_http_end(c, NULL, 0);
  }
  tavi_conn_set_user(c, (void *) (uintptr_t) left);
}

static void begin(struct tavi_conn *c, size_t bytes) {
  if (tavi_http_begin(c, 200, NULL, 0, TAVI_HTTP_STREAM) < 0) return;
  if (bytes == 0) tavi_http_end(c, NULL, 0);
  go_on(c, (void *) (uintptr_t) bytes);
}

/* ==== answers ==== */

static void answer_later(struct tavi_timer *t, void *user) {
  struct tavi_conn *c = tavi_manager_conn(m, (uint64_t) (uintptr_t) user);
  (void) t;
  if (c != NULL) tavi_http_reply(c, 200, NULL, 0, TEXT("later\n"));
}

static void send_bytes(struct tavi_conn *c, size_t len) {
  char *all = malloc(len + 1);
  if (all == NULL) return;
  memset(all, 'x', len);
  tavi_http_reply(c, 200, NULL, 0, (struct tavi_slice){all, len});
  free(all);
}

static void send_file(struct tavi_conn *c) {
  int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  if (tavi_http_begin(c, 200, NULL, 0, 10000) == 0)
    tavi_conn_send_file(c, fd, 0, 10000);
  else
    close(fd);
}

static void on_headers(struct tavi_conn *c, const struct tavi_http_msg *msg, void *user) {
  struct tavi_slice rest;
  (void) user;
  if (begins(msg->path, "/stream/echo", &rest) && tavi_http_stream_body(c) == 0)
    tavi_http_begin(c, 200, NULL, 0, TAVI_HTTP_STREAM);
  if (begins(msg->path, "/slow-body", &rest) && msg->framing != TAVI_HTTP_LENGTH) tavi_http_refuse(c, 411);
  if (begins(msg->path, "/deny", &rest)) tavi_http_reply(c, 401, NULL, 0, TEXT("denied\n"));
}

static void on_message(struct tavi_conn *c, const struct tavi_http_msg *msg, void *user) {
  static const struct tavi_http_header trailer = {{"X-Sum", 5}, {"42", 2}};
  static const struct tavi_http_header plain = {{"Content-Type", 12}, {"text/plain", 10}};
  struct tavi_slice rest, path = msg->path;
  (void) user;
  if (begins(path, "/compressed", &path)) tavi_http_compress(c, msg, NULL);
  if (msg->method.len == 7 && memcmp(msg->method.ptr, "CONNECT", 7) == 0) {
    tavi_http_reply(c, 200, NULL, 0, (struct tavi_slice){NULL, 0});
  } else if (begins(path, "/echo", &rest)) {
    tavi_http_reply(c, 200, NULL, 0, msg->body);
  } else if (begins(path, "/stream/echo", &rest)) {
    tavi_http_end(c, NULL, 0);
  } else if (begins(path, "/bytes/", &rest)) {
    send_bytes(c, (size_t) number(rest));
  } else if (begins(path, "/chunks/", &rest)) {
    begin(c, (size_t) number(rest));
  } else if (begins(path, "/status/", &rest)) {
    tavi_http_reply(c, (int) number(rest), NULL, 0, TEXT("status\n"));
  } else if (begins(path, "/later", &rest)) {
    tavi_timer_start(m, 5, 0, answer_later, (void *) (uintptr_t) tavi_conn_id(c), NULL);
  } else if (begins(path, "/trailers", &rest)) {
    tavi_http_begin(c, 200, NULL, 0, TAVI_HTTP_STREAM);
    tavi_http_chunk(c, "body\n", 5);
    tavi_http_end(c, &trailer, 1);
  } else if (begins(path, "/headers", &rest)) {
    tavi_http_reply(c, 200, &plain, 1, msg->head);
  } else if (begins(path, "/file", &rest)) {
    send_file(c);
  } else {
    tavi_http_reply(c, 200, &plain, 1, TEXT("hello\n"));
  }
}

/* Of a streamed body, and of tunnels. */
static void on_read(struct tavi_conn *c, void *user) {
  struct tavi_slice in = tavi_conn_peek(c);
  bool is_http = tavi_conn_flags(c) & TAVI_CONN_HTTP;
  (void) user;
  if (in.len == 0) return;
  if (!is_http)
    tavi_conn_send(c, in.ptr, in.len);
  else if (tavi_http_is_waiting(c) || tavi_http_chunk(c, in.ptr, in.len) < 0)
    return; /* not streamed: what is there is the request */
  tavi_conn_consume(c, in.len);
}

int main(void) {
  static const struct tavi_http_handlers handlers = {
      .conn = {.on_read = on_read, .on_low_water = go_on}, .on_headers = on_headers, .on_message = on_message};
  struct tavi_manager_opts opts;
  struct tavi_listener *l;
  struct tavi_addr addr;
  const char *backend = getenv("TAVI_BACKEND");
  char unused;
  tavi_manager_opts_init(&opts);
  if (backend != NULL) opts.backend = strcmp(backend, "poll") == 0 ? TAVI_BACKEND_POLL : TAVI_BACKEND_EPOLL;
  if (tavi_manager_new(&opts, &m) < 0) return 1;
  if (tavi_http_listen(m, "http://127.0.0.1:0", NULL, &handlers, NULL, &l) < 0) return 1;
  if (tavi_listener_local_addr(l, &addr) < 0) return 1;
  printf("%u\n", addr.port);
  fflush(stdout);

  fcntl(STDIN_FILENO, F_SETFL, fcntl(STDIN_FILENO, F_GETFL) | O_NONBLOCK);
  while (read(STDIN_FILENO, &unused, 1) != 0) tavi_manager_poll(m, 100);
  tavi_manager_free(m);
  return 0;
}
