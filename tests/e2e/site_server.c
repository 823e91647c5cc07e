/* SPDX-License-Identifier: MIT
 *
 * A server of files for the Python tests, in C: site_server ROOT [OPTION]... prints its port and serves until its input
 * ends. Options: no-listing, hidden, links-out, no-neighbours, ranges=N, mount=PATH, missing=FILE, missing-status=N,
 * types=LIST, index=LIST. A path below /one/ is answered with the file ROOT/one.txt, whatever its rest is. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tavi.h"

static struct tavi_http_files_opts opts;
static const char *root;

static void on_message(struct tavi_conn *c, const struct tavi_http_msg *msg, void *user) {
  char one[4096];
  (void) user;
  snprintf(one, sizeof(one), "%s/one.txt", root);
  if (msg->path.len >= 5 && memcmp(msg->path.ptr, "/one/", 5) == 0)
    tavi_http_serve_file(c, msg, one, &opts);
  else
    tavi_http_serve_dir(c, msg, root, &opts);
}

static bool value_of(const char *arg, const char *name, const char **ret_value) {
  size_t len = strlen(name);
  if (strncmp(arg, name, len) != 0 || arg[len] != '=') return false;
  *ret_value = arg + len + 1;
  return true;
}

static void take_option(const char *arg) {
  const char *value;
  if (strcmp(arg, "no-listing") == 0) opts.listing = false;
  if (strcmp(arg, "hidden") == 0) opts.hidden = true;
  if (strcmp(arg, "links-out") == 0) opts.links_out = true;
  if (strcmp(arg, "no-neighbours") == 0) opts.neighbours = false;
  if (value_of(arg, "ranges", &value)) opts.ranges_max = (unsigned) strtoul(value, NULL, 10);
  if (value_of(arg, "mount", &value)) opts.mount = value;
  if (value_of(arg, "missing", &value)) opts.missing = value;
  if (value_of(arg, "missing-status", &value)) opts.missing_status = (int) strtol(value, NULL, 10);
  if (value_of(arg, "types", &value)) opts.types = value;
  if (value_of(arg, "index", &value)) opts.index = value;
}

int main(int argc, char **argv) {
  static const struct tavi_http_handlers handlers = {.on_message = on_message};
  static const struct tavi_http_header own = {{"X-Site", 6}, {"yes", 3}};
  struct tavi_manager_opts manager_opts;
  struct tavi_manager *m;
  struct tavi_listener *l;
  struct tavi_addr addr;
  const char *backend = getenv("TAVI_BACKEND");
  char unused;
  if (argc < 2) return 2;
  root = argv[1];
  tavi_http_files_opts_init(&opts);
  opts.headers = &own;
  opts.header_count = 1;
  for (int i = 2; i < argc; i++) take_option(argv[i]);
  tavi_manager_opts_init(&manager_opts);
  if (backend != NULL) manager_opts.backend = strcmp(backend, "poll") == 0 ? TAVI_BACKEND_POLL : TAVI_BACKEND_EPOLL;
  if (tavi_manager_new(&manager_opts, &m) < 0) return 1;
  if (tavi_http_listen(m, "http://127.0.0.1:0", NULL, &handlers, NULL, &l) < 0) return 1;
  if (tavi_listener_local_addr(l, &addr) < 0) return 1;
  printf("%u\n", addr.port);
  fflush(stdout);

  fcntl(STDIN_FILENO, F_SETFL, fcntl(STDIN_FILENO, F_GETFL) | O_NONBLOCK);
  while (read(STDIN_FILENO, &unused, 1) != 0) tavi_manager_poll(m, 100);
  tavi_manager_free(m);
  return 0;
}
