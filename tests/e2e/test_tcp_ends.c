/* SPDX-License-Identifier: MIT
 *
 * How stream connections end: by us, by the peer, by time, in each callback, for want of descriptors; many of them, and one
 * that is loud. The rules that hold for all are checked by e2e.h for each connection of each test. */
#include "tcp_rig.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>

/* ==== ends ==== */

TEST(tcp_ends__drain__flushes_and_closes_in_order) {
  enum { BYTES = 6 << 20 };
  char *bytes = new_pattern(BYTES);
  begin(NULL);
  int fd = raw_client();
  struct peer *p = server.peers[0];
  CHECK_INT(tavi_conn_send(p->c, bytes, BYTES), 0);
  tavi_conn_drain(p->c);
  tavi_conn_drain(p->c);
  CHECK(tavi_conn_flags(p->c) & TAVI_CONN_DRAINING);
  CHECK_INT(tavi_conn_send(p->c, "x", 1), TAVI_E_CLOSED);
  settle();
  CHECK_INT(p->count[CLOSE], 0);
  CHECK(raw_recv_pattern(fd, 0, BYTES));
  CHECK_INT(raw_recv_end(fd, NULL), 0);
  RUN_UNTIL(p->count[CLOSE] == 1);
  CHECK_INT(p->count[ERROR], 0);
  close(fd);

  fd = raw_client(); /* with nothing to flush: in the next turn */
  p = last_of(&server);
  settle();
  tavi_conn_drain(p->c);
  CHECK_INT(p->count[CLOSE], 0);
  tavi_manager_poll(manager, 0);
  CHECK_INT(p->count[CLOSE], 1);
  CHECK_INT(raw_recv_end(fd, NULL), 0);
  close(fd);
  free(bytes);
  close_down();
}

TEST(tcp_ends__drain_before_it_is_established__still_delivers) {
  uint16_t at;
  char buf[8];
  set_up();
  int listening = raw_listen(10, &at);
  struct peer *p = connect_to(url_of("tcp", at), NULL, &client);
  CHECK_INT(tavi_conn_send(p->c, "letter", 6), 0);
  tavi_conn_drain(p->c);
  int fd = raw_accept(listening);
  CHECK_BYTES(buf, raw_recv(fd, buf, 6), "letter", 6);
  CHECK_INT(raw_recv_end(fd, NULL), 0);
  RUN_UNTIL(client.count[CLOSE] == 1);
  close(fd), close(listening);
  close_down();
}

TEST(tcp_ends__close__drops_what_is_queued) {
  size_t got;
  char *bytes = new_pattern(8 << 20);
  begin(NULL);
  int fd = raw_client();
  struct peer *p = server.peers[0];
  CHECK_INT(tavi_conn_send(p->c, bytes, 8 << 20), 0);
  close_peer(p);
  tavi_conn_close(p->c);
  CHECK_INT(p->count[CLOSE], 0); /* between turns: by the next one */
  CHECK(tavi_conn_flags(p->c) & TAVI_CONN_CLOSING);
  CHECK(tavi_manager_conn(manager, p->id) == NULL);
  tavi_manager_poll(manager, 10000);
  CHECK_INT(p->count[CLOSE], 1);
  raw_recv_end(fd, &got);
  CHECK_INT(got, 0);
  free(bytes);
  close(fd);
  close_down();
}

TEST(tcp_ends__fail__tells_the_text_and_closes) {
  begin(NULL);
  int fd = raw_client();
  struct peer *p = server.peers[0];
  tavi_conn_fail(p->c, "because of this");
  CHECK_INT(p->err, TAVI_E_USER);
  CHECK(strcmp(p->text, "because of this") == 0);
  tavi_conn_fail(p->c, "again");
  CHECK_INT(p->count[ERROR], 1);
  RUN_UNTIL(p->count[CLOSE] == 1);
  close(fd);
  close_down();
}

/* Everything that can be called is called on a connection that is closed, and inside its on_close. */
static void use_in_close(struct peer *p, enum event event) {
  if (event != CLOSE && event != ERROR) return;
  unsigned released = 0;
  struct tavi_addr a;
  tavi_conn_pause(p->c);
  tavi_conn_resume(p->c);
  tavi_conn_consume(p->c, SIZE_MAX);
  CHECK_INT(tavi_conn_send(p->c, "x", 1), TAVI_E_CLOSED);
  CHECK_INT(tavi_conn_send_foreign(p->c, "x", 1, release, &released), TAVI_E_CLOSED);
  CHECK_INT(released, 1);
  CHECK_INT(tavi_conn_send_file(p->c, open("/dev/null", O_RDONLY), 0, 1), TAVI_E_CLOSED);
  tavi_conn_drain(p->c);
  tavi_conn_close(p->c);
  tavi_conn_fail(p->c, "too late");
  CHECK_INT(tavi_conn_remote_addr(p->c, &a), 0);
  CHECK_INT(tavi_conn_id(p->c), p->id);
  tavi_conn_pause(p->c);
}

TEST(tcp_ends__used_in_on_error_and_on_close__does_nothing) {
  struct tavi_listen_opts opts;
  tavi_listen_opts_init(&opts);
  opts.conn.recv_bytes_max = 1000;
  opts.conn.send_high_water = 10;
  for (int kind = 0; kind < 6; kind++) {
    test_note("kind %d", kind);
    server.hook = use_in_close;
    begin(&opts);
    int fd = raw_client();
    struct peer *p = server.peers[0];
    raw_send(fd, "something", 9);
    RUN_UNTIL(p->count[READ] == 1);
    if (kind == 1) tavi_conn_pause(p->c);
    if (kind == 2) tavi_conn_send(p->c, "above high water", 16);
    if (kind == 3) { /* full, and paused for that */
      char *bytes = new_pattern(5000);
      tavi_conn_consume(p->c, 1);
      raw_send(fd, bytes, 5000);
      settle();
      free(bytes);
    }
    if (kind == 4) tavi_conn_fail(p->c, "kind 4");
    if (kind == 5) {
      tavi_conn_pause(p->c);
      settle();
    }
    tavi_conn_close(p->c);
    RUN_UNTIL(p->count[CLOSE] == 1);
    settle();
    close(fd);
    close_down();
  }
}

/* ==== closing inside callbacks ==== */

static enum event close_at;

static void close_self(struct peer *p, enum event event) {
  if (event == READ) {
    CHECK_INT(tavi_conn_send(p->c, "answer", 6), 0);
    if (close_at != READ) tavi_conn_consume(p->c, SIZE_MAX);
  }
  if (event == close_at) close_peer(p);
}

TEST(tcp_ends__closed_inside_its_own_callbacks__gets_nothing_but_on_close) {
  static const enum event at[] = {OPEN, ACCEPT, READ, WRITE};
  for (int i = 0; i < 4; i++) {
    close_at = at[i];
    test_note("event %d", (int)close_at);
    server.hook = close_self;
    begin(NULL);
    for (int k = 0; k < 10; k++) {
      int fd = raw_connect(port);
      CHECK_INT(send(fd, "question", 8, MSG_NOSIGNAL), 8);
      RUN_UNTIL(server.count[CLOSE] == (unsigned)k + 1);
      CHECK_INT(last_of(&server)->count[close_at], 1);
      close(fd);
    }
    CHECK_INT(server.count[ERROR], 0);
    close_down();
  }
}

TEST(tcp_ends__client_closed_inside_its_own_callbacks__gets_nothing_but_on_close) {
  static const enum event at[] = {OPEN, RESOLVE, CONNECT, WRITE, READ, ERROR, CLOSE};
  for (int i = 0; i < 7; i++) {
    close_at = at[i];
    test_note("event %d", (int)close_at);
    server.hook = echo;
    client.hook = close_self;
    begin(NULL);
    struct tavi_conn *c = NULL;
    CHECK_INT(tavi_connect(manager, url_of("tcp", close_at == ERROR ? dead_port() : port), NULL, &e2e_handlers, &client, &c), 0);
    if (i > 1) CHECK_INT(tavi_conn_send(c, "x", 1), 0);
    if (close_at == CLOSE) tavi_conn_close(c);
    RUN_UNTIL(client.count[CLOSE] == 1);
    CHECK_INT(client.count[close_at], 1);
    close_down();
  }
}

static void close_all_others(struct peer *p, enum event event) {
  if (event != READ) return;
  for (unsigned i = 0; i < p->side->peer_count; i++)
    if (p->side->peers[i] != p && p->side->peers[i]->c != NULL && !p->side->peers[i]->was_closed)
      close_peer(p->side->peers[i]);
}

TEST(tcp_ends__closed_by_another_that_is_ready_in_the_same_turn__is_not_called) {
  int fds[20];
  begin(NULL);
  for (int i = 0; i < 20; i++) fds[i] = raw_client();
  server.hook = close_all_others;
  for (int i = 0; i < 20; i++) CHECK_INT(send(fds[i], "x", 1, 0), 1);
  RUN_UNTIL(server.count[CLOSE] == 19);
  CHECK_INT(server.count[READ], 1);
  for (int i = 0; i < 20; i++) close(fds[i]);
  close_down();
}

static void close_the_next(struct peer *p, enum event event) {
  unsigned i = (unsigned)p->number + 1;
  if (event == CLOSE && i < p->side->peer_count && p->side->peers[i]->c != NULL) tavi_conn_close(p->side->peers[i]->c);
}

TEST(tcp_ends__closed_in_the_on_close_of_another__ends_in_the_same_turn) {
  int fds[50];
  server.hook = close_the_next;
  begin(NULL);
  for (int i = 0; i < 50; i++) fds[i] = raw_client();
  settle();
  tavi_conn_close(server.peers[0]->c);
  tavi_manager_poll(manager, 10000);
  CHECK_INT(server.count[CLOSE], 50);
  for (int i = 0; i < 50; i++) close(fds[i]);
  close_down();
}

static void connect_again(struct peer *p, enum event event) {
  if (event != CLOSE || p->side->peer_count >= 10) return;
  struct tavi_conn *c;
  CHECK_INT(tavi_connect(manager, url_of("tcp", port), NULL, &e2e_handlers, p->side, &c), 0);
  CHECK(tavi_conn_id(c) > p->id);
}

TEST(tcp_ends__reconnecting_in_on_close__works_and_ids_are_new) {
  client.hook = connect_again;
  begin(NULL);
  connect_to(url_of("tcp", port), NULL, &client);
  for (unsigned i = 1; i <= 10; i++) {
    RUN_UNTIL(client.count[CONNECT] == i);
    CHECK_INT(client.peer_count, i);
    tavi_conn_close(last_of(&client)->c);
  }
  RUN_UNTIL(client.count[CLOSE] == 10);
  for (unsigned i = 0; i < 10; i++) CHECK(tavi_manager_conn(manager, client.peers[i]->id) == NULL);
  close_down();
}

/* ==== what peers do ==== */

TEST(tcp_ends__reset_by_the_peer__closes_without_an_error) {
  char *bytes = new_pattern(8 << 20);
  begin(NULL);
  for (int kind = 0; kind < 3; kind++) { /* idle; with bytes to be read; with bytes to be sent */
    int fd = raw_client();
    struct peer *p = last_of(&server);
    struct tavi_addr a;
    test_note("kind %d", kind);
    if (kind == 1) CHECK_INT(send(fd, bytes, 100000, MSG_NOSIGNAL) > 0, 1);
    if (kind == 2) CHECK_INT(tavi_conn_send(p->c, bytes, 8 << 20), 0);
    if (kind == 2) settle();
    raw_reset(fd);
    CHECK_INT(tavi_conn_remote_addr(p->c, &a), 0); /* still known */
    RUN_UNTIL(p->count[CLOSE] == 1);
    CHECK_INT(p->count[ERROR], 0);
  }
  free(bytes);
  close_down();
}

TEST(tcp_ends__half_closed_by_the_peer__still_gets_its_answer) {
  enum { BYTES = 3 << 20 };
  char *bytes = new_pattern(BYTES);
  struct tavi_listen_opts opts;
  tavi_listen_opts_init(&opts);
  opts.conn.send_high_water = 16 << 20;
  server.hook = echo;
  begin(&opts);
  int fd = raw_client();
  raw_send(fd, bytes, BYTES);
  shutdown(fd, SHUT_WR);
  settle();
  CHECK(raw_recv_pattern(fd, 0, BYTES));
  CHECK_INT(raw_recv_end(fd, NULL), 0);
  RUN_UNTIL(server.count[CLOSE] == 1);
  CHECK_INT(server.count[ERROR], 0);
  free(bytes);
  close(fd);
  close_down();
}

TEST(tcp_ends__connection_refused__names_the_address) {
  set_up();
  uint16_t dead = dead_port();
  char text[32];
  struct peer *p = connect_to(url_of("tcp", dead), NULL, &client);
  CHECK_INT(client.count[ERROR], 0); /* told in a later turn */
  RUN_UNTIL(client.count[CLOSE] == 1);
  CHECK_INT(p->err, TAVI_E_REFUSED);
  snprintf(text, sizeof text, "127.0.0.1:%u", dead);
  CHECK(strstr(p->text, text) != NULL);
  CHECK(strstr(p->text, "refused") != NULL);
  CHECK_INT(p->count[CONNECT], 0);
  close_down();
}

TEST(tcp_ends__what_cannot_be_connected_to__is_told_later) {
  static const struct {
    const char *url;
    int err;
  } cases[] = {{"tcp://127.0.0.1", TAVI_E_ADDRESS}, {"tcp://bad host:1", TAVI_E_ADDRESS}, {"gopher://x:1", TAVI_E_ADDRESS},
               {"fd://3", TAVI_E_ADDRESS}, {"tcp://no-such-host.invalid:80", TAVI_E_RESOLVE},
               {"unix:/nonexistent/x.sock", TAVI_E_NOT_FOUND}, {"unix:@tavi-nobody-listens", TAVI_E_REFUSED}};
  set_up();
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    test_note("%s", cases[i].url);
    struct peer *p = connect_to(cases[i].url, NULL, &client);
    CHECK_INT(p->count[ERROR], 0);
    RUN_UNTIL(p->count[CLOSE] == 1);
    CHECK_INT(p->err, cases[i].err);
    CHECK(strstr(p->text, cases[i].url) != NULL);
  }
  CHECK_INT(tavi_connect(manager, "", NULL, &e2e_handlers, &client, NULL), TAVI_E_ADDRESS);
  close_down();
}

TEST(tcp_ends__localhost__falls_back_to_the_other_family) {
  struct tavi_listener *l;
  struct tavi_addr a;
  server.hook = echo;
  set_up();
  int err = tavi_listen(manager, "tcp://[::1]:0", NULL, &e2e_handlers, &server, &l);
  if (err == 0) { /* where there is IPv6 */
    char url[64];
    snprintf(url, sizeof url, "tcp://localhost:%u", port_of(l));
    struct peer *p = connect_to(url, NULL, &client);
    CHECK_INT(tavi_conn_send(p->c, "x", 1), 0);
    RUN_UNTIL(p->count[READ] == 1 || p->count[CLOSE] == 1);
    CHECK_INT(p->count[CONNECT], 1);
    CHECK_INT(tavi_conn_remote_addr(p->c, &a), 0);
    CHECK(a.is_ipv6 && strcmp(a.host, "::1") == 0);
  }
  close_down();
}

/* ==== time-outs ==== */

static void fill_backlog(uint16_t at, int *fds, int count) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(at), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  for (int i = 0; i < count; i++) {
    fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    connect(fds[i], (struct sockaddr *)(void *)&a, sizeof a);
  }
}

TEST(tcp_ends__peer_that_does_not_answer__is_a_connect_timeout) {
  uint16_t at;
  int fds[8];
  struct tavi_conn_opts opts;
  set_up();
  tavi_conn_opts_init(&opts);
  opts.connect_timeout_ms = 60;
  int listening = raw_listen(0, &at);
  fill_backlog(at, fds, 8); /* further ones are ignored by the system */
  poll(NULL, 0, 10);
  uint64_t before = tavi_millis();
  struct peer *p = connect_to(url_of("tcp", at), &opts, &client);
  RUN_UNTIL(client.count[CLOSE] == 1);
  CHECK_INT(p->err, TAVI_E_TIMEOUT);
  CHECK(strstr(p->text, "127.0.0.1") != NULL);
  CHECK(tavi_millis() - before >= 60);
  CHECK_INT(p->count[CONNECT], 0);
  for (int i = 0; i < 8; i++) close(fds[i]);
  close(listening);
  close_down();
}

TEST(tcp_ends__established__ends_the_connect_timeout) {
  struct tavi_conn_opts opts;
  begin(NULL);
  tavi_conn_opts_init(&opts);
  opts.connect_timeout_ms = 40;
  struct peer *p = connect_to(url_of("tcp", port), &opts, &client);
  RUN_UNTIL(p->count[CONNECT] == 1);
  for (uint64_t end_ms = tavi_millis() + 100; tavi_millis() < end_ms;) tavi_manager_poll(manager, 10);
  CHECK_INT(p->count[CLOSE], 0);
  close_down();
}

TEST(tcp_ends__idle_timeout__ends_silent_connections_and_no_others) {
  struct tavi_listen_opts opts;
  tavi_listen_opts_init(&opts);
  opts.conn.idle_timeout_ms = 300;
  server.hook = echo;
  begin(&opts);
  uint64_t before = tavi_millis();
  int silent = raw_client(), busy = raw_client();
  struct peer *s = server.peers[0], *b = server.peers[1];
  while (s->count[CLOSE] == 0 && b->count[CLOSE] == 0 && tavi_millis() < before + DEADLINE_MS) {
    char byte = 'x';
    CHECK_INT(send(busy, "x", 1, MSG_NOSIGNAL), 1);
    tavi_manager_poll(manager, 20);
    recv(busy, &byte, 1, 0);
  }
  CHECK_INT(s->err, TAVI_E_TIMEOUT);
  CHECK(tavi_millis() - before >= 300);
  CHECK_INT(b->count[CLOSE], 0);
  before = tavi_millis();
  RUN_UNTIL(b->count[CLOSE] == 1); /* now it is silent, too */
  CHECK_INT(b->err, TAVI_E_TIMEOUT);
  close(silent), close(busy);
  close_down();
}

TEST(tcp_ends__write_timeout__ends_a_peer_that_takes_nothing) {
  struct tavi_listen_opts opts;
  char *bytes = new_pattern(16 << 20);
  tavi_listen_opts_init(&opts);
  opts.conn.write_timeout_ms = 100;
  begin(&opts);
  int fd = raw_client(), slow = raw_client();
  struct peer *p = server.peers[0], *q = server.peers[1];
  CHECK_INT(tavi_conn_send(p->c, bytes, 16 << 20), 0);
  CHECK_INT(tavi_conn_send(q->c, bytes, 16 << 20), 0);
  uint64_t before = tavi_millis();
  static char buf[400000];
  while (p->count[CLOSE] == 0 && tavi_millis() < before + DEADLINE_MS) { /* the slow one takes a little now and then */
    tavi_manager_poll(manager, 5);
    recv(slow, buf, sizeof buf, 0);
  }
  CHECK_INT(p->err, TAVI_E_TIMEOUT);
  CHECK(tavi_millis() - before >= 100);
  CHECK_INT(q->count[CLOSE], 0);
  free(bytes);
  close(fd), close(slow);
  close_down();
}

TEST(tcp_ends__loop_that_was_busy_too_long__does_not_blame_a_peer_that_took_its_bytes) {
  struct tavi_listen_opts opts;
  char *bytes = new_pattern(16 << 20);
  static char buf[1 << 20];
  tavi_listen_opts_init(&opts);
  opts.conn.write_timeout_ms = 200;
  begin(&opts);
  int fd = raw_client();
  struct peer *p = server.peers[0];
  CHECK_INT(tavi_conn_send(p->c, bytes, 16 << 20), 0);
  settle();
  size_t before = p->sent, got = 0;
  for (ssize_t n; (n = recv(fd, buf, sizeof buf, 0)) > 0;) got += (size_t)n;
  CHECK(got > 0);
  poll(NULL, 0, 250); /* a handler that took so long, for instance: the time-out is over, and there is room */
  RUN_UNTIL(p->sent > before || p->count[CLOSE] == 1);
  CHECK_INT(p->count[ERROR], 0);
  free(bytes);
  close(fd);
  close_down();
}

/* ==== many ==== */

TEST(tcp_ends__two_thousand_connects_and_closes__leave_nothing_behind) {
  server.hook = echo;
  begin(NULL);
  settle();
  unsigned before = open_descriptors();
  for (unsigned round = 0; round < 100; round++) {
    struct peer *p[20];
    for (int i = 0; i < 20; i++) {
      p[i] = connect_to(url_of("tcp", port), NULL, &client);
      CHECK_INT(tavi_conn_send(p[i]->c, "hello", 5), 0);
    }
    RUN_UNTIL(client.count[READ] >= 20 * (round + 1));
    for (int i = 0; i < 20; i++) {
      if (i % 3 == 0) tavi_conn_close(p[i]->c);
      else if (i % 3 == 1) tavi_conn_drain(p[i]->c);
      else tavi_conn_close(server.peers[20 * round + (unsigned)i]->c); /* the other side begins */
    }
    RUN_UNTIL(client.count[CLOSE] == 20 * (round + 1) && server.count[CLOSE] == 20 * (round + 1));
  }
  CHECK_INT(open_descriptors(), before);
  CHECK_INT(tavi_manager_buffered(manager), 0);
  CHECK_INT(tavi_manager_ids(manager, NULL, 0), 1);
  CHECK_INT(client.count[ERROR], 0);
  for (unsigned i = 1; i < client.peer_count; i++) CHECK(client.peers[i]->id > client.peers[i - 1]->id);
  close_down();
}

static unsigned log_out, log_back, log_lines;

static void count_log(enum tavi_log_level level, const char *text, void *user) {
  (void)user;
  log_lines += level == TAVI_LOG_ERROR;
  if (strstr(text, "out of descriptors") != NULL) log_out++;
  if (strstr(text, "descriptors are back") != NULL) log_back++;
}

TEST(tcp_ends__out_of_descriptors__sheds_and_goes_on_and_recovers) {
  enum { WAITING = 20 };
  struct rlimit files;
  int waiting[WAITING], taken[2000], taken_count = 0;
  char buf[8];
  log_out = log_back = log_lines = 0;
  server.hook = echo;
  opts_init()->log = count_log;
  set_up_with_opts();
  listener = listen_on_any(NULL, &server);
  port = port_of(listener);
  int friend = raw_client();

  getrlimit(RLIMIT_NOFILE, &files);
  rlim_t was = files.rlim_cur;
  files.rlim_cur = open_descriptors() + WAITING + 8;
  setrlimit(RLIMIT_NOFILE, &files);
  for (int i = 0; i < WAITING; i++) waiting[i] = raw_connect(port); /* in the backlog: their own ends are open */
  for (int fd; taken_count < 2000 && (fd = open("/dev/null", O_RDONLY)) >= 0;) taken[taken_count++] = fd;

  /* Each of them is told that it cannot be served, the friend does not notice. */
  for (int i = 0; i < WAITING; i++) CHECK(raw_recv_end(waiting[i], NULL) != ETIME);
  CHECK_INT(server.count[ACCEPT], 1);
  for (int i = 0; i < 5; i++) {
    raw_send(friend, "hello", 5);
    CHECK_INT(raw_recv(friend, buf, 5), 5);
  }
  CHECK_INT(log_out, 1);
  CHECK_INT(log_lines, 1);

  /* Nor does the loop spin: in a quiet time there are few turns. */
  unsigned turns = 0;
  for (uint64_t end_ms = tavi_millis() + 300; tavi_millis() < end_ms; turns++) tavi_manager_poll(manager, 300);
  CHECK(turns <= 10);
  CHECK_INT(log_back, 0);

  for (int i = 0; i < taken_count; i++) close(taken[i]);
  for (int i = 0; i < WAITING; i++) close(waiting[i]);
  int later = raw_client();
  raw_send(later, "again", 5);
  CHECK_BYTES(buf, raw_recv(later, buf, 5), "again", 5);
  CHECK_INT(log_back, 1);
  CHECK_INT(log_out, 1);
  files.rlim_cur = was;
  setrlimit(RLIMIT_NOFILE, &files);
  close(friend), close(later);
  close_down();
}

/* Not even the reserve helps: nobody can be accepted, so somebody stays in the backlog and the listener stays ready. */
TEST(tcp_ends__out_of_descriptors_for_shedding__rests_and_recovers) {
  struct rlimit files;
  char buf[8];
  const char *preload = getenv("LD_PRELOAD");
  if (preload != NULL && strstr(preload, "vgpreload") != NULL) return; /* valgrind accepts, then closes what is too much */
  server.hook = echo;
  begin(NULL);
  settle();
  int fd = raw_connect(port);
  getrlimit(RLIMIT_NOFILE, &files);
  rlim_t was = files.rlim_cur;
  files.rlim_cur = 3;
  setrlimit(RLIMIT_NOFILE, &files);
  unsigned turns = 0;
  for (uint64_t end_ms = tavi_millis() + 350; tavi_millis() < end_ms; turns++) tavi_manager_poll(manager, 350);
  CHECK(turns >= 2 && turns <= 20);
  CHECK_INT(server.count[ACCEPT], 0);
  files.rlim_cur = was;
  setrlimit(RLIMIT_NOFILE, &files);
  RUN_UNTIL(server.count[ACCEPT] == 1);
  raw_send(fd, "hello", 5);
  CHECK_BYTES(buf, raw_recv(fd, buf, 5), "hello", 5);
  close(fd);
  close_down();
}

TEST(tcp_ends__connect_without_descriptors__is_told_and_recovers) {
  struct rlimit files;
  begin(NULL);
  getrlimit(RLIMIT_NOFILE, &files);
  rlim_t was = files.rlim_cur;
  files.rlim_cur = 3;
  setrlimit(RLIMIT_NOFILE, &files);
  struct peer *p = connect_to(url_of("tcp", port), NULL, &client);
  struct tavi_manager *m;
  CHECK_INT(tavi_manager_new(&manager_opts, &m), TAVI_E_DESCRIPTORS);
  CHECK_INT(tavi_listen(manager, "tcp://127.0.0.1:0", NULL, &e2e_handlers, &server, NULL), TAVI_E_DESCRIPTORS);
  files.rlim_cur = was;
  setrlimit(RLIMIT_NOFILE, &files);
  RUN_UNTIL(p->count[CLOSE] == 1);
  CHECK_INT(p->err, TAVI_E_DESCRIPTORS);
  p = connect_to(url_of("tcp", port), NULL, &client);
  RUN_UNTIL(p->count[CONNECT] == 1);
  close_down();
}

/* ==== fairness ==== */

static atomic_bool is_over;

static void *firehose(void *arg) {
  static const char bytes[1 << 18];
  while (!atomic_load(&is_over))
    if (send(*(int *)arg, bytes, sizeof bytes, MSG_NOSIGNAL) < 0) break;
  return NULL;
}

TEST(tcp_ends__one_loud_peer__does_not_starve_the_others) {
  pthread_t thread;
  server.hook = swallow;
  begin(NULL);
  int loud = raw_client(), quiet = raw_client();
  struct peer *l = server.peers[0], *q = server.peers[1];
  fcntl(loud, F_SETFL, 0);
  is_over = false;
  CHECK_INT(pthread_create(&thread, NULL, firehose, &loud), 0);
  RUN_UNTIL(l->received > 10 << 20);
  for (size_t i = 1; i <= 50; i++) {
    CHECK_INT(send(quiet, "x", 1, 0), 1);
    for (int turns = 0; turns < 3 && q->received < i; turns++) { /* not "soon": in the next turns */
      size_t before = l->received;
      tavi_manager_poll(manager, 10000);
      CHECK(l->received - before <= 256 * 1024); /* bounded per turn */
    }
    CHECK_INT(q->received, i);
  }
  is_over = true;
  tavi_conn_close(l->c);
  RUN_UNTIL(l->count[CLOSE] == 1);
  pthread_join(thread, NULL);
  close(loud), close(quiet);
  close_down();
}

TEST(tcp_ends__accepting__is_bounded_per_turn) {
  enum { COUNT = 400 };
  static int fds[COUNT];
  begin(NULL);
  settle();
  for (int i = 0; i < COUNT; i++) fds[i] = raw_connect(port);
  unsigned most = 0;
  while (server.count[ACCEPT] < COUNT) {
    unsigned before = server.count[ACCEPT];
    if (!CHECK(tavi_manager_poll(manager, 10000) > 0)) break;
    if (server.count[ACCEPT] - before > most) most = server.count[ACCEPT] - before;
  }
  CHECK(most <= 128);
  for (int i = 0; i < COUNT; i++) close(fds[i]);
  close_down();
}
