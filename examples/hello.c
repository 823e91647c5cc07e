/* SPDX-License-Identifier: MIT
 *
 * The smallest HTTP server: hello [URL], by default http://127.0.0.1:8000. */
#include <stdio.h>
#include <tavi.h>

static void on_message(struct tavi_conn *c, const struct tavi_http_msg *msg, void *user) {
  static const struct tavi_http_header headers[] = {{{"Content-Type", 12}, {"text/plain", 10}}};
  struct tavi_slice hello = {"Hello, World!\n", 14};
  (void) msg, (void) user;
  tavi_http_reply(c, 200, headers, 1, hello);
}

int main(int argc, char **argv) {
  static const struct tavi_http_handlers handlers = {.on_message = on_message};
  const char *url = argc > 1 ? argv[1] : "http://127.0.0.1:8000";
  struct tavi_manager *m;
  struct tavi_listener *l;
  struct tavi_addr addr;
  int err = tavi_manager_new(NULL, &m);
  if (err == 0) err = tavi_http_listen(m, url, NULL, &handlers, NULL, &l);
  if (err < 0) {
    fprintf(stderr, "cannot listen on %s: %s\n", url, tavi_err_text(err));
    return 1;
  }
  tavi_listener_local_addr(l, &addr);
  printf("http://%s:%d\n", addr.host, addr.port);
  fflush(stdout);
  while (tavi_manager_poll(m, -1) >= 0) continue;
  tavi_manager_free(m);
  return 0;
}
