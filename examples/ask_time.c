/* SPDX-License-Identifier: MIT
 *
 * Asks time servers what time it is, all at once: ask_time [URL...], by default sntp://pool.ntp.org. Ends with 0 when
 * one of them has answered. */
#include <inttypes.h>
#include <stdio.h>
#include <tavi.h>

static int answers, open_count;

static void on_time(struct tavi_conn *c, const struct tavi_sntp_time *t, void *user) {
  struct tavi_addr server;
  tavi_conn_remote_addr(c, &server);
  printf("%s (%s): %" PRId64 ".%03d since 1970, %+.6f s from this computer's clock, +-%.6f s, stratum %d\n",
         (const char *) user, server.host, t->unix_ms / 1000, (int) (t->unix_ms % 1000), (double) t->offset_ns / 1e9,
         (double) t->delay_ns / 2e9, t->stratum);
  answers++;
}

static void on_error(struct tavi_conn *c, int err, const char *text, void *user) {
  (void) c, (void) err;
  fprintf(stderr, "%s: %s\n", (const char *) user, text);
}

static void on_close(struct tavi_conn *c, void *user) {
  (void) c, (void) user;
  open_count--;
}

static void ask(struct tavi_manager *m, char *url) {
  static const struct tavi_sntp_handlers handlers = {.conn = {.on_error = on_error, .on_close = on_close},
                                                     .on_time = on_time};
  int err = tavi_sntp_connect(m, url, NULL, &handlers, url, NULL);
  if (err < 0)
    fprintf(stderr, "%s: %s\n", url, tavi_err_text(err));
  else
    open_count++;
}

int main(int argc, char **argv) {
  static char pool[] = "sntp://pool.ntp.org";
  struct tavi_manager *m;
  if (tavi_manager_new(NULL, &m) < 0) return 1;
  for (int i = 1; i < argc; i++) ask(m, argv[i]);
  if (argc < 2) ask(m, pool);
  while (open_count > 0 && tavi_manager_poll(m, -1) >= 0) continue;
  tavi_manager_free(m);
  return answers > 0 ? 0 : 1;
}
