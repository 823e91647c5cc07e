/* SPDX-License-Identifier: MIT
 *
 * Sends each datagram back to its sender: echo_udp [URL], by default udp://127.0.0.1:7000. */
#include <stdio.h>
#include <tavi.h>

static void on_read(struct tavi_conn *c, void *user) {
  struct tavi_slice datagram = tavi_conn_peek(c);
  struct tavi_addr from;
  (void) user;
  if (tavi_conn_remote_addr(c, &from) == 0) printf("%zu bytes from %s:%d\n", datagram.len, from.host, from.port);
  int err = tavi_conn_send(c, datagram.ptr, datagram.len); /* goes to the sender of the newest datagram */
  if (err < 0) fprintf(stderr, "cannot answer: %s\n", tavi_err_text(err));
  tavi_conn_consume(c, datagram.len);
}

int main(int argc, char **argv) {
  static const struct tavi_conn_handlers handlers = {.on_read = on_read};
  const char *url = argc > 1 ? argv[1] : "udp://127.0.0.1:7000";
  struct tavi_manager *m;
  struct tavi_conn *c;
  struct tavi_addr addr;
  int err = tavi_manager_new(NULL, &m);
  if (err == 0) err = tavi_udp_listen(m, url, NULL, &handlers, NULL, &c);
  if (err < 0) {
    fprintf(stderr, "cannot listen on %s: %s\n", url, tavi_err_text(err));
    return 1;
  }
  tavi_conn_local_addr(c, &addr);
  printf("udp://%s:%d\n", addr.host, addr.port);
  fflush(stdout);
  while (tavi_manager_poll(m, -1) >= 0) continue;
  tavi_manager_free(m);
  return 0;
}
