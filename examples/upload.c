/* SPDX-License-Identifier: MIT
 *
 * Uploads of any size, written to disk while they arrive: upload [DIRECTORY [URL]], by default the current one on
 * http://127.0.0.1:8000. Files get names of ours, by time and number: what a client calls them is no path. */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <tavi.h>

static const char page[] =
    "<!doctype html><meta charset=utf-8><title>Upload</title>"
    "<form method=post enctype=multipart/form-data><input type=file name=file multiple><button>Send</button></form>";

static void on_form(struct tavi_conn *c, const struct tavi_form *form, void *directory) {
  static unsigned count;
  char text[128], path[4096];
  if (form->err < 0) return; /* the client is told form->status */
  tavi_http_begin(c, 200, NULL, 0, TAVI_HTTP_STREAM);
  for (size_t i = 0; i < form->part_count; i++) {
    const struct tavi_form_part *part = &form->parts[i];
    if (part->file == NULL) continue;
    int len = snprintf(path, sizeof(path), "%s/upload-%lld-%u", (char *) directory, (long long) time(NULL), ++count);
    int err = len < (int) sizeof(path) ? tavi_form_save(part->file, path) : TAVI_E_LIMIT;
    tavi_http_chunk(c, path, strlen(path));
    len = snprintf(text, sizeof(text), ": %llu bytes, %s\n", (unsigned long long) part->size, tavi_err_text(err));
    tavi_http_chunk(c, text, (size_t) len);
  }
  tavi_http_end(c, NULL, 0);
}

static void on_headers(struct tavi_conn *c, const struct tavi_http_msg *msg, void *directory) {
  struct tavi_form_opts opts;
  tavi_form_opts_init(&opts);
  opts.directory = directory;
  if (msg->method.len != 4 || memcmp(msg->method.ptr, "POST", 4) != 0) return;
  int err = tavi_http_receive_form(c, msg, &opts, on_form, directory);
  if (err < 0) tavi_http_refuse(c, err == TAVI_E_ARG ? 415 : 503); /* it is no form; or we cannot take it */
}

static void on_message(struct tavi_conn *c, const struct tavi_http_msg *msg, void *user) {
  static const struct tavi_http_header html = {{"Content-Type", 12}, {"text/html", 9}};
  (void) msg, (void) user;
  tavi_http_reply(c, 200, &html, 1, (struct tavi_slice){page, sizeof(page) - 1});
}

int main(int argc, char **argv) {
  static const struct tavi_http_handlers handlers = {.on_headers = on_headers, .on_message = on_message};
  struct tavi_manager *m;
  struct tavi_listener *l;
  struct tavi_addr addr;
  static char here[] = ".";
  char *directory = argc > 1 ? argv[1] : here;
  if (tavi_manager_new(NULL, &m) < 0) return 1;
  if (tavi_http_listen(m, argc > 2 ? argv[2] : "http://127.0.0.1:8000", NULL, &handlers, directory, &l) < 0) return 1;
  tavi_listener_local_addr(l, &addr);
  printf("http://%s:%d\n", addr.host, addr.port);
  fflush(stdout);
  while (tavi_manager_poll(m, -1) >= 0) continue;
  tavi_manager_free(m);
  return 0;
}
