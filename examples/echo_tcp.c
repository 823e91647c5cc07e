/* SPDX-License-Identifier: MIT
 *
 * Sends back what it receives: echo_tcp [URL], by default tcp://127.0.0.1:7000. */
#include <stdio.h>
#include <tavi.h>

static void on_read(struct tavi_conn *c, void *user) {
  struct tavi_slice in = tavi_conn_peek(c);
  (void) user;
  tavi_conn_send(c, in.ptr, in.len); /* leaves at the end of this turn of the loop */
  tavi_conn_consume(c, in.len);
}

static void on_close(struct tavi_conn *c, void *user) {
  (void) user;
  printf("connection %llu has closed\n", (unsigned long long) tavi_conn_id(c));
}

int main(int argc, char **argv) {
  static const struct tavi_conn_handlers handlers = {.on_read = on_read, .on_close = on_close};
  const char *url = argc > 1 ? argv[1] : "tcp://127.0.0.1:7000";
  struct tavi_manager *m;
  struct tavi_listener *l;
  struct tavi_addr addr;
  int err = tavi_manager_new(NULL, &m);
  if (err == 0) err = tavi_listen(m, url, NULL, &handlers, NULL, &l);
  if (err < 0) {
    fprintf(stderr, "cannot listen on %s: %s\n", url, tavi_err_text(err));
    return 1;
  }
  tavi_listener_local_addr(l, &addr);
  printf("tcp://%s:%d\n", addr.host, addr.port);
  fflush(stdout);
  while (tavi_manager_poll(m, -1) >= 0) continue;
  tavi_manager_free(m);
  return 0;
}
