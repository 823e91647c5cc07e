/* SPDX-License-Identifier: MIT
 *
 * The bodies of the library's requests and of their responses: uploads from memory, files and programs, refused early or
 * sent again; decoding, with its bounds; pausing. */
#include "e2e/request_rig.h"

#include <zlib.h>

/* ==== uploads ==== */

enum { UPLOAD_BYTES = 8000000 };

static char *upload;

static char *new_upload(void) {
  upload = malloc(UPLOAD_BYTES);
  if (upload == NULL) abort();
  for (size_t i = 0; i < UPLOAD_BYTES; i++) upload[i] = (char) (i * 7 + i / 251);
  return upload;
}

static void received_upload(struct peer *p) {
  UNTIL((peer_pump(p), p->len - p->at >= UPLOAD_BYTES));
  CHECK_INT(p->len - p->at, UPLOAD_BYTES);
  CHECK(memcmp(p->bytes + p->at, upload, UPLOAD_BYTES) == 0);
  p->at = p->len;
}

TEST(upload__memory__copied_taken_and_from_a_file) {
  new_upload();
  for (int i = 0; i < 3; i++) {
    struct ask a = {0};
    unsigned released = 0;
    start();
    new_req("PUT", "/");
    if (i < 2) req.body = (struct tavi_slice){upload, UPLOAD_BYTES};
    if (i == 1) req.release = release, req.release_arg = &released;
    if (i == 2) {
      req.body_fd = memfd_create("upload", MFD_CLOEXEC);
      if (write(req.body_fd, "skip", 4) != 4 || write(req.body_fd, upload, UPLOAD_BYTES) != UPLOAD_BYTES) abort();
      req.body_offset = 4;
      req.body_length = UPLOAD_BYTES;
    }
    CHECK_INT(send_req(&a, &whole), 0);
    struct peer p = accept_peer();
    CHECK(has_line(request(&p), "Content-Length: 8000000\r\n"));
    received_upload(&p);
    CHECK_INT(released, 0); /* it might have to be sent again */
    peer_send(&p, OK("0\r\n\r\n"));
    got(&a, 200, "");
    rig_settle();
    CHECK_INT(released, i == 1);
    CHECK_INT(stats().idle, 1);
    peer_close(&p);
    stop();
    forget(&a);
  }
  free(upload);
}

/* 307 sends it again, from each kind of source. */
TEST(upload__redirected) {
  new_upload();
  for (int i = 0; i < 2; i++) {
    struct ask a = {0};
    unsigned released = 0;
    start();
    new_req("PUT", "/");
    if (i == 0) {
      req.body = (struct tavi_slice){upload, UPLOAD_BYTES};
      req.release = release;
      req.release_arg = &released;
    } else {
      req.body_fd = memfd_create("upload", MFD_CLOEXEC);
      if (write(req.body_fd, upload, UPLOAD_BYTES) != UPLOAD_BYTES) abort();
      req.body_length = UPLOAD_BYTES;
    }
    CHECK_INT(send_req(&a, &whole), 0);
    struct peer p = accept_peer();
    request(&p);
    received_upload(&p);
    peer_send(&p, "HTTP/1.1 307 Again\r\nLocation: /2\r\nContent-Length: 0\r\n\r\n");
    CHECK(strncmp(request(&p), "PUT /2 ", 7) == 0);
    received_upload(&p);
    peer_send(&p, OK("0\r\n\r\n"));
    got(&a, 200, "");
    rig_settle();
    CHECK_INT(released, i == 0);
    peer_close(&p);
    stop();
    forget(&a);
  }
  free(upload);
}

static size_t produced;
static size_t pending_max;

static void produce(struct ask *a) {
  size_t n = UPLOAD_BYTES - produced < 10000 ? UPLOAD_BYTES - produced : 10000;
  CHECK_INT(tavi_http_call_send(a->call, upload + produced, n), 0);
  produced += n;
  if (tavi_http_call_pending(a->call) > pending_max) pending_max = tavi_http_call_pending(a->call);
  if (produced == UPLOAD_BYTES) {
    CHECK_INT(tavi_http_call_end(a->call), 0);
    CHECK_INT(tavi_http_call_send(a->call, "x", 1), TAVI_E_STATE);
  }
}

TEST(upload__streamed__with_a_length__is_held_back) {
  struct ask a = {.on_more = produce};
  new_upload();
  produced = pending_max = 0;
  start();
  new_req("POST", "/");
  req.streams_body = true;
  req.body_length = UPLOAD_BYTES;
  CHECK_INT(send_req(&a, &whole), 0);
  CHECK_INT(a.mores, 0);
  struct peer p = accept_peer();
  rig_settle();
  CHECK(produced < UPLOAD_BYTES); /* the server has read nothing */
  CHECK(has_line(request(&p), "Content-Length: 8000000\r\n"));
  received_upload(&p);
  peer_send(&p, OK("0\r\n\r\n"));
  got(&a, 200, "");
  CHECK(pending_max < 100000);
  CHECK_INT(stats().idle, 1);
  peer_close(&p);
  stop();
  forget(&a);
  free(upload);
}

static void nothing_yet(struct ask *a) { (void) a; }

TEST(upload__streamed__in_chunks__when_there_is_something) {
  struct ask a = {.on_more = nothing_yet};
  start();
  new_req("POST", "/");
  req.streams_body = true;
  CHECK_INT(send_req(&a, &whole), 0);
  CHECK_INT(tavi_http_call_send(a.call, "x", 1), TAVI_E_STATE); /* before on_more */
  struct peer p = accept_peer();
  CHECK(has_line(request(&p), "Transfer-Encoding: chunked\r\n"));
  UNTIL(a.mores == 1);
  rig_settle();
  CHECK_INT(a.mores, 1);
  CHECK_INT(tavi_http_call_send(a.call, "hello", 5), 0);
  UNTIL(a.mores == 2);
  CHECK_INT(tavi_http_call_send(a.call, "", 0), 0);
  CHECK_INT(tavi_http_call_end(a.call), 0);
  UNTIL((peer_pump(&p), strstr(p.bytes, "0\r\n\r\n") != NULL));
  CHECK(strcmp(p.bytes + p.at, "5\r\nhello\r\n0\r\n\r\n") == 0);
  peer_send(&p, OK("0\r\n\r\n"));
  got(&a, 200, "");
  peer_close(&p);
  stop();
  forget(&a);
}

static void refuse_too_much(struct ask *a) {
  CHECK_INT(tavi_http_call_send(a->call, "12345678901", 11), TAVI_E_STATE);
  CHECK_INT(tavi_http_call_end(a->call), TAVI_E_STATE); /* too little */
  CHECK_INT(tavi_http_call_send(a->call, "1234567890", 10), 0);
  CHECK_INT(tavi_http_call_end(a->call), 0);
}

TEST(upload__streamed__exactly_as_long_as_was_said) {
  struct ask a = {.on_more = refuse_too_much};
  start();
  new_req("POST", "/");
  req.streams_body = true;
  req.body_length = 10;
  CHECK_INT(send_req(&a, &whole), 0);
  struct peer p = accept_peer();
  request(&p);
  UNTIL((peer_pump(&p), p.len - p.at == 10));
  peer_send(&p, OK("0\r\n\r\n"));
  got(&a, 200, "");
  peer_close(&p);
  stop();
  forget(&a);
}

TEST(upload__streamed__redirected) {
  struct ask a = {.on_more = refuse_too_much};
  start();
  new_req("POST", "/");
  req.streams_body = true;
  req.body_length = 10;
  CHECK_INT(send_req(&a, &whole), 0);
  struct peer p = accept_peer();
  request(&p);
  UNTIL((peer_pump(&p), p.len - p.at == 10));
  peer_send(&p, "HTTP/1.1 308 Again\r\nLocation: /2\r\nContent-Length: 0\r\n\r\n");
  failed(&a, TAVI_E_STATE, "cannot be sent again");
  peer_close(&p);
  stop();
  forget(&a);
}

/* The server refuses in the middle of an upload and closes, with bytes of it unread: a reset follows its answer. */
TEST(upload__refused_early) {
  new_upload();
  for (int i = 0; i < 20; i++) {
    struct ask a = {.on_more = produce};
    test_note("%d", i);
    produced = 0;
    start();
    new_req("POST", "/");
    if (i & 1) {
      req.body = (struct tavi_slice){upload, UPLOAD_BYTES};
    } else {
      req.streams_body = true;
    }
    CHECK_INT(send_req(&a, &whole), 0);
    struct peer p = accept_peer();
    request(&p);
    peer_send(&p, "HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nno!");
    peer_close(&p);
    got(&a, 413, "no!");
    CHECK_INT(stats().idle, 0);
    stop();
    forget(&a);
  }
  free(upload);
}

TEST(upload__expects_continue) {
  static const char *const answers[] = {"HTTP/1.1 100 Continue\r\n\r\n", "", "HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n"};
  for (int i = 0; i < 3; i++) {
    struct ask a = {0};
    test_note("%s", answers[i]);
    start();
    new_req("POST", "/");
    req.body = SLICE("the body");
    req.expects_continue = true;
    CHECK_INT(send_req(&a, &whole), 0);
    struct peer p = accept_peer();
    CHECK(has_line(request(&p), "Expect: 100-continue\r\n"));
    rig_settle();
    peer_pump(&p);
    CHECK_INT(p.len, p.at);
    peer_send(&p, answers[i]);
    if (i < 2) { /* without a word after a second */
      UNTIL((peer_pump(&p), p.len == p.at + 8));
      peer_send(&p, OK("2\r\n\r\nok"));
      got(&a, 200, "ok");
      CHECK_INT(stats().idle, 1);
    } else {
      got(&a, 417, "");
      CHECK_INT(stats().idle, 0);
    }
    peer_close(&p);
    stop();
    forget(&a);
  }
}

/* ==== decoding ==== */

static size_t deflated(const char *from, size_t len, char *out, size_t cap, int window) {
  z_stream z = {0};
  if (deflateInit2(&z, 9, Z_DEFLATED, window, 8, Z_DEFAULT_STRATEGY) != Z_OK) abort();
  z.next_in = (Bytef *) (uintptr_t) from;
  z.avail_in = (unsigned) len;
  z.next_out = (Bytef *) out;
  z.avail_out = (unsigned) cap;
  if (deflate(&z, Z_FINISH) != Z_STREAM_END) abort();
  size_t used = z.total_out;
  deflateEnd(&z);
  return used;
}

static void serve_coded(struct ask *a, const char *coding, const char *body, size_t len, uint64_t max, bool is_slow, int kind) {
  char head[200];
  start();
  new_req("GET", "/");
  req.decodes = true;
  req.body_bytes_max = max;
  CHECK_INT(send_req(a, kind ? &pieces : &whole), 0);
  struct peer p = accept_peer();
  CHECK(has_line(request(&p), "Accept-Encoding: gzip, deflate"));
  snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Encoding: %s\r\nContent-Length: %zu\r\n\r\n", coding, len);
  peer_send(&p, head);
  if (is_slow)
    peer_send_slowly(&p, body, len);
  else
    peer_send_bytes(&p, body, len);
  UNTIL(a->done == 1);
  peer_close(&p);
}

TEST(decode__gzip_and_deflate) {
  static const struct {
    const char *name;
    int window;
  } codings[] = {{"gzip", 31}, {"deflate", 15}, {"deflate", -15}, {"X-GZIP", 31}};
  char coded[200], text[] = "hello hello hello hello";
  for (int i = 0; i < 16; i++) {
    struct ask a = {0};
    test_note("%s, %d", codings[i / 4].name, i % 4);
    size_t len = deflated(text, strlen(text), coded, sizeof(coded), codings[i / 4].window);
    serve_coded(&a, codings[i / 4].name, coded, len, 1000, (i & 1) != 0, i & 2);
    got(&a, 200, text);
    CHECK_INT(stats().idle, 1);
    stop();
    forget(&a);
  }
}

TEST(decode__identity_and_empty) {
  struct ask a = {0}, b = {0};
  serve_coded(&a, "identity", "plain", 5, 1000, false, 0);
  got(&a, 200, "plain");
  stop();
  serve_coded(&b, "gzip", "", 0, 1000, false, 0);
  got(&b, 200, "");
  stop();
  forget(&a);
  forget(&b);
}

TEST(decode__damaged_cut_off_or_unknown) {
  char coded[300], text[200];
  memset(text, 'x', sizeof(text));
  size_t len = deflated(text, sizeof(text), coded, sizeof(coded), 31);
  for (int kind = 0; kind < 2; kind++) {
    struct ask a = {0}, b = {0}, c = {0}, d = {0};
    serve_coded(&a, "gzip", coded, len - 1, 1000, false, kind);
    failed(&a, TAVI_E_PROTOCOL, "ends too early");
    stop();
    serve_coded(&b, "gzip", "no gzip at all", 14, 1000, false, kind);
    failed(&b, TAVI_E_PROTOCOL, "Content-Encoding");
    stop();
    serve_coded(&c, "compress", "abc", 3, 1000, false, kind);
    failed(&c, TAVI_E_UNSUPPORTED, "Content-Encoding: compress");
    stop();
    memcpy(coded + len, "!!", 2);
    serve_coded(&d, "gzip", coded, len + 2, 1000, false, kind);
    failed(&d, TAVI_E_PROTOCOL, "Content-Encoding");
    stop();
    forget(&a), forget(&b), forget(&c), forget(&d);
  }
}

/* 64 MiB of zeros in 64 KiB: what comes out is bounded, in each turn and in all. */
TEST(decode__bomb) {
  enum { ZEROS = 64 << 20 };
  char *zeros = calloc(1, ZEROS), *coded = malloc(1 << 20);
  size_t len = deflated(zeros, ZEROS, coded, 1 << 20, 31);
  free(zeros);
  for (int kind = 0; kind < 2; kind++) {
    struct ask a = {0};
    serve_coded(&a, "gzip", coded, len, 1 << 20, false, kind);
    failed(&a, TAVI_E_LIMIT, "body_bytes_max");
    CHECK(a.len <= 1 << 20);
    stop();
    forget(&a);
  }
  free(coded);
}

static size_t most_per_turn, bytes_this_turn, all_bytes;

static void count_bytes(struct tavi_http_call *call, struct tavi_slice data, void *user) {
  (void) call, (void) user;
  bytes_this_turn += data.len;
  all_bytes += data.len;
}

TEST(decode__large__in_turns) {
  static const struct tavi_http_call_handlers counting = {.on_data = count_bytes, .on_done = ask_on_done};
  enum { ZEROS = 16 << 20 };
  struct ask a = {0};
  char *zeros = calloc(1, ZEROS), *coded = malloc(1 << 20), head[200];
  size_t len = deflated(zeros, ZEROS, coded, 1 << 20, 31);
  free(zeros);
  most_per_turn = all_bytes = 0;
  start();
  new_req("GET", "/");
  req.decodes = true;
  CHECK_INT(send_req(&a, &counting), 0);
  struct peer p = accept_peer();
  request(&p);
  snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %zu\r\n\r\n", len);
  peer_send(&p, head);
  peer_send_bytes(&p, coded, len);
  while (a.done == 0) {
    bytes_this_turn = 0;
    tavi_manager_poll(rig.m, 100);
    if (bytes_this_turn > most_per_turn) most_per_turn = bytes_this_turn;
  }
  CHECK_INT(a.err, 0);
  CHECK_INT(all_bytes, ZEROS);
  CHECK(most_per_turn <= (1 << 20) + (64 << 10));
  peer_close(&p);
  stop();
  free(coded);
}

/* ==== back-pressure ==== */

static void pause_it(struct ask *a) { tavi_http_call_pause(a->call); }

TEST(pause__the_server_is_held_back) {
  new_upload();
  for (int coded = 0; coded < 2; coded++) {
    struct ask a = {.on_data = pause_it};
    char head[200], *body = malloc(UPLOAD_BYTES * 2);
    size_t len = UPLOAD_BYTES, sent = 0;
    if (coded) len = deflated(upload, UPLOAD_BYTES, body, UPLOAD_BYTES * 2, 31);
    else memcpy(body, upload, UPLOAD_BYTES);
    start();
    new_req("GET", "/");
    req.decodes = coded;
    req.idle_timeout_ms = 1000;
    CHECK_INT(send_req(&a, &pieces), 0);
    struct peer p = accept_peer();
    request(&p);
    snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\n%sContent-Length: %zu\r\n\r\n", coded ? "Content-Encoding: gzip\r\n" : "", len);
    peer_send(&p, head);
    for (int quiet = 0; quiet < 5;) { /* as much as the kernel takes */
      ssize_t n = sent < len ? peer_try_send(&p, body + sent, len - sent) : 0;
      sent += n > 0 ? (size_t) n : 0;
      quiet = tavi_manager_poll(rig.m, 2) == 0 && n == 0 ? quiet + 1 : 0;
    }
    CHECK_INT(a.datas, 1);
    CHECK(tavi_manager_buffered(rig.m) < 1000000);
    while (a.done == 0 && a.datas < 100000) {
      unsigned before = a.datas;
      tavi_http_call_resume(a.call);
      UNTIL((sent += sent < len ? (size_t) peer_try_send(&p, body + sent, len - sent) : 0, a.datas > before || a.done == 1));
      rig_settle();
      if (a.done == 0 && a.on_data != NULL) CHECK_INT(a.datas, before + 1);
      if (a.datas > 10) a.on_data = NULL; /* long enough */
    }
    CHECK_INT(a.err, 0);
    CHECK_BYTES(a.body, a.len, upload, UPLOAD_BYTES);
    free(body);
    peer_close(&p);
    stop();
    forget(&a);
  }
  free(upload);
}
