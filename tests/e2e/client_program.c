/* SPDX-License-Identifier: MIT
 *
 * Asks servers that others wrote; driven by test_request_peers.py.
 *
 *     client_program [OPTION VALUE]... URL
 *     -m METHOD  -h "Name: value"  -d BODY  -f FILE (sent)  -s PIECES (of 10,000 bytes, streamed)  -x PROXY  -o FILE
 *     -n COUNT (requests)  -p COUNT (at a time)  -z 1 (decode)
 *
 * A line per request: status, length of the body, redirects, "kept" or "new", the last URL; or "error", its name and text.
 * Then "conns" and how many were opened. The last body is written to -o. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <tavi.h>
#include <unistd.h>

static struct tavi_manager *manager;
static struct tavi_http_request req;
static struct tavi_http_header headers[16];
static const char *upload, *output;
static unsigned long count = 1, parallel = 1, begun, ended, pieces, sent_pieces;

static int begin(void);

static void on_more(struct tavi_http_call *call, void *user) {
  static char piece[10000];
  (void) user;
  memset(piece, 'a' + (int) (sent_pieces % 26), sizeof(piece));
  if (sent_pieces++ < pieces) tavi_http_call_send(call, piece, sizeof(piece));
  if (sent_pieces >= pieces) tavi_http_call_end(call);
}

static void save(struct tavi_slice body) {
  FILE *f = output != NULL ? fopen(output, "wb") : NULL;
  if (f == NULL) return;
  fwrite(body.ptr, 1, body.len, f);
  fclose(f);
}

static void on_done(struct tavi_http_call *call, const struct tavi_http_result *r, void *user) {
  (void) call, (void) user;
  ended++;
  if (r->err < 0) {
    printf("error %s %s\n", tavi_err_name(r->err), r->text);
  } else {
    printf("%d %zu %u %s %s\n", r->msg->status, r->msg->body.len, r->redirects, r->was_kept ? "kept" : "new", r->url);
    save(r->msg->body);
  }
  if (begun < count && begin() < 0) exit(1);
}

static int begin(void) {
  static const struct tavi_http_call_handlers handlers = {.on_more = on_more, .on_done = on_done};
  struct stat st;
  begun++;
  sent_pieces = 0;
  if (upload != NULL) {
    req.body_fd = open(upload, O_RDONLY | O_CLOEXEC);
    if (req.body_fd < 0 || fstat(req.body_fd, &st) != 0) return -1;
    req.body_length = (uint64_t) st.st_size;
  }
  return tavi_http_request(manager, &req, &handlers, NULL, NULL);
}

static int add_header(const char *text) {
  const char *colon = strchr(text, ':');
  if (colon == NULL || req.header_count == 16) return -1;
  headers[req.header_count++] =
      (struct tavi_http_header){{text, (size_t) (colon - text)}, {colon + 2, strlen(colon + 2)}};
  return 0;
}

static int set(char option, const char *value) {
  switch (option) {
    case 'm': req.method = value; return 0;
    case 'h': return add_header(value);
    case 'd': req.body = (struct tavi_slice){value, strlen(value)}; return 0;
    case 'f': upload = value; return 0;
    case 's': pieces = strtoul(value, NULL, 10), req.streams_body = true; return 0;
    case 'x': req.proxy = value; return 0;
    case 'o': output = value; return 0;
    case 'n': count = strtoul(value, NULL, 10); return 0;
    case 'p': parallel = strtoul(value, NULL, 10); return 0;
    case 'z': req.decodes = true; return 0;
    default: return -1;
  }
}

int main(int argc, char **argv) {
  struct tavi_manager_opts opts;
  struct tavi_http_client_stats stats;
  const char *backend = getenv("TAVI_BACKEND");
  tavi_http_request_init(&req, "GET", argv[argc - 1]);
  req.headers = headers;
  req.body_bytes_max = (uint64_t) 1 << 30;
  for (int i = 1; i + 2 < argc; i += 2)
    if (argv[i][0] != '-' || set(argv[i][1], argv[i + 1]) < 0) return 2;
  tavi_manager_opts_init(&opts);
  if (backend != NULL) opts.backend = strcmp(backend, "poll") == 0 ? TAVI_BACKEND_POLL : TAVI_BACKEND_EPOLL;
  if (argc < 2 || tavi_manager_new(&opts, &manager) < 0) return 1;
  while (begun < parallel && begun < count)
    if (begin() < 0) return 1;
  while (ended < count && tavi_manager_poll(manager, -1) >= 0) continue;
  tavi_http_client_stats(manager, &stats);
  printf("conns %llu\n", (unsigned long long) stats.conns_opened);
  tavi_manager_free(manager);
  return 0;
}
