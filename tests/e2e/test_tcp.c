/* SPDX-License-Identifier: MIT
 *
 * Stream connections: receiving and consuming, sending in all ways, every way to end, and what the library promises
 * about callbacks on the way. The rules that hold for all are checked by e2e.h for each connection of each test. */
#include "e2e.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>

static struct side server, client;
static struct tavi_listener *listener;
static uint16_t port;

static void begin(const struct tavi_listen_opts *opts) {
  set_up();
  listener = listen_on_any(opts, &server);
  port = port_of(listener);
}

static void close_down(void) {
  tear_down();
  side_free(&server);
  side_free(&client);
}

/* A plain socket that is accepted; the connection is the last peer of the server. */
static int raw_client(void) {
  unsigned before = server.count[ACCEPT];
  int fd = raw_connect(port);
  RUN_UNTIL(server.count[ACCEPT] == before + 1);
  return fd;
}

static struct peer *last_of(const struct side *side) { return side->peers[side->peer_count - 1]; }

static void echo(struct peer *p, enum event event) {
  if (event != READ) return;
  struct tavi_slice in = tavi_conn_peek(p->c);
  p->received += in.len;
  tavi_conn_send(p->c, in.ptr, in.len);
  tavi_conn_consume(p->c, in.len);
}

static void swallow(struct peer *p, enum event event) {
  if (event != READ) return;
  p->received += tavi_conn_peek(p->c).len;
  tavi_conn_consume(p->c, SIZE_MAX);
}

static char pattern(size_t at) { return (char)(at * 7 + at / 251); }

static char *new_pattern(size_t len) {
  char *bytes = malloc(len);
  if (bytes == NULL) abort();
  for (size_t i = 0; i < len; i++) bytes[i] = pattern(i);
  return bytes;
}

/* Receive `len` bytes of the pattern that begin at `from`. */
static bool raw_recv_pattern(int fd, size_t from, size_t len) {
  char *got = malloc(len);
  size_t n = raw_recv(fd, got, len);
  bool ok = CHECK_INT(n, len);
  for (size_t i = 0; i < n && ok; i++) ok = CHECK(got[i] == pattern(from + i));
  free(got);
  return ok;
}

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

static void release(void *arg) { ++*(unsigned *)arg; }

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

/* ==== ends ==== */

TEST(tcp__drain__flushes_and_closes_in_order) {
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

TEST(tcp__drain_before_it_is_established__still_delivers) {
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

TEST(tcp__close__drops_what_is_queued) {
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

TEST(tcp__fail__tells_the_text_and_closes) {
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

TEST(tcp__used_in_on_error_and_on_close__does_nothing) {
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

TEST(tcp__closed_inside_its_own_callbacks__gets_nothing_but_on_close) {
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

TEST(tcp__client_closed_inside_its_own_callbacks__gets_nothing_but_on_close) {
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

TEST(tcp__closed_by_another_that_is_ready_in_the_same_turn__is_not_called) {
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

TEST(tcp__closed_in_the_on_close_of_another__ends_in_the_same_turn) {
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

TEST(tcp__reconnecting_in_on_close__works_and_ids_are_new) {
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

TEST(tcp__reset_by_the_peer__closes_without_an_error) {
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

TEST(tcp__half_closed_by_the_peer__still_gets_its_answer) {
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

TEST(tcp__connection_refused__names_the_address) {
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

TEST(tcp__what_cannot_be_connected_to__is_told_later) {
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

TEST(tcp__localhost__falls_back_to_the_other_family) {
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

TEST(tcp__peer_that_does_not_answer__is_a_connect_timeout) {
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

TEST(tcp__established__ends_the_connect_timeout) {
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

TEST(tcp__idle_timeout__ends_silent_connections_and_no_others) {
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

TEST(tcp__write_timeout__ends_a_peer_that_takes_nothing) {
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

TEST(tcp__loop_that_was_busy_too_long__does_not_blame_a_peer_that_took_its_bytes) {
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

TEST(tcp__two_thousand_connects_and_closes__leave_nothing_behind) {
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

TEST(tcp__out_of_descriptors__sheds_and_goes_on_and_recovers) {
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
TEST(tcp__out_of_descriptors_for_shedding__rests_and_recovers) {
  struct rlimit files;
  char buf[8];
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

TEST(tcp__connect_without_descriptors__is_told_and_recovers) {
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

TEST(tcp__one_loud_peer__does_not_starve_the_others) {
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

TEST(tcp__accepting__is_bounded_per_turn) {
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
