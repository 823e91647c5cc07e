/* SPDX-License-Identifier: MIT
 *
 * Files as answers: requests of all kinds, ranges byte by byte, what is no file, and the calls themselves. */
#include "e2e/http_site.h"

TEST(request__head_tells_the_same_and_sends_nothing) {
  EACH_SIZE(size) {
    char length[32];
    site_start();
    put_pattern("www/f", size, 1, O_TRUNC);
    snprintf(length, sizeof(length), "%zu", size);
    CHECK_INT(status_of("HEAD", "/f", ""), 200);
    CHECK(header_is(&got, "Content-Length", length));
    CHECK(find_header(&got, "ETag") != NULL && find_header(&got, "Last-Modified") != NULL);
    CHECK_INT(status_of("HEAD", "/f", "Range: bytes=0-1\r\n"), 200); /* ranges are for GET (RFC 9110 section 14.2) */
    CHECK(header_is(&got, "Content-Length", length));
    CHECK_INT(status_of("HEAD", "/", ""), 200);
    CHECK_INT(status_of("HEAD", "/none", ""), 404);
    CHECK_INT(get("/f"), 200); /* nothing else came in between */
    CHECK_PATTERN(got.body, size, 1);
    stop_asking();
    site_stop();
  }
}

TEST(request__many_in_one_packet__answered_in_order) {
  site_start();
  put_pattern("www/s", SMALL, 1, O_TRUNC);
  put_pattern("www/l", LARGE, 2, O_TRUNC);
  put_text("www/empty", "");
  mkdir(at("www/d"), 0755);
  size_t len;
  char *all = repeat(GET("/s") GET("/l") "HEAD /l HTTP/1.1\r\nHost: x\r\n\r\n" GET("/d/") GET("/empty") GET("/none") GET("/s"),
                     20, &len);
  struct peer p = peer_open();
  CHECK(peer_send_bytes(&p, all, len));
  for (int i = 0; i < 20; i++) {
    struct response r = {0};
    if (RESPONSE(&p, &r)) CHECK_PATTERN(r.body, SMALL, 1);
    if (RESPONSE(&p, &r)) CHECK_PATTERN(r.body, LARGE, 2);
    if (RESPONSE_TO_HEAD(&p, &r)) CHECK(header_is(&r, "Content-Length", "300000"));
    if (RESPONSE(&p, &r)) CHECK(header_is(&r, "Transfer-Encoding", "chunked"));
    EXPECT(&p, 200, "");
    EXPECT(&p, 404, "Not found\n");
    if (RESPONSE(&p, &r)) CHECK_PATTERN(r.body, SMALL, 1);
    response_free(&r);
  }
  CHECK_INT(rig.opened, 1);
  free(all);
  peer_close(&p);
  site_stop();
}

TEST(request__http_1_0_and_connection_close) {
  static const char *const requests[] = {"GET %s HTTP/1.0\r\n\r\n", "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"};
  for (int i = 0; i < 2; i++) {
    site_start();
    put_pattern("www/s", SMALL, 1, O_TRUNC);
    put_pattern("www/l", HUGE, 2, O_TRUNC);
    for (int k = 0; k < 3; k++) {
      char request[128];
      struct response r = {0};
      struct peer p = peer_open();
      snprintf(request, sizeof(request), requests[i], k == 0 ? "/s" : k == 1 ? "/l" : "/");
      peer_send(&p, request);
      if (RESPONSE(&p, &r)) {
        CHECK_INT(r.status, 200);
        if (k == 0) CHECK_PATTERN(r.body, SMALL, 1);
        if (k == 1) CHECK_PATTERN(r.body, HUGE, 2);
        if (k == 2) CHECK(memmem(r.body.ptr, r.body.len, "</table>\n", 9) != NULL);
        if (k == 2) CHECK((find_header(&r, "Transfer-Encoding") == NULL) == (i == 0));
      }
      EXPECT_END(&p);
      response_free(&r);
      peer_close(&p);
    }
    site_stop();
  }
}

TEST(request__what_is_no_file_is_not_there) {
  site_start();
  CHECK_INT(mkfifo(at("www/fifo"), 0644), 0);
  CHECK_INT(symlink("loop", at("www/loop")), 0);
  CHECK_INT(symlink("/dev/zero", at("www/zero")), 0);
  bool has_device = mknod(at("www/null"), S_IFCHR | 0644, 0x103) == 0;
  CHECK_INT(get("/fifo"), 404);
  CHECK_INT(get("/fifo/"), 404);
  CHECK_INT(get("/loop"), 404);
  CHECK_INT(get("/zero"), 404);
  if (has_device) CHECK_INT(get("/null"), 404);
  opts.links_out = true;
  CHECK_INT(get("/zero"), 404);
  CHECK_INT(get("/"), 200);
  CHECK(memmem(got.body.ptr, got.body.len, "fifo", 4) == NULL);
  CHECK(memmem(got.body.ptr, got.body.len, "zero", 4) == NULL);
  opts.missing = at("www/fifo");
  CHECK_INT(get("/none"), 404);
  CHECK_STR(got.body, "Not found\n");
  stop_asking();
  site_stop();
}

TEST(request__times_that_are_hard_to_tell) {
  static const struct {
    int64_t time_s;
    const char *modified;
  } cases[] = {{0, "Thu, 01 Jan 1970 00:00:00 GMT"}, {-1, "Wed, 31 Dec 1969 23:59:59 GMT"}, {13569465600, NULL}};
  for (int i = 0; i < 3; i++) { /* the last: the year 2400, which nanoseconds in 64 bits do not reach */
    struct timespec times[2] = {{cases[i].time_s, 0}, {cases[i].time_s, 5}};
    site_start();
    put_text("www/f", "text");
    test_note("time %lld", (long long) cases[i].time_s);
    if (utimensat(AT_FDCWD, at("www/f"), times, 0) == 0) {
      for (int k = 0; k < 2; k++) {
        CHECK_INT(get("/f"), 200);
        CHECK_STR(got.body, "text");
        if (cases[i].modified != NULL) CHECK(header_is(&got, "Last-Modified", cases[i].modified));
        await_settled("/f");
      }
      CHECK_INT(get("/"), 200);
      put_text("www/f", "news");
      CHECK_INT(get("/f"), 200);
      CHECK_STR(got.body, "news");
    }
    stop_asking();
    site_stop();
  }
}

/* ==== ranges ==== */

/* What multipart/byteranges of a pattern has to be; the boundary as the answer has it. Free it. */
static char *parts_of(const char *boundary, size_t size, const size_t (*ranges)[2], int count, size_t *ret_len) {
  size_t cap = size + (size_t) count * 256 + 64, len = 0;
  char *bytes = pattern(size, 1), *to = malloc(cap);
  if (to == NULL) abort();
  for (int i = 0; i < count; i++) {
    len += (size_t) snprintf(to + len, cap - len, "\r\n--%s\r\nContent-Type: text/plain; charset=utf-8\r\n", boundary);
    len += (size_t) snprintf(to + len, cap - len, "Content-Range: bytes %zu-%zu/%zu\r\n\r\n", ranges[i][0], ranges[i][1], size);
    memcpy(to + len, bytes + ranges[i][0], ranges[i][1] - ranges[i][0] + 1);
    len += ranges[i][1] - ranges[i][0] + 1;
  }
  len += (size_t) snprintf(to + len, cap - len, "\r\n--%s--\r\n", boundary);
  free(bytes);
  *ret_len = len;
  return to;
}

/* Every second byte, `count` of them. */
static void many_ranges(char *field, size_t cap, int count) {
  size_t len = 0;
  for (int i = 0; i < count; i++)
    len += (size_t) snprintf(field + len, cap - len, "%s%d-%d", i == 0 ? "Range: bytes=" : ",", i * 2, i * 2);
  snprintf(field + len, cap - len, "\r\n");
}

static void check_parts(size_t size, const char *field, const size_t (*ranges)[2], int count) {
  static const char multipart[] = "multipart/byteranges; boundary=";
  char boundary[64] = "", length[32];
  size_t len;
  test_note("%.200s of %zu", field, size);
  CHECK_INT(status_of("GET", "/f", field), 206);
  const char *type = find_header(&got, "Content-Type");
  if (CHECK(type != NULL && strncmp(type, multipart, sizeof(multipart) - 1) == 0))
    snprintf(boundary, sizeof(boundary), "%.*s", (int) strcspn(type + sizeof(multipart) - 1, "\r"), type + sizeof(multipart) - 1);
  CHECK(find_header(&got, "Content-Range") == NULL); /* RFC 9110 section 15.3.7.2 */
  char *wanted = parts_of(boundary, size, ranges, count, &len);
  snprintf(length, sizeof(length), "%zu", len);
  CHECK(header_is(&got, "Content-Length", length));
  CHECK(got.body.len == len && memcmp(got.body.ptr, wanted, len) == 0);
  free(wanted);
}

TEST(ranges__one_and_many__are_byte_exact) {
  EACH_SIZE(size) {
    char field[2048], wanted[64];
    site_start();
    put_pattern("www/f", size, 1, O_TRUNC);
    for (int settled = 0; settled < 2; settled++) {
      char *bytes = pattern(size, 1);
      CHECK_INT(status_of("GET", "/f", "Range: bytes=10-19\r\n"), 206);
      CHECK_BYTES(got.body.ptr, got.body.len, bytes + 10, 10);
      snprintf(wanted, sizeof(wanted), "bytes 10-19/%zu", size);
      CHECK(header_is(&got, "Content-Range", wanted));
      CHECK_INT(status_of("GET", "/f", "Range: bytes=-7\r\n"), 206);
      CHECK_BYTES(got.body.ptr, got.body.len, bytes + size - 7, 7);
      CHECK_INT(status_of("GET", "/f", "Range: bytes=0-\r\n"), 206);
      CHECK_PATTERN(got.body, size, 1);
      check_parts(size, "Range: bytes=5-6,900-,0-1\r\n", (const size_t[][2]){{5, 6}, {900, size - 1}, {0, 1}}, 3);
      check_parts(size, "Range: bytes=0-0,-1,999999999-\r\n", (const size_t[][2]){{0, 0}, {size - 1, size - 1}}, 2);
      CHECK_INT(status_of("GET", "/f", "Range: bytes=0-9,5-19,20-29\r\n"), 206); /* they are one */
      CHECK_BYTES(got.body.ptr, got.body.len, bytes, 30);
      snprintf(field, sizeof(field), "Range: bytes=%zu-\r\n", size);
      CHECK_INT(status_of("GET", "/f", field), 416);
      snprintf(wanted, sizeof(wanted), "bytes */%zu", size);
      CHECK(header_is(&got, "Content-Range", wanted));
      free(bytes);
      await_settled("/f");
    }
    stop_asking();
    site_stop();
  }
}

TEST(ranges__more_than_the_cap__whole_file) {
  static const struct {
    unsigned cap;
    int asked, status;
  } cases[] = {{16, 16, 206}, {16, 17, 200}, {1, 1, 206}, {1, 2, 200}, {0, 1, 200}, {1000, 64, 206}, {1000, 65, 200}};
  site_start();
  put_pattern("www/f", SMALL, 1, O_TRUNC);
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    char field[1024];
    opts.ranges_max = cases[i].cap;
    many_ranges(field, sizeof(field), cases[i].asked);
    test_note("%d of %u", cases[i].asked, cases[i].cap);
    CHECK_INT(status_of("GET", "/f", field), cases[i].status);
    if (cases[i].status == 200) CHECK_PATTERN(got.body, SMALL, 1);
    if (cases[i].status == 200) CHECK((find_header(&got, "Accept-Ranges") != NULL) == (cases[i].cap > 0));
  }
  stop_asking();
  site_stop();
}

TEST(ranges__content_type_of_the_callers__is_that_of_each_part) {
  struct tavi_http_header own = HEADER("Content-Type", "application/x-own");
  site_start();
  put_pattern("www/f", SMALL, 1, O_TRUNC);
  opts.headers = &own;
  opts.header_count = 1;
  CHECK_INT(status_of("GET", "/f", "Range: bytes=0-1,5-6\r\n"), 206);
  const char *type = find_header(&got, "Content-Type"), own_type[] = "Content-Type: application/x-own\r\n";
  CHECK(type != NULL && strncmp(type, "multipart/byteranges; boundary=", 31) == 0);
  const char *first = memmem(got.body.ptr, got.body.len, own_type, strlen(own_type));
  CHECK(first != NULL && memmem(first + 1, (size_t) (got.body.ptr + got.body.len - first) - 1, own_type,
                                strlen(own_type)) != NULL);
  CHECK_INT(status_of("GET", "/f", "Range: bytes=0-1\r\n"), 206);
  CHECK(header_is(&got, "Content-Type", "application/x-own"));
  stop_asking();
  site_stop();
}

/* What the protocol frames an answer with is not the caller's to say: it would never end. */
TEST(headers__framing_of_the_callers__is_left_out) {
  struct tavi_http_header own[] = {HEADER("Transfer-Encoding", "chunked"), HEADER("Content-Length", "3"),
                                   HEADER("ETag", "\"mine\""), HEADER("X-Own", "1")};
  site_start();
  put_pattern("www/f", SMALL, 1, O_TRUNC);
  opts.headers = own;
  opts.header_count = 4;
  for (int i = 0; i < 2; i++) { /* on one connection */
    CHECK_INT(status_of("GET", "/f", ""), 200);
    CHECK_PATTERN(got.body, SMALL, 1);
    CHECK(header_is(&got, "X-Own", "1") && !header_is(&got, "ETag", "\"mine\""));
    CHECK_INT(status_of("GET", "/none", ""), 404);
    CHECK(find_header(&got, "Transfer-Encoding") == NULL && header_is(&got, "X-Own", "1"));
  }
  stop_asking();
  site_stop();
}

TEST(ranges__of_an_empty_file) {
  site_start();
  put_text("www/f", "");
  for (int settled = 0; settled < 2; settled++) {
    CHECK_INT(get("/f"), 200);
    CHECK(header_is(&got, "Content-Length", "0"));
    CHECK_INT(status_of("GET", "/f", "Range: bytes=0-\r\n"), 416);
    CHECK(header_is(&got, "Content-Range", "bytes */0"));
    CHECK_INT(status_of("GET", "/f", "Range: bytes=-5\r\n"), 200);
    CHECK_INT(get("/f"), 200);
    await_settled("/f");
  }
  stop_asking();
  site_stop();
}

TEST(ranges__if_range__with_a_weak_tag_is_not_obeyed) {
  char field[256];
  site_start();
  put_pattern("www/f", SMALL, 1, O_TRUNC);
  await_settled("/f");
  const char *tag = find_header(&got, "ETag");
  snprintf(field, sizeof(field), "Range: bytes=0-1\r\nIf-Range: %.*s\r\n", (int) strcspn(tag, "\r"), tag);
  CHECK_INT(status_of("GET", "/f", field), 206);
  snprintf(field, sizeof(field), "Range: bytes=0-1\r\nIf-Range: W/%.*s\r\n", (int) strcspn(tag, "\r"), tag);
  CHECK_INT(status_of("GET", "/f", field), 200);
  put_pattern("www/f", SMALL, 2, 0);
  snprintf(field, sizeof(field), "Range: bytes=0-1\r\nIf-Range: %.*s\r\n", (int) strcspn(tag, "\r"), tag);
  CHECK_INT(status_of("GET", "/f", field), 200);
  CHECK_PATTERN(got.body, SMALL, 2);
  stop_asking();
  site_stop();
}

/* ==== the calls ==== */

static int errs[4];

static void answer_twice(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  errs[0] = tavi_http_serve_dir(c, msg, NULL, NULL);
  errs[1] = tavi_http_serve_dir(c, msg, "", NULL);
  errs[2] = tavi_http_serve_file(c, msg, NULL, NULL);
  serve(c, msg);
  errs[3] = tavi_http_serve_dir(c, msg, root, &opts);
}

static void answer_closed(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  tavi_conn_close(c);
  serve(c, msg);
}

TEST(call__states_and_arguments) {
  site_start();
  put_text("www/f", "text");
  rig.on_message = answer_twice;
  CHECK_INT(get("/f"), 200);
  CHECK_STR(got.body, "text");
  CHECK_INT(errs[0], TAVI_E_ARG);
  CHECK_INT(errs[1], TAVI_E_ARG);
  CHECK_INT(errs[2], TAVI_E_ARG);
  CHECK_INT(serve_err, 0);
  CHECK_INT(errs[3], TAVI_E_STATE);
  CHECK_INT(get("/"), 200); /* a listing has begun, too */
  CHECK_INT(errs[3], TAVI_E_STATE);
  rig.on_message = answer_closed;
  peer_send(&ask, GET("/f"));
  UNTIL(rig.closed == 1);
  CHECK_INT(serve_err, TAVI_E_CLOSED);
  stop_asking();
  site_stop();
}

TEST(call__from_on_headers__the_body_is_dropped) {
  site_start();
  put_text("www/f", "text");
  rig.on_headers = serve;
  rig.on_message = NULL;
  CHECK_INT(status_of("POST", "/f", "Content-Length: 5\r\n\r\nhello"), 405);
  CHECK(header_is(&got, "Allow", "GET, HEAD"));
  stop_asking();
  site_stop();
}

static void serve_one(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  serve_err = tavi_http_serve_file(c, msg, at("www/f"), &opts);
}

TEST(call__one_file__whatever_the_request) {
  static const char *const methods[] = {"GET", "POST", "DELETE", "OPTIONS", "X"};
  site_start();
  rig.on_message = serve_one;
  CHECK_INT(get("/"), 404);
  mkdir(at("www/f"), 0755);
  CHECK_INT(get("/"), 404); /* a directory */
  rmdir(at("www/f"));
  put_text("f", "text");
  CHECK_INT(symlink("../f", at("www/f")), 0); /* the caller's own links may lead anywhere */
  for (size_t i = 0; i < 5; i++) {
    CHECK_INT(status_of(methods[i], "/../%00.x", ""), 200);
    CHECK_STR(got.body, "text");
  }
  CHECK_INT(status_of("POST", "/", "If-None-Match: *\r\n"), 412);
  CHECK_INT(status_of("GET", "/", "If-None-Match: *\r\n"), 304);
  CHECK_INT(status_of("OPTIONS", "/", "If-None-Match: *\r\n"), 200); /* it has no conditions */
  stop_asking();
  site_stop();
}

TEST(call__headers_of_the_callers_go_with_everything_and_before_ours) {
  enum { COUNT = 40 };
  struct tavi_http_header many[COUNT];
  static const char *const requests[][2] = {
      {"/f", ""},
      {"/none", ""},
      {"/d", ""},
      {"/d/", ""},
      {"/../", ""},
      {"/f", "Range: bytes=0-0\r\n"},
      {"/f", "Range: bytes=0-0,2-2\r\n"},
      {"/f", "Range: bytes=9-\r\n"},
      {"/f", "If-None-Match: *\r\n"},
      {"/f", "If-Match: \"x\"\r\n"},
  };
  for (int i = 0; i < COUNT; i++) many[i] = HEADER("X-Own", "1");
  many[COUNT - 1] = HEADER("cache-control", "max-age=5");
  site_start();
  put_text("www/f", "text");
  mkdir(at("www/d"), 0755);
  opts.headers = many;
  opts.header_count = COUNT;
  for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
    test_note("%s %s", requests[i][0], requests[i][1]);
    CHECK(status_of("GET", requests[i][0], requests[i][1]) > 0);
    CHECK(header_is(&got, "X-Own", "1"));
    CHECK(header_is(&got, "Cache-Control", "max-age=5"));
    CHECK(memmem(got.head.ptr, got.head.len, "no-cache", 8) == NULL);
  }
  stop_asking();
  site_stop();
}
