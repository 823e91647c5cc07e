/* SPDX-License-Identifier: MIT
 *
 * What the tests of stream connections share: a server with its listener, a client, and plain sockets that talk to it. */
#ifndef TAVI_TESTS_E2E_TCP_RIG_H
#define TAVI_TESTS_E2E_TCP_RIG_H

#include "e2e.h"

static struct side server, client;
static struct tavi_listener *listener;
static uint16_t port;

__attribute__((unused)) static void begin(const struct tavi_listen_opts *opts) {
  set_up();
  listener = listen_on_any(opts, &server);
  port = port_of(listener);
}

__attribute__((unused)) static void close_down(void) {
  tear_down();
  side_free(&server);
  side_free(&client);
}

/* A plain socket that is accepted; the connection is the last peer of the server. */
__attribute__((unused)) static int raw_client(void) {
  unsigned before = server.count[ACCEPT];
  int fd = raw_connect(port);
  RUN_UNTIL(server.count[ACCEPT] == before + 1);
  return fd;
}

__attribute__((unused)) static struct peer *last_of(const struct side *side) { return side->peers[side->peer_count - 1]; }

__attribute__((unused)) static void echo(struct peer *p, enum event event) {
  if (event != READ) return;
  struct tavi_slice in = tavi_conn_peek(p->c);
  p->received += in.len;
  tavi_conn_send(p->c, in.ptr, in.len);
  tavi_conn_consume(p->c, in.len);
}

__attribute__((unused)) static void swallow(struct peer *p, enum event event) {
  if (event != READ) return;
  p->received += tavi_conn_peek(p->c).len;
  tavi_conn_consume(p->c, SIZE_MAX);
}

__attribute__((unused)) static char pattern(size_t at) { return (char)(at * 7 + at / 251); }

__attribute__((unused)) static char *new_pattern(size_t len) {
  char *bytes = malloc(len);
  if (bytes == NULL) abort();
  for (size_t i = 0; i < len; i++) bytes[i] = pattern(i);
  return bytes;
}

/* Receive `len` bytes of the pattern that begin at `from`. */
__attribute__((unused)) static bool raw_recv_pattern(int fd, size_t from, size_t len) {
  char *got = malloc(len);
  size_t n = raw_recv(fd, got, len);
  bool ok = CHECK_INT(n, len);
  for (size_t i = 0; i < n && ok; i++) ok = CHECK(got[i] == pattern(from + i));
  free(got);
  return ok;
}

__attribute__((unused)) static void release(void *arg) { ++*(unsigned *)arg; }

#endif
