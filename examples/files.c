/* SPDX-License-Identifier: MIT
 *
 * The files of a directory over HTTP: files [DIRECTORY [URL]], by default the current one on http://127.0.0.1:8000. */
#include <stdio.h>
#include <tavi.h>

static void on_message(struct tavi_conn *c, const struct tavi_http_msg *msg, void *user) {
  tavi_http_serve_dir(c, msg, user, NULL);
}

int main(int argc, char **argv) {
  static const struct tavi_http_handlers handlers = {.on_message = on_message};
  struct tavi_manager *m;
  struct tavi_listener *l;
  struct tavi_addr addr;
  static char here[] = ".";
  char *root = argc > 1 ? argv[1] : here;
  if (tavi_manager_new(NULL, &m) < 0) return 1;
  if (tavi_http_listen(m, argc > 2 ? argv[2] : "http://127.0.0.1:8000", NULL, &handlers, root, &l) < 0) return 1;
  tavi_listener_local_addr(l, &addr);
  printf("http://%s:%d\n", addr.host, addr.port);
  fflush(stdout);
  while (tavi_manager_poll(m, -1) >= 0) continue;
  tavi_manager_free(m);
  return 0;
}
