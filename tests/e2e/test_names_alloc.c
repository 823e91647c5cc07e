/* SPDX-License-Identifier: MIT
 *
 * Names when the n-th allocation fails, for every n (those of the library; c-ares has its own): each lookup and each
 * connection is told of something, nothing leaks (the sanitizer looks), and the next one is served. */
#include "failmalloc.h"

#include "e2e/dns_rig.h"

struct told {
  int calls, err;
};

static void on_told(const struct tavi_addr *addrs, size_t count, int err, const char *text, void *user) {
  struct told *t = user;
  (void)addrs, (void)count, (void)text;
  t->calls++;
  t->err = err;
}

static int connected, closed;

static void on_connect(struct tavi_conn *c, void *user) { (void)c, (void)user, connected++; }
static void on_close(struct tavi_conn *c, void *user) { (void)c, (void)user, closed++; }

static const struct tavi_conn_handlers handlers = {.on_connect = on_connect, .on_close = on_close};

static void begin(void) {
  ns_open();
  opts_init();
  manager_opts.dns_servers = ns.address;
  manager_opts.dns_timeout_ms = 300; /* a socket of c-ares that could not be watched: its query times out */
  set_up_with_opts();
  ns_rule((struct ns_rule){.name = "a.test", .a = "127.0.0.2,127.0.0.1", .aaaa = "::1", .ttl = 60, .aaaa_late_ms = 5});
  ns_rule((struct ns_rule){.name = "b.test", .a = "127.0.0.1", .mode = NS_TRUNCATED});
}

/* Returns false when no allocation failed. */
static bool exchange(unsigned n, uint16_t port) {
  struct told told = {0}, late = {0};
  char url[64];
  begin();
  snprintf(url, sizeof url, "tcp://a.test:%u", port);
  fail_begin(n);
  int err = tavi_resolve(manager, "b.test", on_told, &told, NULL);
  int late_err = tavi_resolve(manager, "a.test", on_told, &late, NULL);
  connected = closed = 0;
  int c_err = tavi_connect(manager, url, NULL, &handlers, NULL, NULL);
  NS_UNTIL((err < 0 || told.calls == 1) && (late_err < 0 || late.calls == 1) &&
           (c_err < 0 || connected + closed > 0));
  bool has_failed = fail_end();
  struct told after = {0};
  CHECK_INT(tavi_resolve(manager, "c.test", on_told, &after, NULL), 0);
  NS_UNTIL(after.calls == 1);
  CHECK_INT(after.err, TAVI_E_RESOLVE);
  tear_down();
  ns_close();
  return has_failed;
}

TEST(names__every_allocation_fails_once) {
  uint16_t port;
  int fd = raw_listen(64, &port);
  unsigned n = 1;
  while (exchange(n, port)) n++;
  CHECK(n > 8);
  close(fd);
}

TEST(manager__every_allocation_fails_once) {
  struct tavi_manager *m = NULL;
  opts_init()->dns_servers = "127.0.0.1";
  for (unsigned n = 1; fail_begin(n); n++) {
    int err = tavi_manager_new(&manager_opts, &m);
    if (!fail_end()) {
      if (CHECK_INT(err, 0)) tavi_manager_free(m);
      break;
    }
    CHECK_INT(err, TAVI_E_NOMEM);
  }
}
