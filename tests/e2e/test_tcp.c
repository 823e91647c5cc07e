/* SPDX-License-Identifier: MIT
 *
 * Stream connections: receiving and consuming, sending in all ways. How they end is in test_tcp_ends.c; the rules that
 * hold for all are checked by e2e.h for each connection of each test. */
#include "tcp_rig.h"

#include <pthread.h>
#include <sys/resource.h>

/* ==== talking ==== */

TEST(tcp__echo__both_ways) {
  char buf[16];
  server.hook = echo;
  begin(NULL);
  int fd = raw_client();
  for (int i = 0; i < 50; i++) {
    raw_send(fd, "hello", 5);
    CHECK_BYTES(buf, raw_recv(fd, buf, 5), "hello", 5);
  }
  CHECK_INT(server.peers[0]->sent, 250);
  close(fd);
  RUN_UNTIL(server.count[CLOSE] == 1);
  CHECK_INT(server.count[ERROR], 0);
  close_down();
}

TEST(tcp__own_client__sees_each_step_in_order) {
  server.hook = echo;
  begin(NULL);
  struct peer *p = connect_to(url_of("tcp", port), NULL, &client);
  CHECK(p->count[OPEN] == 1 && p->count[RESOLVE] == 1 && p->count[CONNECT] == 0);
  unsigned flags = tavi_conn_flags(p->c);
  CHECK(flags & TAVI_CONN_CLIENT && flags & TAVI_CONN_CONNECTING && !(flags & (TAVI_CONN_UDP | TAVI_CONN_RESOLVING)));
  CHECK_INT(tavi_conn_send(p->c, "early", 5), 0); /* leaves when it is established */
  CHECK_INT(tavi_conn_send_pending(p->c), 5);
  RUN_UNTIL(p->count[READ] == 1);
  CHECK_INT(p->count[CONNECT], 1);
  CHECK_STR(tavi_conn_peek(p->c), "early");
  CHECK(!(tavi_conn_flags(p->c) & TAVI_CONN_CONNECTING));
  CHECK(tavi_conn_id(p->c) != server.peers[0]->id);
  CHECK_INT(tavi_conn_listener_id(server.peers[0]->c), tavi_listener_id(listener));
  CHECK_INT(tavi_conn_listener_id(p->c), 0);

  struct tavi_addr mine, theirs;
  CHECK_INT(tavi_conn_remote_addr(p->c, &theirs), 0);
  CHECK(strcmp(theirs.host, "127.0.0.1") == 0 && theirs.port == port && !theirs.is_ipv6 && !theirs.is_unix);
  CHECK_INT(tavi_conn_local_addr(p->c, &mine), 0);
  CHECK_INT(tavi_conn_remote_addr(server.peers[0]->c, &theirs), 0);
  CHECK_INT(mine.port, theirs.port);
  close_down();
}

static unsigned number_of_flags;

static void look_at_flags(struct peer *p, enum event event) {
  if (event != READ) return;
  CHECK(tavi_conn_flags(p->c) & TAVI_CONN_READABLE || p->count[READ] == 1); /* the first may come with accepting */
  number_of_flags++;
}

TEST(tcp__flags__tell_what_the_last_wait_found) {
  server.hook = look_at_flags;
  begin(NULL);
  int fd = raw_client();
  for (unsigned i = 1; i <= 3; i++) {
    raw_send(fd, "x", 1);
    RUN_UNTIL(number_of_flags == i);
  }
  settle();
  CHECK(!(tavi_conn_flags(server.peers[0]->c) & TAVI_CONN_READABLE));
  close(fd);
  close_down();
}

TEST(tcp__peek_and_consume__keep_the_rest_in_order) {
  char text[64] = "";
  begin(NULL);
  int fd = raw_client();
  struct peer *p = server.peers[0];
  for (int i = 0; i < 10; i++) {
    char piece[4] = {(char)('a' + i), (char)('a' + i), '.', 0};
    unsigned reads = p->count[READ];
    raw_send(fd, piece, 3);
    RUN_UNTIL(p->count[READ] > reads);
    memcpy(text + strlen(text), piece, sizeof piece);
    CHECK_STR(tavi_conn_peek(p->c), text);
    if (i % 3 != 2) continue;
    tavi_conn_consume(p->c, 4);
    memmove(text, text + 4, strlen(text + 4) + 1);
    CHECK_STR(tavi_conn_peek(p->c), text);
  }
  tavi_conn_consume(p->c, 0);
  CHECK_STR(tavi_conn_peek(p->c), text);
  CHECK(tavi_conn_recv_held(p->c) > 0);
  tavi_conn_consume(p->c, SIZE_MAX);
  CHECK_INT(tavi_conn_peek(p->c).len, 0);
  CHECK_INT(tavi_conn_recv_held(p->c), 0);
  CHECK_INT(tavi_manager_buffered(manager), 0);
  close(fd);
  close_down();
}

/* ==== the receive buffer and its maximum ==== */

TEST(tcp__receive_maximum_without_consuming__is_an_error) {
  struct tavi_listen_opts opts;
  tavi_listen_opts_init(&opts);
  opts.conn.recv_bytes_max = 100000;
  begin(&opts);
  int fd = raw_client();
  char *bytes = new_pattern(1 << 20);
  for (size_t done = 0; done < 1 << 20 && server.count[CLOSE] == 0;) {
    ssize_t n = send(fd, bytes, 10000, MSG_NOSIGNAL);
    if (n > 0) done += (size_t)n;
    else if (errno != EAGAIN) break;
    tavi_manager_poll(manager, 1);
  }
  RUN_UNTIL(server.count[CLOSE] == 1);
  CHECK_INT(server.peers[0]->err, TAVI_E_LIMIT);
  CHECK(strstr(server.peers[0]->text, "recv_bytes_max") != NULL);
  CHECK_INT(tavi_manager_buffered(manager), 0);
  free(bytes);
  close(fd);
  close_down();
}

enum { MUCH = 100000000, CHUNK = 1 << 20 };

static void *send_much(void *arg) {
  int fd = *(int *)arg;
  static char bytes[CHUNK];
  for (size_t done = 0; done < MUCH;) {
    for (size_t i = 0; i < 65536; i++) bytes[i] = pattern(done + i);
    size_t len = MUCH - done < 65536 ? MUCH - done : 65536;
    ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);
    if (n <= 0) break;
    done += (size_t)n;
  }
  close(fd);
  return NULL;
}

static size_t eaten, eaten_wrong;

static void eat(struct tavi_conn *c, size_t n) {
  struct tavi_slice in = tavi_conn_peek(c);
  if (n > in.len) n = in.len;
  for (size_t i = 0; i < n; i += 997) eaten_wrong += in.ptr[i] != pattern(eaten + i);
  eaten += n;
  tavi_conn_consume(c, n);
}

/* The slow consumer takes a bit now and then, from a timer, and what is left when the peer has gone in on_close. */
static void eat_slowly(struct tavi_timer *t, void *user) {
  (void)t;
  struct side *side = user;
  if (side->peer_count == 1 && side->peers[0]->c != NULL) eat(side->peers[0]->c, 600000);
}

static void eat_at_the_end(struct peer *p, enum event event) {
  if (event == ACCEPT) tavi_conn_consume(p->c, 0); /* "I consume": a full buffer pauses instead of ending */
  if (event == CLOSE) eat(p->c, SIZE_MAX);
}

TEST(tcp__slow_consumer__holds_the_peer_back_and_loses_nothing) {
  struct tavi_listen_opts opts;
  struct tavi_timer *timer;
  pthread_t thread;
  size_t most = 0;
  tavi_listen_opts_init(&opts);
  opts.conn.recv_bytes_max = CHUNK;
  server.hook = eat_at_the_end;
  eaten = eaten_wrong = 0;
  begin(&opts);
  int fd = raw_client();
  fcntl(fd, F_SETFL, 0);
  CHECK_INT(tavi_timer_start(manager, 1, 1, eat_slowly, &server, &timer), 0);
  CHECK_INT(pthread_create(&thread, NULL, send_much, &fd), 0);
  uint64_t end_ms = tavi_millis() + 4 * DEADLINE_MS;
  while (server.count[CLOSE] == 0 && tavi_millis() < end_ms) {
    tavi_manager_poll(manager, 5);
    if (tavi_manager_buffered(manager) > most) most = tavi_manager_buffered(manager);
  }
  pthread_join(thread, NULL);
  CHECK_INT(server.count[CLOSE], 1);
  CHECK_INT(server.count[ERROR], 0);
  CHECK_INT(eaten, MUCH);
  CHECK_INT(eaten_wrong, 0);
  CHECK(most < 4 * CHUNK);
  tavi_timer_cancel(timer);
  close_down();
}

/* ==== pausing ==== */

TEST(tcp__paused__reads_nothing_until_it_is_resumed) {
  server.hook = swallow;
  begin(NULL);
  int fd = raw_client();
  struct peer *p = server.peers[0];
  for (size_t i = 1; i <= 5; i++) {
    tavi_conn_pause(p->c);
    tavi_conn_pause(p->c);
    CHECK(tavi_conn_flags(p->c) & TAVI_CONN_PAUSED);
    raw_send(fd, "x", 1);
    settle();
    CHECK_INT(p->received, i - 1);
    tavi_conn_resume(p->c);
    CHECK(!(tavi_conn_flags(p->c) & TAVI_CONN_PAUSED));
    RUN_UNTIL(p->received == i);
  }
  close(fd);
  close_down();
}

static void pause_at_once(struct peer *p, enum event event) {
  swallow(p, event);
  if (event == ACCEPT) tavi_conn_pause(p->c);
}

TEST(tcp__paused_in_on_accept__reads_nothing_of_what_is_there) {
  server.hook = pause_at_once;
  begin(NULL);
  int fd = raw_connect(port);
  CHECK_INT(send(fd, "early", 5, 0), 5);
  RUN_UNTIL(server.count[ACCEPT] == 1);
  settle();
  CHECK_INT(server.count[READ], 0);
  tavi_conn_resume(server.peers[0]->c);
  RUN_UNTIL(server.peers[0]->received == 5);
  close(fd);
  RUN_UNTIL(server.count[CLOSE] == 1);
  close_down();
}

TEST(tcp__paused_and_reset__costs_no_turns_and_closes_on_resume) {
  server.hook = pause_at_once;
  begin(NULL);
  int fd = raw_client();
  raw_send(fd, "x", 1);
  raw_reset(fd);
  settle();
  CHECK_INT(server.count[CLOSE], 0);
  uint64_t before = tavi_millis();
  CHECK_INT(tavi_manager_poll(manager, 50), 0); /* the hang-up is not told again and again */
  CHECK(tavi_millis() - before >= 49);
  tavi_conn_resume(server.peers[0]->c);
  RUN_UNTIL(server.count[CLOSE] == 1);
  CHECK_INT(server.count[ERROR], 0);
  close_down();
}

/* A full consumer and a peer that has sent everything and gone: what it has sent is still there for the consumer. */
TEST(tcp__full_consumer_and_peer_gone__still_gets_everything) {
  struct tavi_listen_opts opts;
  enum { BYTES = 400000 };
  tavi_listen_opts_init(&opts);
  opts.conn.recv_bytes_max = 100000;
  server.hook = eat_at_the_end;
  eaten = eaten_wrong = 0;
  begin(&opts);
  int fd = raw_client(), size = 1 << 20;
  char *bytes = new_pattern(BYTES);
  setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
  raw_send(fd, bytes, BYTES);
  close(fd);
  settle();
  CHECK_INT(server.count[CLOSE], 0);
  while (server.count[CLOSE] == 0 && eaten < 2 * BYTES) {
    eat(server.peers[0]->c, 50000);
    settle();
  }
  CHECK_INT(eaten, BYTES);
  CHECK_INT(eaten_wrong, 0);
  free(bytes);
  close_down();
}

/* ==== sending ==== */

TEST(tcp__high_water__stops_reading_and_low_water_is_told) {
  struct tavi_listen_opts opts;
  tavi_listen_opts_init(&opts);
  opts.conn.send_high_water = 1 << 20;
  opts.conn.send_low_water = 1 << 18;
  begin(&opts);
  enum { BYTES = 12 << 20 };
  int fd = raw_client();
  struct peer *p = server.peers[0];
  char *bytes = new_pattern(BYTES);
  server.hook = swallow;
  CHECK_INT(tavi_conn_send(p->c, bytes, 1 << 20), 0);
  CHECK(!(tavi_conn_flags(p->c) & TAVI_CONN_FULL));
  CHECK_INT(tavi_conn_send(p->c, bytes + (1 << 20), BYTES - (1 << 20)), 0);
  CHECK(tavi_conn_flags(p->c) & TAVI_CONN_FULL);
  CHECK_INT(tavi_conn_send_pending(p->c), BYTES);
  settle();
  CHECK(tavi_conn_send_pending(p->c) > 1 << 20); /* the system has not taken all of it */
  raw_send(fd, "from the peer", 13);
  settle();
  CHECK_INT(p->received, 0);
  CHECK_INT(p->count[LOW_WATER], 0);
  CHECK(raw_recv_pattern(fd, 0, BYTES));
  RUN_UNTIL(p->received == 13);
  CHECK_INT(p->count[LOW_WATER], 1);
  CHECK_INT(p->sent, BYTES);
  CHECK_INT(tavi_manager_buffered(manager), 0);
  free(bytes);
  close(fd);
  close_down();
}

static size_t produced;

static void produce(struct peer *p, enum event event) {
  static char bytes[100000];
  if (event != ACCEPT && event != LOW_WATER) return;
  while (produced < 20000000 && !(tavi_conn_flags(p->c) & TAVI_CONN_FULL)) {
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = pattern(produced + i);
    CHECK_INT(tavi_conn_send(p->c, bytes, sizeof bytes), 0);
    produced += sizeof bytes;
  }
}

TEST(tcp__producer_that_follows_low_water__needs_little_memory) {
  server.hook = produce;
  produced = 0;
  begin(NULL);
  int fd = raw_client();
  size_t most = 0;
  for (size_t done = 0; done < 20000000;) {
    if (!raw_recv_pattern(fd, done, 500000)) break;
    done += 500000;
    if (tavi_manager_buffered(manager) > most) most = tavi_manager_buffered(manager);
  }
  CHECK(most < 4 << 20);
  close(fd);
  close_down();
}

TEST(tcp__send_maximum__fails_the_connection) {
  struct tavi_listen_opts opts;
  tavi_listen_opts_init(&opts);
  opts.conn.send_bytes_max = 100000;
  begin(&opts);
  int fd = raw_client();
  struct peer *p = server.peers[0];
  char *bytes = new_pattern(300000);
  CHECK_INT(tavi_conn_send(p->c, bytes, 300000), 0); /* one larger piece, into an empty queue */
  CHECK(raw_recv_pattern(fd, 0, 300000));
  CHECK_INT(tavi_conn_send(p->c, bytes, 99999), 0);
  CHECK_INT(tavi_conn_send(p->c, bytes, 1), 0);
  CHECK_INT(tavi_conn_send(p->c, bytes, 1), TAVI_E_LIMIT);
  CHECK_INT(p->err, TAVI_E_LIMIT);
  CHECK_INT(tavi_conn_send(p->c, bytes, 1), TAVI_E_CLOSED);
  RUN_UNTIL(p->count[CLOSE] == 1);
  free(bytes);
  close(fd);
  close_down();
}

TEST(tcp__send_peek_and_pending__show_the_queue) {
  char buf[16];
  begin(NULL);
  int fd = raw_client();
  struct tavi_conn *c = server.peers[0]->c;
  CHECK_INT(tavi_conn_send_held(c), 0);
  CHECK_INT(tavi_conn_send(c, "abc", 3), 0);
  CHECK_INT(tavi_conn_send(c, "", 0), 0);
  CHECK_INT(tavi_conn_send(c, "def", 3), 0);
  CHECK_INT(tavi_conn_send_pending(c), 6);
  CHECK_BYTES(buf, tavi_conn_send_peek(c, buf, sizeof buf), "abcdef", 6);
  CHECK(tavi_conn_send_held(c) >= 6);
  CHECK_INT(tavi_manager_buffered(manager), tavi_conn_send_held(c));
  CHECK_BYTES(buf, raw_recv(fd, buf, 6), "abcdef", 6);
  CHECK_INT(tavi_conn_send_pending(c), 0);
  close(fd);
  close_down();
}

/* ==== what is not copied ==== */

TEST(tcp__foreign_memory__is_released_exactly_once_whatever_happens) {
  unsigned sent = 0, dropped = 0, refused = 0, left = 0, empty = 0;
  char *bytes = new_pattern(8 << 20);
  begin(NULL);
  int fd = raw_client();
  struct peer *p = server.peers[0];
  CHECK_INT(tavi_conn_send_foreign(p->c, bytes, 8 << 20, release, &sent), 0);
  CHECK_INT(tavi_conn_send_foreign(p->c, bytes, 0, release, &empty), 0);
  CHECK(sent == 0 && empty == 1);
  CHECK(raw_recv_pattern(fd, 0, 8 << 20));
  RUN_UNTIL(sent == 1);

  CHECK_INT(tavi_conn_send_foreign(p->c, bytes, 8 << 20, release, &dropped), 0);
  settle();
  CHECK_INT(dropped, 0);
  tavi_conn_close(p->c);
  CHECK_INT(tavi_conn_send_foreign(p->c, bytes, 10, release, &refused), TAVI_E_CLOSED);
  CHECK_INT(refused, 1);
  RUN_UNTIL(p->count[CLOSE] == 1);
  CHECK_INT(dropped, 1);
  close(fd);

  fd = raw_client();
  CHECK_INT(tavi_conn_send_foreign(last_of(&server)->c, bytes, 8 << 20, release, &left), 0);
  tavi_manager_poll(manager, 0);
  tear_down();
  CHECK_INT(left, 1);
  CHECK(sent == 1 && dropped == 1 && refused == 1 && empty == 1);
  close(fd);
  free(bytes);
  side_free(&server);
}

static unsigned chained;

static void release_and_send(void *arg) {
  if (++chained < 10) CHECK_INT(tavi_conn_send_foreign(arg, "0123456789", 10, release_and_send, arg), 0);
}

TEST(tcp__release_function_that_sends__is_served) {
  char buf[100];
  chained = 0;
  begin(NULL);
  int fd = raw_client();
  struct tavi_conn *c = server.peers[0]->c;
  CHECK_INT(tavi_conn_send_foreign(c, "0123456789", 10, release_and_send, c), 0);
  CHECK_INT(raw_recv(fd, buf, 100), 100);
  RUN_UNTIL(chained == 10);
  close(fd);
  close_down();
}

TEST(tcp__one_shared_buffer__goes_to_a_thousand_connections) {
  enum { COUNT = 1000, BYTES = 20000 };
  static int fds[COUNT];
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  rlim_t was = files.rlim_cur;
  files.rlim_cur = files.rlim_max < 4096 ? files.rlim_max : 4096;
  setrlimit(RLIMIT_NOFILE, &files);
  struct tavi_shared *shared;
  char *bytes = new_pattern(BYTES);
  begin(NULL);
  for (int i = 0; i < COUNT; i++) fds[i] = raw_connect(port);
  RUN_UNTIL(server.count[ACCEPT] == COUNT);
  CHECK_INT(tavi_shared_new(bytes, BYTES, &shared), 0);
  memset(bytes, 0, BYTES); /* it was copied */
  for (int i = 0; i < COUNT; i++) CHECK_INT(tavi_conn_send_shared(server.peers[i]->c, shared), 0);
  CHECK_INT(tavi_conn_send_shared(server.peers[0]->c, shared), 0); /* twice to the same */
  tavi_shared_unref(shared);
  CHECK(tavi_manager_buffered(manager) < COUNT * 200);
  tavi_conn_close(server.peers[COUNT - 1]->c); /* one goes without having sent it */
  for (int i = 0; i < COUNT - 1; i++)
    if (!raw_recv_pattern(fds[i], 0, BYTES)) break;
  CHECK(raw_recv_pattern(fds[0], 0, BYTES));
  CHECK_INT(tavi_manager_buffered(manager), 0);
  for (int i = 0; i < COUNT; i++) close(fds[i]);
  free(bytes);
  tavi_shared_unref(NULL);
  close_down();
  files.rlim_cur = was;
  setrlimit(RLIMIT_NOFILE, &files);
}

/* ==== files ==== */

static int new_file(const char *bytes, size_t len) {
  char path[] = "/tmp/tavi-tcp-XXXXXX";
  int fd = mkstemp(path);
  CHECK(fd >= 0 && write(fd, bytes, len) == (ssize_t)len);
  unlink(path);
  return fd;
}

TEST(tcp__file_ranges__arrive_between_other_bytes) {
  enum { BYTES = 5 << 20 };
  char buf[32];
  char *bytes = new_pattern(BYTES);
  begin(NULL);
  int fd = raw_client();
  struct tavi_conn *c = server.peers[0]->c;
  CHECK_INT(tavi_conn_send(c, "head", 4), 0);
  CHECK_INT(tavi_conn_send_file(c, new_file(bytes, BYTES), 0, BYTES), 0);
  CHECK_INT(tavi_conn_send_file(c, new_file(bytes, BYTES), 1000, 5000), 0);
  CHECK_INT(tavi_conn_send(c, "tail", 4), 0);
  CHECK_INT(tavi_conn_send_file(c, new_file(bytes, BYTES), 7, 0), 0); /* nothing of it */
  CHECK_INT(tavi_conn_send_file(c, new_file(bytes, BYTES), BYTES - 1, 1), 0);
  CHECK_INT(tavi_conn_send_pending(c), 4 + BYTES + 5000 + 4 + 1);
  CHECK_BYTES(buf, raw_recv(fd, buf, 4), "head", 4);
  CHECK(raw_recv_pattern(fd, 0, BYTES));
  CHECK(raw_recv_pattern(fd, 1000, 5000));
  CHECK_BYTES(buf, raw_recv(fd, buf, 4), "tail", 4);
  CHECK(raw_recv_pattern(fd, BYTES - 1, 1));
  free(bytes);
  close(fd);
  close_down();
}

TEST(tcp__file_shorter_than_promised__closes_the_connection) {
  size_t got;
  unsigned before = open_descriptors();
  begin(NULL);
  int fd = raw_client();
  struct peer *p = server.peers[0];
  CHECK_INT(tavi_conn_send_file(p->c, new_file("0123456789", 10), 5, 10), 0);
  CHECK_INT(tavi_conn_send(p->c, "not in its place", 16), 0);
  raw_recv_end(fd, &got);
  CHECK_INT(got, 5);
  RUN_UNTIL(p->count[CLOSE] == 1);
  CHECK_INT(p->count[ERROR], 1);
  close(fd);
  close_down();
  CHECK_INT(open_descriptors(), before);
}
