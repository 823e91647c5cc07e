/* SPDX-License-Identifier: MIT
 *
 * Requests made by the library against servers that are a socket and a script: what is sent, every framing of what comes,
 * redirects, time-outs, a proxy, many at once; servers that talk without end, break off, or answer the wrong thing. */
#include "e2e/request_rig.h"

/* ==== responses ==== */

TEST(response__every_framing__whole_and_in_pieces__at_once_and_byte_by_byte) {
  for (unsigned i = 0; i < FRAMINGS * 4; i++) {
    struct ask a = {0};
    unsigned n = i / 4;
    test_note("framing %u, %u", n, i % 4);
    serve(&a, i & 1 ? &pieces : &whole, framings[n].response, strlen(framings[n].response), (i & 2) != 0, framings[n].closes);
    got(&a, framings[n].status, framings[n].body);
    CHECK_INT(a.interims, n == 10);
    CHECK_INT(a.headers, 1);
    if (n == 4) CHECK(strcmp(a.trailer, "y") == 0);
    stop();
    forget(&a);
  }
}

TEST(response__head__has_no_body) {
  struct ask a = {0};
  start();
  new_req("HEAD", "/x");
  CHECK_INT(send_req(&a, &whole), 0);
  struct peer p = accept_peer();
  CHECK(strncmp(request(&p), "HEAD /x ", 8) == 0);
  peer_send(&p, OK("1000\r\n\r\n"));
  got(&a, 200, "");
  CHECK_INT(stats().idle, 1);
  peer_close(&p);
  stop();
  forget(&a);
}

TEST(request__what_is_sent) {
  static const struct tavi_http_header headers[] = {{{"X-Own", 5}, {"v", 1}}, {{"user-agent", 10}, {"me", 2}}};
  struct ask a = {0};
  start();
  new_req("POST", "/a b/\xc3\xa4?q=1 2#fragment");
  req.headers = headers;
  req.header_count = 2;
  req.body = SLICE("body!");
  CHECK_INT(send_req(&a, &whole), 0);
  struct peer p = accept_peer();
  request(&p);
  char wanted[300];
  snprintf(wanted, sizeof(wanted),
           "POST /a%%20b/%%C3%%A4?q=1%%202 HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nX-Own: v\r\nuser-agent: me\r\n"
           "Content-Length: 5\r\n\r\nbody!", port);
  UNTIL((peer_pump(&p), p.len == strlen(wanted)));
  CHECK_BYTES(p.bytes, p.len, wanted, strlen(wanted));
  peer_send(&p, OK("0\r\n\r\n"));
  got(&a, 200, "");
  snprintf(wanted, sizeof(wanted), "http://127.0.0.1:%u/a%%20b/%%C3%%A4?q=1%%202", port);
  CHECK(strcmp(a.last_url, wanted) == 0);
  peer_close(&p);
  stop();
  forget(&a);
}

TEST(request__credentials_in_the_url) {
  struct ask a = {0};
  char text[128];
  start();
  snprintf(text, sizeof(text), "http://us%%65r:p%%40ss@LOCALHOST:%u", port);
  get(&a, text, &whole);
  struct peer p = accept_peer();
  const char *head = request(&p);
  CHECK(strncmp(head, "GET / HTTP/1.1\r\nHost: localhost:", 32) == 0);
  CHECK(has_line(head, "\r\nAuthorization: Basic dXNlcjpwQHNz\r\n"));
  peer_send(&p, OK("0\r\n\r\n"));
  got(&a, 200, "");
  CHECK(strchr(a.last_url, '@') == NULL);
  peer_close(&p);
  stop();
  forget(&a);
}

TEST(request__arguments) {
  static const struct tavi_http_header bad[] = {{{"Content-Length", 14}, {"1", 1}},  {{"Transfer-Encoding", 17}, {"chunked", 7}},
                                                {{"Expect", 6}, {"100-continue", 12}}, {{"A B", 3}, {"c", 1}},
                                                {{"A", 1}, {"c\r\nd", 4}},             {{"Upgrade", 7}, {"x", 1}},
                                                {{"", 0}, {"c", 1}}};
  static const char *const methods[] = {"", "CONNECT", "GE T", "GET\r\n"};
  struct ask a = {0};
  start();
  for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
    test_note("header %u", i);
    new_req("GET", "/");
    req.headers = &bad[i];
    req.header_count = 1;
    CHECK_INT(send_req(&a, &whole), TAVI_E_ARG);
  }
  for (unsigned i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
    new_req(methods[i], "/");
    CHECK_INT(send_req(&a, &whole), TAVI_E_ARG);
  }
  new_req("GET", "/");
  req.url = "";
  CHECK_INT(send_req(&a, &whole), TAVI_E_ARG);
  new_req("POST", "/");
  req.body = SLICE("x");
  req.streams_body = true;
  CHECK_INT(send_req(&a, &whole), TAVI_E_ARG);
  rig_settle();
  CHECK_INT(a.done, 0);
  CHECK_INT(stats().calls, 0);
  stop();
}

TEST(request__urls_that_cannot_be_used__are_told_later) {
  static const struct {
    const char *url;
    int err;
  } cases[] = {{"https://127.0.0.1/", TAVI_E_UNSUPPORTED}, {"ftp://http/", TAVI_E_ADDRESS},
               {"http:///x", TAVI_E_ADDRESS},              {"http://a b/", TAVI_E_ADDRESS},
               {"http://127.0.0.1:99999/", TAVI_E_ADDRESS}, {"http://127.0.0.1:0/", TAVI_E_ADDRESS},
               {"http://[::1/", TAVI_E_ADDRESS},           {"http://h/\r\nX: y", TAVI_E_ADDRESS},
               {"http://u%zz@http/", TAVI_E_ADDRESS},      {"http://a@b@[", TAVI_E_ADDRESS},
               {"http://a\\b/", TAVI_E_ADDRESS},           {"http://a%2fb/", TAVI_E_ADDRESS}};
  start();
  for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    struct ask a = {0};
    test_note("%s", cases[i].url);
    get(&a, cases[i].url, &whole);
    CHECK_INT(a.done, 0);
    failed(&a, cases[i].err, "");
    forget(&a);
  }
  CHECK_INT(stats().conns_opened, 0);
  stop();
}

/* ==== broken servers ==== */

static void broken_by(const char *response, size_t len, int err, const char *text, bool closes) {
  for (unsigned i = 0; i < 4; i++) {
    struct ask a = {0};
    test_note("%.60s, %u", response, i);
    if (len > 4096 && (i & 2)) continue;
    serve(&a, i & 1 ? &pieces : &whole, response, len, (i & 2) != 0, closes);
    failed(&a, err, text);
    CHECK_INT(stats().idle, 0);
    stop();
    forget(&a);
  }
}

static void broken(const char *response, int err, const char *text) { broken_by(response, strlen(response), err, text, true); }

TEST(broken__truncated__is_an_error) {
  broken(OK("10\r\n\r\nhello"), TAVI_E_PROTOCOL, "ended too early");
  broken("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", TAVI_E_PROTOCOL, "ended too early");
  broken("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n", TAVI_E_PROTOCOL, "ended too early");
  broken("HTTP/1.1 200 OK\r\nContent-Le", TAVI_E_PROTOCOL, "ended too early");
  broken("", TAVI_E_RESET, "without a response");
}

TEST(broken__wrong_framing) {
  broken("hello\r\n\r\n", TAVI_E_PROTOCOL, "not HTTP/1.1");
  broken("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na", TAVI_E_PROTOCOL, "not HTTP/1.1");
  broken("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\na", TAVI_E_PROTOCOL, "not HTTP/1.1");
  broken("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", TAVI_E_PROTOCOL, "not HTTP/1.1");
  broken("HTTP/1.1 200 OK\nContent-Length: 1\n\na", TAVI_E_PROTOCOL, "not HTTP/1.1");
  broken("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", TAVI_E_UNSUPPORTED, "changes the protocol");
}

TEST(broken__endless_head) {
  enum { LEN = 200 * 1024 };
  char *head = malloc(LEN + 1);
  int at = snprintf(head, LEN, "HTTP/1.1 200 OK\r\n");
  while (at < LEN - 100) at += snprintf(head + at, (size_t) (LEN - at), "A: %090d\r\n", at);
  broken_by(head, (size_t) at, TAVI_E_LIMIT, "head", false);
  memset(head + 20, 'a', LEN - 20);
  broken_by(head, LEN, TAVI_E_LIMIT, "head", false);
  free(head);
}

TEST(broken__endless_interims) {
  struct ask a = {0};
  start();
  get(&a, "/", &whole);
  struct peer p = accept_peer();
  request(&p);
  for (int i = 0; i < 1000 && a.done == 0; i++) {
    peer_send(&p, "HTTP/1.1 102 Processing\r\n\r\n");
    tavi_manager_poll(rig.m, 1);
  }
  failed(&a, TAVI_E_LIMIT, "without end");
  CHECK(a.interims <= 64);
  peer_close(&p);
  stop();
  forget(&a);
}

/* Endless chunks and endless bodies meet body_bytes_max, collected or not; nothing grows until then. */
TEST(broken__endless_body) {
  static const char *const heads[] = {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"};
  for (unsigned i = 0; i < 4; i++) {
    struct ask a = {0};
    start();
    new_req("GET", "/");
    req.body_bytes_max = 300000;
    CHECK_INT(send_req(&a, i & 1 ? &pieces : &whole), 0);
    struct peer p = accept_peer();
    request(&p);
    peer_send(&p, heads[i / 2]);
    size_t most = 0;
    for (int n = 0; n < 100000 && a.done == 0; n++) {
      char chunk[1100];
      int len = i < 2 ? snprintf(chunk, sizeof(chunk), "3e8\r\n%01000d\r\n", n) : snprintf(chunk, sizeof(chunk), "%01000d", n);
      if (!peer_send_bytes(&p, chunk, (size_t) len)) break;
      tavi_manager_poll(rig.m, 0);
      if (tavi_manager_buffered(rig.m) > most) most = tavi_manager_buffered(rig.m);
    }
    failed(&a, TAVI_E_LIMIT, "body_bytes_max");
    CHECK(a.len <= 300000);
    CHECK(most < 2000000);
    peer_close(&p);
    stop();
    forget(&a);
  }
}

TEST(broken__too_long__is_known_from_the_head) {
  for (unsigned i = 0; i < 2; i++) {
    struct ask a = {0};
    serve(&a, i ? &pieces : &whole, OK("99999999999\r\n\r\n"), strlen(OK("99999999999\r\n\r\n")), false, false);
    failed(&a, TAVI_E_LIMIT, "body_bytes_max");
    CHECK_INT(a.headers, 0);
    stop();
    forget(&a);
  }
}

TEST(broken__answers_before_it_is_asked) {
  struct ask a = {0};
  start();
  get(&a, "/", &whole);
  struct peer p = {.fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)}; /* connected by the kernel */
  if (p.fd < 0) p = accept_peer();
  peer_send(&p, OK("2\r\n\r\nno"));
  UNTIL(a.done == 1);
  if (a.err != 0) failed(&a, TAVI_E_PROTOCOL, "before it was asked");
  CHECK(a.err != 0);
  peer_close(&p);
  stop();
  forget(&a);
}

/* What lies behind a response is no answer to the next request. */
TEST(broken__answers_twice__the_second_is_not_for_the_next_request) {
  static const char *const second[] = {OK("3\r\n\r\nbad"), "HTTP/1.1 200 OK\r\nContent-Le", "\r"};
  for (int i = 0; i < 3; i++) {
    struct ask a = {0}, b = {0};
    char both[200];
    test_note("%d", i);
    start();
    get(&a, "/1", &whole);
    struct peer p = accept_peer();
    request(&p);
    snprintf(both, sizeof(both), "%s%s", OK("3\r\n\r\none"), second[i]);
    peer_send(&p, both);
    got(&a, 200, "one");
    get(&b, "/2", &whole);
    peer_send(&p, "ngth: 3\r\n\r\nbad");
    struct peer q = accept_peer();
    CHECK(strncmp(request(&q), "GET /2 ", 7) == 0);
    peer_send(&q, OK("3\r\n\r\ntwo"));
    got(&b, 200, "two");
    CHECK(!b.was_kept);
    peer_close(&p);
    peer_close(&q);
    stop();
    forget(&a);
    forget(&b);
  }
}

/* ==== redirects ==== */

static void redirect_to(struct peer *p, int status, const char *location) {
  char text[600];
  request(p);
  snprintf(text, sizeof(text), "HTTP/1.1 %d Moved\r\nLocation: %s\r\nContent-Length: 5\r\n\r\nmoved", status, location);
  peer_send(p, text);
}

static void redirected(int status, const char *method, const char *body, const char *next) {
  struct ask a = {0};
  test_note("%d %s", status, method);
  start();
  new_req(method, "/a/b");
  req.body = (struct tavi_slice){body, strlen(body)};
  CHECK_INT(send_req(&a, &whole), 0);
  struct peer p = accept_peer();
  redirect_to(&p, status, "../c?d");
  p.at += strlen(body);
  const char *head = request(&p);
  if (!CHECK(strncmp(head, next, strlen(next)) == 0)) printf("  it is %s", head);
  bool has_body = strncmp(next, "GET", 3) != 0 && body[0] != '\0';
  CHECK(has_line(head, "Content-Length:") == has_body);
  if (has_body) {
    UNTIL((peer_pump(&p), p.len - p.at == strlen(body)));
    CHECK(memcmp(p.bytes + p.at, body, strlen(body)) == 0);
  }
  peer_send(&p, strcmp(method, "HEAD") == 0 ? OK("2\r\n\r\n") : OK("2\r\n\r\nok"));
  got(&a, 200, strcmp(method, "HEAD") == 0 ? "" : "ok");
  CHECK_INT(a.redirects, 1);
  CHECK(strstr(a.last_url, "/c?d") != NULL);
  CHECK_INT(stats().conns_opened, 1); /* the same connection */
  peer_close(&p);
  stop();
  forget(&a);
}

TEST(redirect__methods) {
  static const int statuses[] = {301, 302, 303, 307, 308};
  for (int i = 0; i < 5; i++) {
    redirected(statuses[i], "GET", "", "GET /c?d ");
    redirected(statuses[i], "POST", "data", i < 3 ? "GET /c?d " : "POST /c?d ");
    redirected(statuses[i], "PUT", "data", i == 2 ? "GET /c?d " : "PUT /c?d ");
  }
}

TEST(redirect__to_another_origin__without_credentials) {
  static const struct tavi_http_header headers[] = {
      {{"Authorization", 13}, {"Bearer x", 8}}, {{"Cookie", 6}, {"a=b", 3}}, {{"X-Own", 5}, {"v", 1}}, {{"Host", 4}, {"me", 2}}};
  struct ask a = {0};
  uint16_t other;
  char text[128];
  start();
  int fd = listen_any(&other);
  new_req("GET", "/");
  req.headers = headers;
  req.header_count = 4;
  CHECK_INT(send_req(&a, &whole), 0);
  struct peer p = accept_peer();
  snprintf(text, sizeof(text), "http://127.0.0.1:%u/there", other);
  redirect_to(&p, 302, text);
  CHECK(has_line(p.bytes, "Authorization: Bearer x") && has_line(p.bytes, "Host: me\r\n") && has_line(p.bytes, "Cookie"));
  struct peer q = accept_from(fd);
  const char *head = request(&q);
  CHECK(!has_line(head, "Authorization") && !has_line(head, "Cookie") && has_line(head, "X-Own: v"));
  snprintf(text, sizeof(text), "Host: 127.0.0.1:%u\r\n", other);
  CHECK(has_line(head, text));
  snprintf(text, sizeof(text), "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:%u/back\r\nContent-Length: 0\r\n\r\n", port);
  peer_send(&q, text);
  head = request(&p);
  CHECK(!has_line(head, "Authorization") && !has_line(head, "Cookie")); /* they do not come back */
  peer_send(&p, OK("0\r\n\r\n"));
  got(&a, 200, "");
  CHECK_INT(a.redirects, 2);
  peer_close(&p);
  peer_close(&q);
  close(fd);
  stop();
  forget(&a);
}

TEST(redirect__loop) {
  struct ask a = {0};
  start();
  get(&a, "/loop", &whole);
  struct peer p = accept_peer();
  for (int i = 0; i < 11; i++) redirect_to(&p, 302, "/loop");
  failed(&a, TAVI_E_LIMIT, "redirected more than 10 times, the last time to /loop");
  peer_close(&p);
  stop();
  forget(&a);
}

TEST(redirect__not_wanted) {
  struct ask a = {0};
  start();
  new_req("GET", "/");
  req.redirects_max = 0;
  CHECK_INT(send_req(&a, &whole), 0);
  struct peer p = accept_peer();
  redirect_to(&p, 302, "/x");
  got(&a, 302, "moved");
  peer_close(&p);
  stop();
  forget(&a);
}

TEST(redirect__where_nobody_can_go) {
  static const struct {
    const char *location;
    int err;
  } cases[] = {{"https://127.0.0.1/", TAVI_E_UNSUPPORTED}, {"ftp://x/", TAVI_E_ADDRESS}, {"http://", TAVI_E_ADDRESS},
               {"http://127.0.0.1:1/", TAVI_E_REFUSED},    {"//", TAVI_E_ADDRESS},       {"mailto:x", TAVI_E_ADDRESS}};
  for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    struct ask a = {0};
    test_note("%s", cases[i].location);
    start();
    get(&a, "/", &whole);
    struct peer p = accept_peer();
    redirect_to(&p, 301, cases[i].location);
    failed(&a, cases[i].err, "");
    peer_close(&p);
    stop();
    forget(&a);
  }
}

/* A redirect with an endless body: it is not waited for. */
TEST(redirect__endless_body) {
  struct ask a = {0};
  start();
  get(&a, "/", &whole);
  struct peer p = accept_peer(), q = {.fd = -1};
  request(&p);
  peer_send(&p, "HTTP/1.1 302 Found\r\nLocation: /next\r\n\r\n");
  char zeros[1000] = {0};
  for (int i = 0; i < 10000 && q.fd < 0; i++) {
    if (!peer_send_bytes(&p, zeros, sizeof(zeros))) break;
    tavi_manager_poll(rig.m, 0);
    q.fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  }
  if (q.fd < 0) q = accept_peer();
  answer(&q, "GET /next ", "n");
  got(&a, 200, "n");
  peer_close(&p);
  peer_close(&q);
  stop();
  forget(&a);
}

/* ==== times ==== */

static void times_out(const char *response, void (*set)(void), const char *text) {
  struct ask a = {0};
  start();
  new_req("GET", "/");
  set();
  CHECK_INT(send_req(&a, &whole), 0);
  struct peer p = accept_peer();
  request(&p);
  peer_send(&p, response);
  failed(&a, TAVI_E_TIMEOUT, text);
  peer_close(&p);
  stop();
  forget(&a);
}

static void set_first(void) { req.first_byte_timeout_ms = 30; }
static void set_idle(void) { req.idle_timeout_ms = 30; }
static void set_total(void) { req.total_timeout_ms = 30; }

TEST(time__nothing) { times_out("", set_first, "no response came within 30 ms"); }
TEST(time__stops_in_the_head) { times_out("HTTP/1.1 2", set_idle, "nothing of the response came for 30 ms"); }
TEST(time__stops_in_the_body) { times_out(OK("10\r\n\r\nabc"), set_idle, "nothing of the response came for 30 ms"); }
TEST(time__total) { times_out(OK("10\r\n\r\nabc"), set_total, "not finished within 30 ms"); }

/* Bytes that keep coming put off the one time-out, not the other. */
TEST(time__slow_bytes) {
  for (int i = 0; i < 2; i++) {
    struct ask a = {0};
    start();
    new_req("GET", "/");
    req.idle_timeout_ms = 5000;
    req.total_timeout_ms = i ? 150 : 0;
    CHECK_INT(send_req(&a, &whole), 0);
    struct peer p = accept_peer();
    request(&p);
    peer_send(&p, OK("100000\r\n\r\n"));
    uint64_t end = rig_now_ms() + 300;
    while (a.done == 0 && rig_now_ms() < end) {
      peer_send(&p, "x");
      tavi_manager_poll(rig.m, 5);
    }
    CHECK_INT(a.done, i);
    if (i) CHECK_INT(a.err, TAVI_E_TIMEOUT);
    tavi_http_call_cancel(a.call);
    peer_close(&p);
    stop();
    forget(&a);
  }
}

TEST(time__connect) {
  struct ask a[64] = {{0}};
  struct sockaddr_in addr = {.sin_family = AF_INET};
  socklen_t len = sizeof(addr);
  start();
  addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (bind(fd, (struct sockaddr *) &addr, sizeof(addr)) != 0 || listen(fd, 0) != 0) abort();
  getsockname(fd, (struct sockaddr *) &addr, &len);
  unsigned timed_out = 0;
  for (int i = 0; i < 8; i++) { /* the backlog is full after one or two */
    char text[64];
    snprintf(text, sizeof(text), "http://127.0.0.1:%u/", ntohs(addr.sin_port));
    new_req("GET", text);
    req.connect_timeout_ms = 40;
    req.first_byte_timeout_ms = 60;
    CHECK_INT(send_req(&a[i], &whole), 0);
  }
  for (int i = 0; i < 8; i++) {
    failed(&a[i], TAVI_E_TIMEOUT, "");
    timed_out += strstr(a[i].text, "connect time-out") != NULL;
    forget(&a[i]);
  }
  CHECK(timed_out > 0);
  close(fd);
  stop();
}

TEST(time__total__while_it_waits_for_a_connection) {
  struct tavi_http_client_opts opts;
  struct ask a = {0}, b = {0};
  start();
  tavi_http_client_opts_init(&opts);
  opts.conns_per_host_max = 1;
  CHECK_INT(tavi_http_client_set(rig.m, &opts), 0);
  get(&a, "/", &whole);
  new_req("GET", "/");
  req.total_timeout_ms = 30;
  CHECK_INT(send_req(&b, &whole), 0);
  failed(&b, TAVI_E_TIMEOUT, "not finished");
  CHECK_INT(a.done, 0);
  CHECK_INT(stats().waiting, 0);
  tavi_http_call_cancel(a.call);
  stop();
  forget(&b);
}

/* ==== a proxy ==== */

TEST(proxy__absolute_form__and_its_own_credentials) {
  struct ask a = {0}, b = {0};
  char proxy[64];
  start();
  snprintf(proxy, sizeof(proxy), "http://user:pass@127.0.0.1:%u", port);
  new_req("GET", "http://me:too@example.com:8080/x?y#z");
  req.proxy = proxy;
  CHECK_INT(send_req(&a, &whole), 0);
  struct peer p = accept_peer();
  const char *head = request(&p);
  CHECK(strncmp(head, "GET http://example.com:8080/x?y HTTP/1.1\r\nHost: example.com:8080\r\n", 66) == 0);
  CHECK(has_line(head, "Proxy-Authorization: Basic dXNlcjpwYXNz\r\n"));
  CHECK(has_line(head, "\r\nAuthorization: Basic bWU6dG9v\r\n"));
  peer_send(&p, OK("1\r\n\r\na"));
  got(&a, 200, "a");
  new_req("GET", "http://other.example/"); /* another host by the same connection */
  req.proxy = proxy;
  CHECK_INT(send_req(&b, &whole), 0);
  answer(&p, "GET http://other.example/ ", "b");
  got(&b, 200, "b");
  CHECK(b.was_kept);
  peer_close(&p);
  stop();
  forget(&a);
  forget(&b);
}

TEST(proxy__cannot_be_used) {
  static const char *const proxies[] = {"https://127.0.0.1", "127.0.0.1:80", "http://", "socks5://127.0.0.1"};
  start();
  for (int i = 0; i < 4; i++) {
    struct ask a = {0};
    new_req("GET", "/");
    req.proxy = proxies[i];
    CHECK_INT(send_req(&a, &whole), 0);
    failed(&a, i == 0 ? TAVI_E_UNSUPPORTED : TAVI_E_ADDRESS, "proxy");
    forget(&a);
  }
  stop();
}

/* ==== many ==== */

TEST(many__1000_requests_to_100_hosts) {
  enum { HOSTS = 100, CALLS = 1000 };
  static struct ask a[CALLS];
  static struct tavi_listener *listeners[HOSTS];
  struct tavi_http_opts opts;
  rig_start();
  tavi_http_opts_init(&opts);
  for (int i = 0; i < HOSTS; i++) {
    CHECK_INT(tavi_http_listen(rig.m, "http://127.0.0.1:0", &opts, &rig__handlers, NULL, &listeners[i]), 0);
  }
  for (int i = 0; i < CALLS; i++) {
    struct tavi_addr addr;
    char text[64];
    tavi_listener_local_addr(listeners[i % HOSTS], &addr);
    snprintf(text, sizeof(text), "http://127.0.0.1:%u/%d", addr.port, i);
    get(&a[i], text, &whole);
  }
  CHECK_INT(stats().conns, CALLS);
  for (int i = 0; i < CALLS; i++) {
    char wanted[32];
    snprintf(wanted, sizeof(wanted), "GET /%d ", i);
    got(&a[i], 200, wanted);
    forget(&a[i]);
  }
  CHECK_INT(stats().calls, 0);
  CHECK(stats().idle <= 256);
  rig_stop();
}
