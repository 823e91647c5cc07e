/* SPDX-License-Identifier: MIT
 *
 * Listeners behind proxies that speak the PROXY protocol: who is told of whom and when, for raw connections and HTTP, over
 * TCP and Unix sockets; and all that can go wrong before a connection begins, of which nobody may be told. */
#include "failmalloc.h"
#include "tcp_rig.h"

#define LINE "PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n"
#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define BINARY SIGNATURE "\x21\x21\0\x24" "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1\xfe\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\2\x12\x67\x1f\x90"
#define LOCAL SIGNATURE "\x20\0\0\0"
#define MAPPED "PROXY TCP6 ::ffff:192.0.2.7 ::1 4711 443\r\n"
#define REQUEST "GET /x HTTP/1.1\r\nHost: h\r\n\r\n"
#define SEND(fd, literal) raw_send((fd), literal, sizeof(literal) - 1)

/* ==== the rig ==== */

static struct tavi_http_handlers http;
static char told[EVENTS][140]; /* the remote address in each event of the newest connection: "host#port" */
static unsigned closed_lines;  /* of the log, about connections from proxies */
static struct tavi_listen_opts opts;

static void note_address(struct peer *p, enum event event) {
  struct tavi_addr a = {.port = 0};
  tavi_conn_remote_addr(p->c, &a);
  snprintf(told[event], sizeof told[event], "%s#%u", a.host, a.port);
}

static void note_and_swallow(struct peer *p, enum event event) {
  note_address(p, event);
  swallow(p, event);
}

static bool was_told(enum event event, const char *wanted) { return strcmp(told[event], wanted) == 0; }

static void on_log(enum tavi_log_level level, const char *text, void *user) {
  (void)level, (void)user;
  closed_lines += strstr(text, "from the proxy") != NULL;
}

static void on_message(struct tavi_conn *c, const struct tavi_http_msg *msg, void *user) {
  struct tavi_addr a;
  (void)user;
  CHECK_STR(msg->target, "/x");
  CHECK_INT(tavi_conn_remote_addr(c, &a), 0);
  tavi_http_reply(c, 200, NULL, 0, (struct tavi_slice){a.host, strlen(a.host)});
}

static void set_up_logged(void) {
  opts_init()->log = on_log;
  manager_opts.log_level = TAVI_LOG_DEBUG;
  set_up_with_opts();
  closed_lines = 0;
  memset(told, 0, sizeof told);
  server.hook = note_and_swallow;
}

/* Listen behind these proxies. */
static void behind(const char *proxies) {
  set_up_logged();
  tavi_listen_opts_init(&opts);
  opts.proxy_protocol_from = proxies;
  listener = listen_on_any(&opts, &server);
  port = port_of(listener);
}

static void behind_http(const char *proxies) {
  struct tavi_http_opts http_opts;
  set_up_logged();
  tavi_http_opts_init(&http_opts);
  http_opts.listen.proxy_protocol_from = proxies;
  http.conn = e2e_handlers;
  http.on_message = on_message;
  CHECK_INT(tavi_http_listen(manager, "http://127.0.0.1:0", &http_opts, &http, &server, &listener), 0);
  port = port_of(listener);
}

static void expect_reply(int fd, const char *body) {
  char got[400];
  size_t len = 0, body_len = strlen(body);
  do {
    if (raw_recv(fd, got + len, 1) != 1) break;
    len++;
  } while (len < sizeof got && (len < body_len + 4 || memcmp(got + len - body_len - 4, "\r\n\r\n", 4) != 0 ||
                                memcmp(got + len - body_len, body, body_len) != 0));
  CHECK(len > 15 && memcmp(got, "HTTP/1.1 200 OK", 15) == 0);
  CHECK_BYTES(got + len - body_len, body_len, body, body_len);
}

/* Nobody was told of anything. */
static void check_silence(void) {
  CHECK_INT(server.peer_count, 0);
  for (int event = 0; event < EVENTS; event++) CHECK_INT(server.count[event], 0);
}

/* ==== who is told ==== */

static void check_told(const char *header, size_t len, const char *wanted) {
  char all[200];
  behind("127.0.0.1");
  memcpy(all, header, len);
  memcpy(all + len, "hello", 5);
  int fd = raw_connect(port);
  raw_send(fd, all, len + 5);
  RUN_UNTIL(server.count[READ] == 1);
  CHECK_INT(server.peers[0]->received, 5);
  if (wanted != NULL) CHECK(was_told(OPEN, wanted) && was_told(ACCEPT, wanted) && was_told(READ, wanted));
  else CHECK(strncmp(told[ACCEPT], "127.0.0.1#", 10) == 0);
  CHECK_INT(tavi_conn_listener_id(server.peers[0]->c), tavi_listener_id(listener));
  close(fd);
  RUN_UNTIL(server.count[CLOSE] == 1);
  if (wanted != NULL) CHECK(was_told(CLOSE, wanted));
  CHECK_INT(server.count[ERROR], 0);
  CHECK_INT(closed_lines, 0);
  close_down();
}

TEST(proxied__the_client_is_the_peer__from_on_open_on) {
  check_told(LINE, sizeof LINE - 1, "192.0.2.7#4711");
  check_told(BINARY, sizeof BINARY - 1, "2001:db8::1#4711");
  check_told(MAPPED, sizeof MAPPED - 1, "192.0.2.7#4711");
}

TEST(proxied__without_an_address__the_proxy_is_the_peer) {
  check_told(LOCAL, sizeof LOCAL - 1, NULL);
  check_told("PROXY UNKNOWN\r\n", 15, NULL);
}

TEST(proxied__header_byte_by_byte__is_told_with_its_last) {
  static const char header[] = BINARY;
  behind("10.0.0.0/8, 127.0.0.0/8");
  int fd = raw_connect(port);
  for (size_t i = 0; i < sizeof header - 1; i++) {
    check_silence();
    raw_send(fd, header + i, 1);
    tavi_manager_poll(manager, 1);
    tavi_manager_poll(manager, 0);
  }
  RUN_UNTIL(server.count[ACCEPT] == 1);
  CHECK(was_told(OPEN, "2001:db8::1#4711"));
  settle();
  CHECK_INT(server.count[READ], 0);
  SEND(fd, "late");
  RUN_UNTIL(server.count[READ] == 1);
  CHECK_INT(server.peers[0]->received, 4);
  close(fd);
  close_down();
}

TEST(proxied__http__header_and_request_cut_anywhere) {
  static const char both[] = LINE REQUEST REQUEST;
  behind_http("127.0.0.1");
  for (size_t cut = 0; cut < sizeof both; cut++) {
    test_note("cut at %zu", cut);
    int fd = raw_connect(port);
    raw_send(fd, both, cut);
    settle();
    raw_send(fd, both + cut, sizeof both - 1 - cut);
    expect_reply(fd, "192.0.2.7");
    expect_reply(fd, "192.0.2.7");
    close(fd);
  }
  CHECK_INT(server.count[ACCEPT], sizeof both);
  close_down();
}

TEST(proxied__longest_header__arrives_in_pieces) {
  enum { REST = 65535 };
  static char all[16 + REST + sizeof REQUEST] = SIGNATURE "\x21\x11\xff\xff" "\x0a\1\2\3\4\5\6\7\0\1\0\2" "\4\xff\xf0";
  memcpy(all + 16 + REST, REQUEST, sizeof REQUEST - 1);
  behind_http("127.0.0.1");
  int fd = raw_connect(port);
  for (size_t at = 0; at < sizeof all - 1;) {
    const size_t n = sizeof all - 1 - at < 5000 ? sizeof all - 1 - at : 5000;
    raw_send(fd, all + at, n);
    tavi_manager_poll(manager, 0);
    at += n;
  }
  expect_reply(fd, "10.1.2.3");
  close(fd);
  RUN_UNTIL(server.count[CLOSE] == 1);
  CHECK_INT(tavi_manager_buffered(manager), 0);
  close_down();
}

TEST(proxied__unix_socket) {
  char url[64];
  struct sockaddr_un a = {.sun_family = AF_UNIX};
  set_up_logged();
  tavi_listen_opts_init(&opts);
  opts.proxy_protocol_from = "unix";
  snprintf(url, sizeof url, "unix:@tavi-test-proxied-%d", (int)getpid());
  CHECK_INT(tavi_listen(manager, url, &opts, &e2e_handlers, &server, NULL), 0);
  const int len = snprintf(a.sun_path + 1, sizeof a.sun_path - 1, "%s", url + 6);
  for (int round = 0; round < 2; round++) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_INT(connect(fd, (struct sockaddr *)(void *)&a, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)len)), 0);
    if (round == 0) SEND(fd, LINE "hello");
    else SEND(fd, LOCAL "hello");
    RUN_UNTIL(server.count[READ] == (unsigned)round + 1);
    CHECK(round == 0 ? was_told(ACCEPT, "192.0.2.7#4711") : was_told(ACCEPT, "#0"));
    CHECK_INT(server.peers[round]->received, 5);
    close(fd);
  }
  close_down();
}

TEST(proxied__others_are_clients) {
  behind("10.0.0.0/8, ::1, unix");
  int fd = raw_connect(port);
  SEND(fd, LINE "hello");
  RUN_UNTIL(server.count[READ] == 1);
  CHECK(strncmp(told[ACCEPT], "127.0.0.1#", 10) == 0);
  CHECK_INT(server.peers[0]->received, sizeof LINE - 1 + 5);
  close(fd);
  close_down();

  char got[12];
  behind_http(NULL);
  fd = raw_connect(port);
  SEND(fd, LINE REQUEST);
  CHECK_BYTES(got, raw_recv(fd, got, 12), "HTTP/1.1 400", 12);
  close(fd);
  close_down();
}

/* ==== nobody is told ==== */

static void check_refused(const char *bytes, size_t len) {
  behind_http("127.0.0.1");
  unsigned before = open_descriptors();
  int fd = raw_connect(port);
  raw_send(fd, bytes, len);
  raw_recv_end(fd, NULL);
  close(fd);
  settle();
  check_silence();
  CHECK_INT(closed_lines, 1);
  CHECK_INT(open_descriptors(), before);
  CHECK_INT(tavi_manager_buffered(manager), 0);
  close_down();
  check_silence();
}

TEST(proxied__without_a_good_header__ends_unseen) {
  check_refused(REQUEST, sizeof REQUEST - 1);
  check_refused("P0", 2);
  check_refused("PROXY TCP4 192.0.2.7 198.51.100.1 4711 66666", 44);
  check_refused(SIGNATURE "\x31\x11\0\x0c", 16);
  check_refused(SIGNATURE "\x21\x11\0\x0b", 16);
}

TEST(proxied__gone_before_its_header__is_never_seen) {
  static const char header[] = LINE;
  behind("127.0.0.1");
  unsigned before = open_descriptors(), gone = 0;
  for (size_t len = 0; len < sizeof header - 1; len += 7) {
    int fd = raw_connect(port);
    raw_send(fd, header, len);
    settle();
    CHECK_INT(tavi_manager_ids(manager, NULL, 0), 1); /* the listener */
    if (len % 2 == 0) close(fd);
    else raw_reset(fd);
    gone++;
    RUN_UNTIL(closed_lines == gone);
    settle();
  }
  check_silence();
  CHECK_INT(open_descriptors(), before);
  close_down();
}

TEST(proxied__slow_header__has_five_seconds) {
  behind_http("127.0.0.1");
  uint64_t begin_ms = tavi_millis();
  int silent = raw_connect(port), slow = raw_connect(port);
  SEND(slow, "PROXY TCP4 192.0.2.7 198.51.100.1");
  CHECK_INT(raw_recv_end(silent, NULL), 0);
  raw_recv_end(slow, NULL);
  CHECK(tavi_millis() - begin_ms >= 4500);
  check_silence();
  CHECK_INT(closed_lines, 2);
  close(silent), close(slow);
  close_down();
}

/* ==== while it is not told ==== */

TEST(proxied__is_in_no_list__until_it_is_told) {
  uint64_t id;
  behind("127.0.0.1");
  int fd = raw_connect(port);
  SEND(fd, "PROXY ");
  settle();
  id = tavi_listener_id(listener) + 1; /* its number */
  CHECK_INT(tavi_manager_ids(manager, NULL, 0), 1);
  CHECK(tavi_manager_conn(manager, id) == NULL);
  CHECK(tavi_manager_listener(manager, id) == NULL);
  tavi_manager_wakeup(manager, id, "x", 1); /* for somebody who guesses */
  settle();
  check_silence();
  raw_send(fd, LINE + 6, sizeof LINE - 1 - 6);
  RUN_UNTIL(server.count[ACCEPT] == 1);
  CHECK(tavi_manager_conn(manager, id) == server.peers[0]->c);
  CHECK_INT(tavi_manager_ids(manager, NULL, 0), 2);
  CHECK_INT(server.count[WAKEUP], 0);
  close(fd);
  close_down();
}

TEST(proxied__ends_unseen_with_its_manager) {
  behind("127.0.0.1");
  int fd = raw_connect(port);
  SEND(fd, "PROXY ");
  settle();
  CHECK_INT(tavi_manager_close_all(manager), 0);
  CHECK_INT(raw_recv_end(fd, NULL), 0);
  check_silence();
  close(fd);
  close_down();
}

TEST(proxied__ends_unseen_when_its_listener_has_closed) {
  behind("127.0.0.1");
  int fd = raw_connect(port);
  SEND(fd, "PROXY ");
  settle();
  tavi_listener_close(listener);
  settle();
  raw_send(fd, LINE "hello" + 6, sizeof LINE - 1 + 5 - 6);
  raw_recv_end(fd, NULL);
  check_silence();
  close(fd);
  close_down();
}

/* ==== closing and pausing at once ==== */

static enum event act_in;

static void close_in(struct peer *p, enum event event) {
  if (event == act_in) close_peer(p);
}

static void drain_in(struct peer *p, enum event event) {
  if (event != act_in) return;
  CHECK_INT(tavi_conn_send(p->c, "bye", 3), 0);
  tavi_conn_drain(p->c);
}

static void pause_in(struct peer *p, enum event event) {
  swallow(p, event);
  if (event == act_in) tavi_conn_pause(p->c);
}

TEST(proxied__closed_in_its_first_callbacks) {
  static const enum event events[] = {OPEN, ACCEPT, READ};
  for (size_t i = 0; i < 3; i++) {
    for (int is_slow = 0; is_slow < 2; is_slow++) {
      char got[4];
      test_note("event %zu, %d", i, is_slow);
      act_in = events[i];
      behind("127.0.0.1");
      server.hook = close_in;
      int fd = raw_connect(port);
      if (is_slow) settle();
      SEND(fd, LINE "hello");
      raw_recv_end(fd, NULL);
      RUN_UNTIL(server.count[CLOSE] == 1);
      CHECK_INT(server.count[ACCEPT], act_in != OPEN);
      CHECK_INT(server.count[READ], act_in == READ);
      close(fd);
      close_down();

      behind("127.0.0.1");
      server.hook = drain_in;
      fd = raw_connect(port);
      if (is_slow) settle();
      SEND(fd, LINE);
      if (act_in == READ) SEND(fd, "hello");
      CHECK_BYTES(got, raw_recv(fd, got, 3), "bye", 3);
      CHECK_INT(raw_recv_end(fd, NULL), 0);
      close(fd);
      close_down();
    }
  }
}

TEST(proxied__paused_at_once__gets_its_bytes_when_it_goes_on) {
  static const enum event events[] = {OPEN, ACCEPT};
  for (size_t i = 0; i < 2; i++) {
    act_in = events[i];
    behind("127.0.0.1");
    server.hook = pause_in;
    int fd = raw_connect(port);
    SEND(fd, LINE "hello");
    RUN_UNTIL(server.count[ACCEPT] == 1);
    settle();
    CHECK_INT(server.count[READ], 0);
    tavi_conn_resume(server.peers[0]->c);
    RUN_UNTIL(server.peers[0]->received == 5);
    close(fd);
    close_down();
  }
}

/* ==== options ==== */

TEST(proxied__malformed_lists__are_refused) {
  static const char *const bad[] = {"10.0.0.1/8", "localhost", "127.0.0.1,", "::1/129"};
  struct tavi_http_opts http_opts;
  struct tavi_listener *l = NULL;
  set_up();
  unsigned before = open_descriptors();
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    test_note("%s", bad[i]);
    tavi_listen_opts_init(&opts);
    opts.proxy_protocol_from = bad[i];
    CHECK_INT(tavi_listen(manager, "tcp://127.0.0.1:0", &opts, &e2e_handlers, &server, &l), TAVI_E_ARG);
    tavi_http_opts_init(&http_opts);
    http_opts.listen.proxy_protocol_from = bad[i];
    CHECK_INT(tavi_http_listen(manager, "http://127.0.0.1:0", &http_opts, &http, &server, &l), TAVI_E_ARG);
    tavi_http_opts_init(&http_opts);
    http_opts.forwarded_from = bad[i];
    CHECK_INT(tavi_http_listen(manager, "http://127.0.0.1:0", &http_opts, &http, &server, &l), TAVI_E_ARG);
  }
  CHECK(l == NULL);
  CHECK_INT(open_descriptors(), before);
  CHECK_INT(tavi_manager_ids(manager, NULL, 0), 0);
  close_down();
}

TEST(proxied__text_of_the_list__is_copied) {
  char *list = strdup("127.0.0.1");
  behind(list);
  memset(list, 'x', strlen(list));
  free(list);
  int fd = raw_connect(port);
  SEND(fd, LINE);
  RUN_UNTIL(server.count[ACCEPT] == 1);
  CHECK(was_told(ACCEPT, "192.0.2.7#4711"));
  close(fd);
  close_down();
}

static unsigned opened, closed;

static void count_open(struct tavi_conn *c, void *user) {
  (void)c, (void)user;
  opened++;
}

static void count_close(struct tavi_conn *c, void *user) {
  (void)c, (void)user;
  closed++;
}

TEST(proxied__without_memory__ends_or_is_told_as_usual) {
  static const struct tavi_conn_handlers counting = {.on_open = count_open, .on_close = count_close};
  bool failed = true;
  for (unsigned n = 1; failed && CHECK(n < 20); n++) {
    test_note("allocation %u", n);
    opened = closed = 0;
    set_up_logged();
    tavi_listen_opts_init(&opts);
    opts.proxy_protocol_from = "127.0.0.1";
    CHECK_INT(tavi_listen(manager, "tcp://127.0.0.1:0", &opts, &counting, NULL, &listener), 0);
    int fd = raw_connect(port_of(listener));
    fail_begin(n);
    send(fd, LINE, 20, MSG_NOSIGNAL);
    for (int i = 0; i < 5; i++) tavi_manager_poll(manager, 1);
    send(fd, LINE "hello" + 20, sizeof LINE - 1 + 5 - 20, MSG_NOSIGNAL); /* to a connection that may be gone */
    for (int i = 0; i < 5; i++) tavi_manager_poll(manager, 1);
    failed = fail_end();
    if (!failed) RUN_UNTIL(opened == 1);
    close(fd);
    settle();
    CHECK_INT(opened, closed);
    CHECK_INT(tavi_manager_buffered(manager), 0);
    tear_down();
  }
}
