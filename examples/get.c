/* SPDX-License-Identifier: MIT
 *
 * A tiny curl: get [-i] [-d BODY] [-o FILE] [-x PROXY] URL. Prints the body as it comes, decoded; -i the head, too. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tavi.h>

struct get {
  FILE *out;
  bool shows_head, is_done;
  int status; /* of the program */
};

static void on_headers(struct tavi_http_call *call, const struct tavi_http_msg *msg, void *user) {
  struct get *get = user;
  (void) call;
  if (get->shows_head) fwrite(msg->head.ptr, 1, msg->head.len, get->out);
}

static void on_data(struct tavi_http_call *call, struct tavi_slice data, void *user) {
  struct get *get = user;
  (void) call;
  fwrite(data.ptr, 1, data.len, get->out);
}

static void on_done(struct tavi_http_call *call, const struct tavi_http_result *result, void *user) {
  struct get *get = user;
  (void) call;
  get->is_done = true;
  if (result->err == 0) return;
  fprintf(stderr, "get: %s\n", result->text);
  get->status = 1;
}

int main(int argc, char **argv) {
  static const struct tavi_http_call_handlers handlers = {
      .on_headers = on_headers, .on_data = on_data, .on_done = on_done};
  struct get get = {.out = stdout};
  struct tavi_http_request req;
  struct tavi_manager *m;
  tavi_http_request_init(&req, "GET", NULL);
  req.decodes = true;
  req.body_bytes_max = UINT64_MAX;
  for (int i = 1; i < argc; i++) {
    const char *next = i + 1 < argc ? argv[i + 1] : "";
    if (strcmp(argv[i], "-i") == 0) get.shows_head = true;
    else if (strcmp(argv[i], "-d") == 0) req.method = "POST", req.body = (struct tavi_slice){next, strlen(next)}, i++;
    else if (strcmp(argv[i], "-o") == 0) get.out = fopen(next, "wb"), i++;
    else if (strcmp(argv[i], "-x") == 0) req.proxy = next, i++;
    else req.url = argv[i];
  }
  if (req.url == NULL || get.out == NULL) {
    fprintf(stderr, "usage: get [-i] [-d BODY] [-o FILE] [-x PROXY] URL\n");
    return 2;
  }
  if (tavi_manager_new(NULL, &m) < 0 || tavi_http_request(m, &req, &handlers, &get, NULL) < 0) return 1;
  while (!get.is_done && tavi_manager_poll(m, -1) >= 0) continue;
  tavi_manager_free(m);
  return fclose(get.out) == 0 ? get.status : 1;
}
