/* SPDX-License-Identifier: MIT
 *
 * The HTTP server that is measured: "Hello, World!" to every request, by the public interface and nothing else. No
 * response is kept ready: each is made by tavi_http_reply(), as a program would.
 *   bench_http -p PORT [-b epoll|poll] [-c] [-d] [-w DIR]
 *     -b  the back end of the loop
 *     -c  answer "Connection: close", for a new connection per request
 *     -d  listen with TCP_DEFER_ACCEPT, as the floor does with -c
 *     -w  answer with the files of this directory instead
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tavi.h>
#include <unistd.h>

static volatile sig_atomic_t stopping;

static void on_signal(int sig) {
  (void) sig;
  stopping = 1;
}

static void on_message(struct tavi_conn *c, const struct tavi_http_msg *msg, void *user) {
  static const struct tavi_http_header headers[] = {
      {{"Content-Type", 12}, {"text/plain", 10}},
      {{"Connection", 10}, {"close", 5}},
  };
  const size_t *header_count = user;
  (void) msg;
  tavi_http_reply(c, 200, headers, *header_count, (struct tavi_slice){"Hello, World!", 13});
}

static void on_file(struct tavi_conn *c, const struct tavi_http_msg *msg, void *user) {
  tavi_http_serve_dir(c, msg, user, NULL);
}

int main(int argc, char **argv) {
  static const struct tavi_http_handlers hello = {.on_message = on_message}, files = {.on_message = on_file};
  struct tavi_manager_opts manager_opts;
  struct tavi_http_opts opts;
  const char *port = "8000";
  char *directory = NULL;
  size_t header_count = 1;
  tavi_manager_opts_init(&manager_opts);
  tavi_http_opts_init(&opts);
  for (int o; (o = getopt(argc, argv, "p:b:cdw:")) != -1;) {
    if (o == 'p') port = optarg;
    else if (o == 'b' && strcmp(optarg, "epoll") == 0) manager_opts.backend = TAVI_BACKEND_EPOLL;
    else if (o == 'b' && strcmp(optarg, "poll") == 0) manager_opts.backend = TAVI_BACKEND_POLL;
    else if (o == 'c') header_count = 2;
    else if (o == 'd') opts.listen.defer_accept = true;
    else if (o == 'w') directory = optarg;
    else return 2;
  }
  signal(SIGPIPE, SIG_IGN); /* as servers do, and the floor */
  struct sigaction stop = {.sa_handler = on_signal};
  sigaction(SIGTERM, &stop, NULL);
  sigaction(SIGINT, &stop, NULL);

  char url[64];
  snprintf(url, sizeof(url), "http://127.0.0.1:%s", port);
  struct tavi_manager *m = NULL;
  int err = tavi_manager_new(&manager_opts, &m);
  if (err == 0 && directory != NULL)
    err = tavi_http_listen(m, url, &opts, &files, directory, NULL);
  else if (err == 0)
    err = tavi_http_listen(m, url, &opts, &hello, &header_count, NULL);
  if (err != 0) fprintf(stderr, "%s: %s\n", url, tavi_err_text(err));
  while (err >= 0 && !stopping) err = tavi_manager_poll(m, 1000);
  tavi_manager_free(m);
  return err < 0;
}
