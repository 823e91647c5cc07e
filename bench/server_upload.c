/* SPDX-License-Identifier: MIT
 *
 * The server of uploads that is measured (upload.py): receives a form, whose files go to a directory and are dropped,
 * and tells how many bytes they had.
 *   bench_upload -p PORT -w DIR
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <tavi.h>
#include <unistd.h>

static volatile sig_atomic_t stopping;

static void on_signal(int sig) {
  (void) sig;
  stopping = 1;
}

static void on_form(struct tavi_conn *c, const struct tavi_form *form, void *arg) {
  unsigned long long sum = 0;
  char text[32];
  (void) arg;
  if (form->err < 0) {
    fprintf(stderr, "%s\n", form->text);
    return;
  }
  for (size_t i = 0; i < form->part_count; i++) sum += form->parts[i].size;
  int len = snprintf(text, sizeof(text), "%llu\n", sum);
  tavi_http_reply(c, 200, NULL, 0, (struct tavi_slice){text, (size_t) len});
}

static void on_headers(struct tavi_conn *c, const struct tavi_http_msg *msg, void *directory) {
  struct tavi_form_opts opts;
  tavi_form_opts_init(&opts);
  opts.directory = directory;
  opts.file_bytes_max = opts.body_bytes_max;
  if (tavi_http_receive_form(c, msg, &opts, on_form, NULL) < 0) tavi_http_refuse(c, 415);
}

int main(int argc, char **argv) {
  static const struct tavi_http_handlers handlers = {.on_headers = on_headers};
  const char *port = "8000";
  char *directory = NULL;
  for (int o; (o = getopt(argc, argv, "p:w:")) != -1;) {
    if (o == 'p') port = optarg;
    else if (o == 'w') directory = optarg;
    else return 2;
  }
  if (directory == NULL) return 2;
  struct sigaction stop = {.sa_handler = on_signal};
  sigaction(SIGTERM, &stop, NULL);
  sigaction(SIGINT, &stop, NULL);

  char url[64];
  snprintf(url, sizeof(url), "http://127.0.0.1:%s", port);
  struct tavi_manager *m = NULL;
  int err = tavi_manager_new(NULL, &m);
  if (err == 0) err = tavi_http_listen(m, url, NULL, &handlers, directory, NULL);
  if (err != 0) fprintf(stderr, "%s: %s\n", url, tavi_err_text(err));
  while (err >= 0 && !stopping) err = tavi_manager_poll(m, 1000);
  tavi_manager_free(m);
  return err < 0;
}
