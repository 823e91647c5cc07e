/* SPDX-License-Identifier: MIT
 *
 * The TCP echo server that is measured, by the public interface and nothing else.
 *   bench_tcp -p PORT [-b epoll|poll]
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <tavi.h>
#include <unistd.h>

static volatile sig_atomic_t stopping;

static void on_signal(int sig) {
  (void) sig;
  stopping = 1;
}

static void on_read(struct tavi_conn *c, void *user) {
  (void) user;
  struct tavi_slice in = tavi_conn_peek(c);
  if (tavi_conn_send(c, in.ptr, in.len) == 0) tavi_conn_consume(c, in.len);
}

int main(int argc, char **argv) {
  static const struct tavi_conn_handlers handlers = {.on_read = on_read};
  struct tavi_manager_opts opts;
  const char *port = "8000";
  tavi_manager_opts_init(&opts);
  for (int o; (o = getopt(argc, argv, "p:b:")) != -1;) {
    if (o == 'p') port = optarg;
    else if (o == 'b' && strcmp(optarg, "epoll") == 0) opts.backend = TAVI_BACKEND_EPOLL;
    else if (o == 'b' && strcmp(optarg, "poll") == 0) opts.backend = TAVI_BACKEND_POLL;
    else return 2;
  }
  struct sigaction stop = {.sa_handler = on_signal};
  sigaction(SIGTERM, &stop, NULL);
  sigaction(SIGINT, &stop, NULL);

  char url[64];
  snprintf(url, sizeof(url), "tcp://127.0.0.1:%s", port);
  struct tavi_manager *m = NULL;
  struct tavi_listener *listener;
  int err = tavi_manager_new(&opts, &m);
  if (err == 0) err = tavi_listen(m, url, NULL, &handlers, NULL, &listener);
  if (err != 0) fprintf(stderr, "%s: %s\n", url, tavi_err_text(err));
  while (err >= 0 && !stopping) err = tavi_manager_poll(m, 1000);
  tavi_manager_free(m);
  return err < 0;
}
