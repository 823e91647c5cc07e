/* SPDX-License-Identifier: MIT
 *
 * Forms received by tavi_http_receive_form(): values and files in any pieces, the order of things, and what is refused. */
#include "e2e/form_rig.h"

/* ==== what arrives ==== */

TEST(form__whole_or_byte_by_byte__the_same_parts) {
  for (size_t chunk = 0; chunk < 8; chunk += 7) {
    struct text r = request(TYPE, mixed, sizeof(mixed) - 1, chunk);
    serve();
    struct peer p = peer_open();
    peer_send_bytes(&p, r.bytes, r.len);
    EXPECT(&p, 200, mixed_seen);
    peer_send_slowly(&p, r.bytes, r.len);
    EXPECT(&p, 200, mixed_seen);
    CHECK_INT(forms, 2);
    CHECK_INT(form_err, 0);
    CHECK_INT(form_status, 0);
    CHECK(form_text[0] == '\0');
    CHECK_INT(rig.messages, 0);
    peer_close(&p);
    stop();
    free(r.bytes);
  }
}

TEST(form__split_at_every_position__the_same_parts) {
  for (size_t chunk = 0; chunk < 60; chunk += 50) {
    struct text r = request(TYPE, mixed, sizeof(mixed) - 1, chunk);
    serve();
    struct peer p = peer_open();
    for (size_t split = 1; split < r.len; split++) {
      unsigned reads = rig.reads;
      test_note("split at %zu, chunks of %zu", split, chunk);
      peer_send_bytes(&p, r.bytes, split);
      UNTIL(rig.reads > reads);
      peer_send_bytes(&p, r.bytes + split, r.len - split);
      EXPECT(&p, 200, mixed_seen);
    }
    peer_close(&p);
    stop();
    free(r.bytes);
  }
}

TEST(form__urlencoded__split_at_every_position) {
  static const char body[] = "a=1&b=%20x+y%26&&c&=d&%C3%A4=%c3%a4&e=";
  struct text r = request("Application/X-WWW-Form-Urlencoded; charset=utf-8", body, sizeof(body) - 1, 0);
  serve();
  opts.directory = NULL;
  struct peer p = peer_open();
  for (size_t split = 1; split < r.len; split++) {
    unsigned reads = rig.reads;
    peer_send_bytes(&p, r.bytes, split);
    UNTIL(rig.reads > reads);
    peer_send_bytes(&p, r.bytes + split, r.len - split);
    EXPECT(&p, 200, "a=1;b= x y&;c=;=d;\xc3\xa4=\xc3\xa4;e=;");
  }
  peer_close(&p);
  stop();
  free(r.bytes);
}

TEST(form__empty_ones) {
  serve();
  struct peer p = peer_open();
  post(&p, TYPE, "--xy--\r\n");
  EXPECT(&p, 200, "");
  post(&p, "application/x-www-form-urlencoded", "");
  EXPECT(&p, 200, "");
  peer_send(&p, "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\n");
  EXPECT(&p, 200, "");
  CHECK_INT(forms, 3);
  post(&p, TYPE, "");
  EXPECT(&p, 400, "400 Bad Request\n");
  peer_close(&p);
  stop();
}

TEST(form__files_of_all_sizes_around_the_buffers) {
  static const size_t sizes[] = {0, 1, 99, 131071, 131072, 131073, 262143, 262144, 262145, 524288, 5000000};
  serve();
  struct peer p = peer_open();
  for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
    struct text t = file_form(sizes[i]);
    test_note("%zu bytes", sizes[i]);
    post_bytes(&p, TYPE, t.bytes, t.len, i % 2 == 0 ? 0 : 10000);
    EXPECT(&p, 200, file_seen(t, sizes[i]));
    free(t.bytes);
  }
  peer_close(&p);
  stop();
}

TEST(form__many_small_files) {
  size_t len;
  char *files = repeat(FILE_PART("x") "small\r\n", 64, &len);
  files = realloc(files, len + 20);
  if (files == NULL) abort();
  memcpy(files + len, "--xy--\r\n", 9);
  serve();
  unsigned before = descriptors();
  struct peer p = peer_open();
  post(&p, TYPE, files);
  UNTIL(forms == 1);
  CHECK_INT(form_err, 0);
  CHECK_INT(strlen(seen), 64 * strlen("f@x(text/plain)=small;"));
  peer_close(&p);
  UNTIL(rig.closed == 1 && tavi_manager_buffered(rig.m) == 0);
  CHECK(descriptors() <= before);
  stop();
  free(files);
}

/* ==== the order of things ==== */

TEST(form__requests_behind_it__wait_for_its_answer) {
  struct text t = file_form(300000), r = request(TYPE, t.bytes, t.len, 0);
  serve();
  struct peer p = peer_open();
  r.bytes = realloc(r.bytes, r.len * 2 + 100);
  if (r.bytes == NULL) abort();
  memcpy(r.bytes + r.len, r.bytes, r.len);
  memcpy(r.bytes + 2 * r.len, GET("/behind"), sizeof(GET("/behind")));
  peer_send_bytes(&p, r.bytes, 2 * r.len + sizeof(GET("/behind")) - 1);
  EXPECT(&p, 200, file_seen(t, 300000));
  EXPECT(&p, 200, file_seen(t, 300000));
  EXPECT(&p, 200, "GET /behind ");
  peer_close(&p);
  stop();
  free(t.bytes);
  free(r.bytes);
}

static uint64_t waiting_id;

static void answer_later(struct tavi_timer *t, void *user) {
  struct tavi_conn *c = tavi_manager_conn(rig.m, waiting_id);
  (void) t, (void) user;
  if (CHECK(c != NULL)) reply_text(c, 200, "later");
}

static void answer_by_timer(struct tavi_conn *c, const struct tavi_form *form) {
  (void) form;
  waiting_id = tavi_conn_id(c);
  tavi_timer_start(rig.m, 20, 0, answer_later, NULL, NULL);
}

TEST(form__answered_by_a_timer) {
  serve();
  answers = false;
  and_then = answer_by_timer;
  struct peer p = peer_open();
  post(&p, TYPE, mixed);
  post(&p, TYPE, mixed);
  EXPECT(&p, 200, "later");
  EXPECT(&p, 200, "later");
  peer_close(&p);
  stop();
}

TEST(form__expect_100_continue) {
  serve();
  struct peer p = peer_open();
  struct response r = {0};
  peer_send(&p, "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 8\r\nContent-Type: " TYPE "\r\n\r\n");
  if (RESPONSE(&p, &r)) CHECK_INT(r.status, 100);
  CHECK_INT(forms, 0);
  peer_send(&p, "--xy--\r\n");
  EXPECT(&p, 200, "");
  opts.body_bytes_max = 7;
  peer_send(&p, "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 8\r\nContent-Type: " TYPE "\r\n\r\n");
  EXPECT(&p, 413, "413 Content Too Large\n"); /* and no 100 before it */
  CHECK_INT(form_err, TAVI_E_LIMIT);
  EXPECT_END(&p);
  peer_close(&p);
  stop();
}

static void answer_itself(struct tavi_conn *c, const struct tavi_form *form) {
  if (form->err < 0) reply_text(c, 422, form->text);
}

TEST(form__bad__answered_by_on_form) {
  serve();
  and_then = answer_itself;
  struct peer p = peer_open();
  post(&p, TYPE, "--xy\r\nX: y\r\n\r\n");
  EXPECT(&p, 422, "a part of the form has a bad head, or no name");
  EXPECT_END(&p);
  peer_close(&p);
  stop();
}

TEST(form__answered_before__is_received_all_the_same) {
  serve();
  answers_first = true;
  struct peer p = peer_open();
  post(&p, TYPE, "--xy--\r\n");
  EXPECT(&p, 200, "first");
  CHECK_INT(receive_err, TAVI_E_STATE);
  CHECK_INT(forms, 0);
  peer_close(&p);
  stop();
}

static void receive_and_answer(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  receive(c, msg);
  if (is_receiving) reply_text(c, 200, "at once");
}

TEST(form__answered_meanwhile__on_form_comes_and_the_next_request_too) {
  struct text t = file_form(300000);
  serve();
  answers = false;
  rig.on_headers = receive_and_answer;
  struct peer p = peer_open();
  post_bytes(&p, TYPE, t.bytes, t.len, 0);
  peer_send(&p, GET("/next"));
  EXPECT(&p, 200, "at once");
  EXPECT(&p, 200, "GET /next ");
  CHECK_INT(forms, 1);
  CHECK(strcmp(seen, file_seen(t, 300000)) == 0);
  post(&p, TYPE, "--xy\r\nX: y\r\n\r\n"); /* bad */
  EXPECT(&p, 200, "at once");
  EXPECT_END(&p);
  CHECK_INT(form_err, TAVI_E_PROTOCOL);
  peer_close(&p);
  stop();
  free(t.bytes);
}

/* ==== what is refused ==== */

struct bad {
  const char *what, *body;
  int status, err;
  const char *text, *seen;
};

static void check_bad(const struct bad *bad, const char *type, size_t chunk) {
  test_note("%s, chunks of %zu", bad->what, chunk);
  struct response r = {0};
  struct peer p = peer_open();
  forms = 0;
  form_text[0] = seen[0] = '\0';
  post_bytes(&p, type, bad->body, strlen(bad->body), chunk);
  if (RESPONSE(&p, &r)) CHECK_INT(r.status, bad->status);
  EXPECT_END(&p);
  CHECK_INT(forms, 1);
  CHECK_INT(form_status, bad->status);
  CHECK_INT(form_err, bad->err);
  CHECK(strstr(form_text, bad->text) != NULL);
  CHECK_BYTES(seen, strlen(seen), bad->seen, strlen(bad->seen));
  response_free(&r);
  peer_close(&p);
}

#define A_PART VALUE_PART("a", "1")

TEST(refused__bodies_that_are_no_forms) {
  static const struct bad all[] = {
      {"no name", A_PART "--xy\r\nX: y\r\n\r\n1\r\n--xy--", 400, TAVI_E_PROTOCOL, "no name", "a=1;"},
      {"another boundary", "--ab\r\n" CD "name=a\r\n\r\n1\r\n--ab--", 400, TAVI_E_PROTOCOL, "last delimiter", ""},
      {"no last delimiter", A_PART "--xy\r\n" CD "name=b\r\n\r\n2\r\n", 400, TAVI_E_PROTOCOL, "last delimiter", "a=1;"},
      {"half of it", A_PART "--xy-", 400, TAVI_E_PROTOCOL, "last delimiter", "a=1;"},
      {"junk behind a delimiter", A_PART "--xyz\r\n", 400, TAVI_E_PROTOCOL, "boundary", "a=1;"},
      {"a file without end", A_PART FILE_PART("f") "content", 400, TAVI_E_PROTOCOL, "last delimiter", "a=1;"},
  };
  serve();
  for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
    for (size_t chunk = 0; chunk < 20; chunk += 5) check_bad(&all[i], TYPE, chunk);
  struct bad escape = {"a bad escape", "a=1&b=%2", 400, TAVI_E_PROTOCOL, "escape", "a=1;"};
  check_bad(&escape, "application/x-www-form-urlencoded", 0);
  stop();
}

TEST(refused__beyond_limits) {
  static const struct bad all[] = {
      {"a value", VALUE_PART("a", "1") VALUE_PART("b", "12345678901") "--xy--", 413, TAVI_E_LIMIT, "value", "a=1;"},
      {"a file", VALUE_PART("a", "1") FILE_PART("f") "123456789012345678901\r\n--xy--", 413, TAVI_E_LIMIT, "file", "a=1;"},
      {"parts", A_PART A_PART A_PART A_PART A_PART "--xy--", 413, TAVI_E_LIMIT, "parts", "a=1;a=1;a=1;a=1;"},
      {"files", FILE_PART("a") "1\r\n" FILE_PART("b") "1\r\n" FILE_PART("c") "\r\n--xy--", 413, TAVI_E_LIMIT, "files", NULL},
      {"memory", VALUE_PART("aaaaaaaaaaaaaaaaaaaa", "1234567890") VALUE_PART("bbbbbbbbbbbbbbbbbbbb", "2") "--xy--", 413,
       TAVI_E_LIMIT, "together", "aaaaaaaaaaaaaaaaaaaa=1234567890;"},
  };
  serve();
  opts.field_bytes_max = 10;
  opts.file_bytes_max = 20;
  opts.part_count_max = 4;
  opts.file_count_max = 2;
  opts.memory_bytes_max = 50;
  for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
    for (size_t chunk = 0; chunk < 20; chunk += 5) {
      struct bad bad = all[i]; /* how many files are on the disk by then is open */
      if (bad.seen == NULL) {
        bad.seen = seen;
        check_bad(&bad, TYPE, chunk);
        continue;
      }
      check_bad(&bad, TYPE, chunk);
    }
  }
  struct bad url = {"urlencoded", "a=12345678901", 413, TAVI_E_LIMIT, "value", ""};
  check_bad(&url, "application/x-www-form-urlencoded", 0);
  struct bad many = {"urlencoded", "a&b&c&d&e", 413, TAVI_E_LIMIT, "parts", "a=;b=;c=;d=;"};
  check_bad(&many, "application/x-www-form-urlencoded", 0);
  struct bad memory = {"urlencoded", "a=1&bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", 413, TAVI_E_LIMIT, "together",
                       ""};
  check_bad(&memory, "application/x-www-form-urlencoded", 0);
  stop();
}

TEST(refused__exactly_the_limits_are_taken) {
  serve();
  opts.field_bytes_max = 10;
  opts.file_bytes_max = 20;
  opts.part_count_max = 2;
  opts.file_count_max = 1;
  opts.memory_bytes_max = 1 + 10 + 1 + 1 + 10;
  static const char body[] = VALUE_PART("a", "1234567890") FILE_PART("b") "12345678901234567890\r\n--xy--";
  opts.body_bytes_max = sizeof(body) - 1;
  struct peer p = peer_open();
  for (size_t chunk = 0; chunk < 20; chunk += 7) {
    post_bytes(&p, TYPE, body, sizeof(body) - 1, chunk);
    EXPECT(&p, 200, "a=1234567890;f@b(text/plain)=12345678901234567890;");
  }
  opts.body_bytes_max--;
  struct bad bad = {"the body", body, 413, TAVI_E_LIMIT, "form is too long", seen};
  for (size_t chunk = 0; chunk < 20; chunk += 7) check_bad(&bad, TYPE, chunk);
  peer_close(&p);
  stop();
}

TEST(refused__a_head_without_end) {
  size_t len;
  char *line = repeat("X: 0123456789abcdef\r\n", 1000, &len), *body = malloc(len + 100);
  if (body == NULL) abort();
  snprintf(body, len + 100, A_PART "--xy\r\n%s", line);
  struct bad bad = {"head", body, 413, TAVI_E_LIMIT, "head of a part", "a=1;"};
  serve();
  check_bad(&bad, TYPE, 0);
  check_bad(&bad, TYPE, 1000);
  stop();
  free(line);
  free(body);
}

TEST(refused__ten_thousand_parts) {
  char *parts = repeat(A_PART, 10000, NULL);
  struct bad bad = {"parts", parts, 413, TAVI_E_LIMIT, "parts", ""};
  serve();
  bad.seen = seen;
  check_bad(&bad, TYPE, 0);
  CHECK_INT(strlen(seen), 1000 * 4);
  opts.part_count_max = 10000;
  parts = realloc(parts, strlen(parts) + 10);
  if (parts == NULL) abort();
  memcpy(parts + strlen(parts), "--xy--", 7);
  struct peer p = peer_open();
  forms = 0;
  post(&p, TYPE, parts);
  UNTIL(forms == 1);
  CHECK_INT(form_err, 0);
  peer_close(&p);
  stop();
  free(parts);
}

TEST(refused__files_without_a_directory) {
  struct bad bad = {"no directory", A_PART FILE_PART("f") "1\r\n--xy--", 413, TAVI_E_LIMIT, "files", "a=1;"};
  serve();
  opts.directory = NULL;
  check_bad(&bad, TYPE, 0);
  struct peer p = peer_open();
  post(&p, TYPE, A_PART "--xy\r\n" CD "name=f; filename=\"\"\r\n\r\n\r\n--xy--"); /* none was chosen */
  EXPECT(&p, 200, "a=1;f=;");
  peer_close(&p);
  stop();
}

TEST(refused__bad_chunks_and_trailers) {
  static const char head[] = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Type: " TYPE "\r\n\r\n";
  static const char *const tails[] = {"8\r\n--xy--\r\n\r\n0\r\nContent-Length: 5\r\n\r\n", "3\r\n--xzz\r\n", "x\r\n"};
  serve();
  for (size_t i = 0; i < sizeof(tails) / sizeof(tails[0]); i++) {
    test_note("%s", tails[i]);
    struct peer p = peer_open();
    forms = 0;
    peer_send(&p, head);
    UNTIL(rig.headers == i + 1);
    peer_send(&p, tails[i]);
    EXPECT(&p, 400, "400 Bad Request\n");
    EXPECT_END(&p);
    CHECK_INT(forms, 1);
    CHECK_INT(form_err, TAVI_E_PROTOCOL);
    CHECK(strstr(form_text, "framing") != NULL);
    peer_close(&p);
  }
  stop();
}

TEST(not_a_form__nothing_has_happened) {
  static const char *const types[] = {"text/plain", "multipart/form-data", "multipart/mixed; boundary=xy",
                                      "multipart/form-data; boundary=\"a\\\"\"", "application/x-www-form-urlencodedx"};
  serve();
  for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
    struct peer p = peer_open();
    test_note("%s", types[i]);
    post(&p, types[i], "--xy--");
    EXPECT(&p, 415, "415 Unsupported Media Type\n");
    CHECK_INT(receive_err, TAVI_E_ARG);
    peer_close(&p);
  }
  opts.directory = "/nowhere/at/all";
  struct peer p = peer_open();
  post(&p, TYPE, "--xy--");
  EXPECT(&p, 415, "415 Unsupported Media Type\n");
  CHECK_INT(receive_err, TAVI_E_NOT_FOUND);
  opts.directory = "/dev/null";
  peer_close(&p);
  p = peer_open();
  post(&p, TYPE, "--xy--");
  EXPECT(&p, 415, "415 Unsupported Media Type\n");
  CHECK_INT(receive_err, TAVI_E_NOT_FOUND);
  peer_close(&p);
  CHECK_INT(forms, 0);
  stop();
}

static void receive_late(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  receive_err = tavi_http_receive_form(c, msg, &opts, on_form, &opts);
  reply_text(c, 200, "no");
}

TEST(not_a_form__outside_of_on_headers) {
  serve();
  rig.on_headers = NULL;
  rig.on_message = receive_late;
  struct peer p = peer_open();
  post(&p, TYPE, "--xy--");
  EXPECT(&p, 200, "no");
  CHECK_INT(receive_err, TAVI_E_STATE);
  peer_close(&p);
  stop();
}

TEST(last__the_directory_is_removed) {
  CHECK_INT(rmdir(directory), 0);
}
