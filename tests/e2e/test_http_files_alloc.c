/* SPDX-License-Identifier: MIT
 *
 * Files as answers when the n-th allocation of a whole exchange fails, for every n: each request is served right or the
 * connection ends, nothing leaks (the sanitizer looks), and the next request is served. */
#include "failmalloc.h"

#include <ftw.h>
#include <limits.h>
#include <sys/stat.h>

#include "e2e/http_rig.h"

static char root[64];
static char large[100000];
static struct tavi_http_files_opts opts;

static void serve(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  int err = tavi_http_serve_dir(c, msg, root, &opts);
  CHECK(err == 0 || err == TAVI_E_NOMEM || err == TAVI_E_CLOSED);
  if (tavi_http_is_waiting(c)) tavi_conn_close(c);
}

static void put_file(const char *name, const char *bytes, size_t len) {
  char path[128];
  struct timespec times[2] = {{1000000000, 0}, {1000000000, 0}};
  snprintf(path, sizeof(path), "%s/%s", root, name);
  int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0 || write(fd, bytes, len) != (ssize_t) len || futimens(fd, times) != 0) abort();
  close(fd);
}

static int forget(const char *path, const struct stat *st, int type, struct FTW *ftw) {
  (void) st, (void) type, (void) ftw;
  return remove(path);
}

static void make_site(void) {
  char path[128];
  strcpy(root, "./tavi-alloc-XXXXXX"); /* allow: strcpy, a literal */
  if (mkdtemp(root) == NULL) abort();
  memset(large, 'l', sizeof(large));
  put_file("small", "small", 5);
  put_file("large", large, sizeof(large));
  put_file("style.css", "plain", 5);
  put_file("style.css.gz", "squeezed", 8);
  put_file("missing", "sorry", 5);
  put_file("odd.qqq", "odd", 3);
  snprintf(path, sizeof(path), "%s/d", root);
  if (mkdir(path, 0755) != 0) abort();
  for (char name[] = "d/0"; name[2] <= '9'; name[2]++) put_file(name, "x", 1);
}

static void plenty(struct peer *p) {
  p->cap = 4 << 20;
  p->bytes = __real_malloc(p->cap);
  if (p->bytes == NULL) abort();
}

static const struct {
  const char *request;
  int status;
  const char *body; /* what has to be in it; NULL: anything */
} asked[] = {
    {GET("/small"), 200, "small"},
    {GET("/large"), 200, "lllllll"},
    {"GET /large HTTP/1.1\r\nHost: x\r\nRange: bytes=1-2,9-10,100-\r\n\r\n", 206, "Content-Range: bytes 9-10/100000"},
    {"GET /small HTTP/1.1\r\nHost: x\r\nRange: bytes=1-2\r\n\r\n", 206, "ma"},
    {"GET /small HTTP/1.1\r\nHost: x\r\nRange: bytes=1-2,4-4\r\n\r\n", 206, "Content-Range: bytes 4-4/5"},
    {"GET /small HTTP/1.1\r\nHost: x\r\nRange: bytes=9-\r\n\r\n", 416, NULL},
    {"GET /style.css HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n", 200, NULL},
    {"GET /small HTTP/1.1\r\nHost: x\r\nIf-None-Match: *\r\n\r\n", 304, ""},
    {GET("/odd.qqq"), 200, "odd"}, /* its type is looked for in the system's table */
    {GET("/none"), 404, "sorry"},
    {GET("/d"), 301, NULL},
    {GET("/d/?C=S"), 200, NULL},
    {"GET /small HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 200, "small"},
};

enum { ASKED = sizeof(asked) / sizeof(asked[0]) };

/* Is each response that came the right one? Returns their number. */
static int check_responses(struct peer *p, unsigned n) {
  int count = 0;
  struct response r = {0};
  while (count < ASKED && peer_parse(p, &r, false) == 1) {
    const char *body = asked[count].body;
    test_note("allocation %u fails, response %d", n, count);
    CHECK_INT(r.status, asked[count].status);
    if (body != NULL) CHECK(memmem(r.body.ptr, r.body.len, body, strlen(body)) != NULL);
    if (count == 6) CHECK(r.body.len == (find_header(&r, "Content-Encoding") != NULL ? 8 : 5));
    if (count == 11) CHECK(memmem(r.body.ptr, r.body.len, "./9\"", 4) != NULL ||
                           memmem(r.body.ptr, r.body.len, "could not be read", 17) != NULL);
    count++;
  }
  response_free(&r);
  return count;
}

static void converse(struct peer *p) {
  uint64_t deadline = rig_now_ms() + RIG_DEADLINE_MS;
  for (int i = 0; i < ASKED; i++) {
    if (!peer_send(p, asked[i].request)) break;
    for (int k = 0; k < 3; k++) tavi_manager_poll(rig.m, 0);
  }
  while (!peer_pump(p) && rig_now_ms() < deadline) tavi_manager_poll(rig.m, 1);
  CHECK(p->at_eof);
}

TEST(files__each_allocation_fails__served_right_or_closed) {
  unsigned n = 1, whole = 0;
  make_site();
  char missing[128];
  snprintf(missing, sizeof(missing), "%s/missing", root);
  for (bool failed = true; failed && n < 1000; n++) {
    rig_serve(NULL);
    rig.on_message = serve;
    tavi_http_files_opts_init(&opts);
    opts.missing = missing;
    struct peer p = peer_open(), q = peer_open();
    plenty(&p);
    plenty(&q);
    test_note("allocation %u fails", n);
    fail_begin(n);
    converse(&p);
    failed = fail_end();
    whole += check_responses(&p, n) == ASKED;
    peer_send(&q, GET("/small"));
    UNTIL((peer_pump(&q) || q.len > 0));
    if (rig.opened == 2) CHECK(q.len > 15 && memcmp(q.bytes, "HTTP/1.1 200 OK", 15) == 0);
    peer_close(&p);
    peer_close(&q);
    UNTIL(rig.closed == rig.opened);
    CHECK_INT(tavi_manager_buffered(rig.m), 0);
    rig_stop();
  }
  CHECK(n > 20);
  CHECK(whole >= 1);
  printf("%u allocations\n", n - 2);
  nftw(root, forget, 16, FTW_DEPTH | FTW_PHYS);
}

/* Requests for one file after the other, `rounds` times. Returns the allocations of all rounds but the first. */
static unsigned allocations(struct peer *p, const char *const *requests, int count, int rounds) {
  struct response r = {0};
  for (int i = 0; i < rounds * count; i++) {
    if (i == count) fail_begin(UINT_MAX); /* none fails, all are counted */
    p->len = p->at = 0;
    peer_send(p, requests[i % count]);
    if (RESPONSE(p, &r)) CHECK_INT(r.status, 200);
    /* What has just changed is not remembered yet: begin again. */
    if (i < count && strncmp(find_header(&r, "ETag"), "W/", 2) == 0) i = -1;
  }
  unsigned counted = fail_count;
  fail_end();
  return counted;
}

/* Also behind many others, which have been forgotten since. */
TEST(files__steady_state__no_allocation_for_small_files) {
  static const char *const few[] = {GET("/small"), GET("/odd.qqq"), GET("/missing")};
  enum { MANY = 400 };
  char request[64], path[128], name[32];
  struct response r = {0};
  make_site();
  put_file("kept", large, 30000);
  rig_serve(NULL);
  rig.on_message = serve;
  tavi_http_files_opts_init(&opts);
  struct peer p = peer_open();
  plenty(&p);
  CHECK(allocations(&p, few, 3, 50) <= 10); /* once a second, a name for neighbours */
  char kept[128];
  snprintf(kept, sizeof(kept), "%s/kept", root);
  for (int i = 0; i < MANY; i++) {
    snprintf(name, sizeof(name), "%d", i);
    snprintf(path, sizeof(path), "%s/%s", root, name);
    if (link(kept, path) != 0) put_file(name, large, 30000);
  }
  static const char *const one[] = {GET("/399")};
  CHECK(allocations(&p, one, 1, 2) <= 10); /* until it is remembered, and so are all of them when they are asked for */
  for (int i = 0; i < MANY; i++) {
    snprintf(request, sizeof(request), "GET /%d HTTP/1.1\r\nHost: x\r\n\r\n", i);
    p.len = p.at = 0;
    peer_send(&p, request);
    if (RESPONSE(&p, &r)) CHECK_INT(r.status, 200);
  }
  CHECK(allocations(&p, few, 3, 50) <= 10);
  peer_close(&p);
  rig_stop();
  nftw(root, forget, 16, FTW_DEPTH | FTW_PHYS);
}
