/* SPDX-License-Identifier: MIT
 *
 * The manager as a whole: what may be called when, the end of everything, life in a foreign loop, a host with one lock,
 * broken turns, and the memory of all connections together. */
#include "e2e.h"

#include <pthread.h>
#include <stdatomic.h>

static struct side server, client;

static void close_down(void) {
  tear_down();
  side_free(&server);
  side_free(&client);
}

static void echo(struct peer *p, enum event event) {
  if (event != READ) return;
  struct tavi_slice in = tavi_conn_peek(p->c);
  CHECK_INT(tavi_conn_send(p->c, in.ptr, in.len), 0);
  tavi_conn_consume(p->c, in.len);
}

static void nothing(struct tavi_timer *t, void *user) { (void)t, (void)user; }

/* ==== options and calls ==== */

static void hook_nothing(void *user) { (void)user; }

TEST(manager__bad_options__are_refused) {
  struct tavi_manager *m = NULL;
  opts_init()->before_wait = hook_nothing;
  CHECK_INT(tavi_manager_new(&manager_opts, &m), TAVI_E_ARG);
  opts_init()->after_wait = hook_nothing;
  CHECK_INT(tavi_manager_new(&manager_opts, &m), TAVI_E_ARG);
  opts_init()->backend = (enum tavi_backend)77;
  CHECK_INT(tavi_manager_new(&manager_opts, &m), TAVI_E_UNSUPPORTED);
  CHECK(m == NULL);
  CHECK_INT(tavi_manager_new(NULL, &m), 0);
  tavi_manager_free(m);
  tavi_manager_free(NULL);
}

TEST(manager__back_end__is_the_one_that_was_asked_for) {
  set_up();
  const char *name = getenv("TAVI_BACKEND");
  CHECK_INT(tavi_manager_backend(manager), name != NULL && strcmp(name, "poll") == 0 ? TAVI_BACKEND_POLL : TAVI_BACKEND_EPOLL);
  tear_down();
}

static void poll_inside(struct tavi_timer *t, void *user) {
  (void)t;
  CHECK_INT(tavi_manager_poll(manager, 0), TAVI_E_BUSY);
  CHECK_INT(tavi_manager_close_all(manager), TAVI_E_BUSY);
  ++*(int *)user;
}

static void poll_in_each_event(struct peer *p, enum event event) {
  (void)event;
  if (p->side != &server && event <= RESOLVE) return; /* those are called inside tavi_connect(), between turns */
  CHECK_INT(tavi_manager_poll(manager, 0), TAVI_E_BUSY);
  CHECK_INT(tavi_manager_close_all(manager), TAVI_E_BUSY);
  if (event == READ) close_peer(p);
}

TEST(manager__poll_inside_a_handler__is_busy) {
  int ran = 0;
  set_up();
  server.hook = client.hook = poll_in_each_event;
  CHECK_INT(tavi_timer_start(manager, 0, 0, poll_inside, &ran, NULL), 0);
  struct tavi_listener *l = listen_on_any(NULL, &server);
  struct peer *c = connect_to(url_of("tcp", port_of(l)), NULL, &client);
  CHECK_INT(tavi_conn_send(c->c, "x", 1), 0);
  RUN_UNTIL(ran == 1 && client.count[CLOSE] == 1 && server.count[CLOSE] == 1);
  close_down();
}

TEST(manager__ids__are_those_that_are_open_in_the_order_of_their_making) {
  uint64_t ids[8] = {0};
  set_up();
  CHECK_INT(tavi_manager_ids(manager, ids, 8), 0);
  struct tavi_listener *l = listen_on_any(NULL, &server);
  struct peer *a = connect_to(url_of("tcp", port_of(l)), NULL, &client);
  struct peer *b = connect_to(url_of("tcp", port_of(l)), NULL, &client);
  CHECK_INT(tavi_manager_ids(manager, NULL, 0), 3);
  CHECK_INT(tavi_manager_ids(manager, ids, 8), 3);
  CHECK(ids[0] == tavi_listener_id(l) && ids[1] == a->id && ids[2] == b->id);
  CHECK(a->id > TAVI_ID_MANAGER && a->id < b->id);
  CHECK(tavi_manager_conn(manager, a->id) == a->c && tavi_manager_listener(manager, a->id) == NULL);
  CHECK(tavi_manager_listener(manager, ids[0]) == l && tavi_manager_conn(manager, ids[0]) == NULL);
  CHECK(tavi_conn_manager(a->c) == manager && tavi_listener_manager(l) == manager);
  tavi_conn_close(a->c);
  CHECK(tavi_manager_conn(manager, a->id) == NULL); /* at once, although it still exists */
  CHECK_INT(tavi_manager_ids(manager, ids, 8), 2);
  RUN_UNTIL(server.count[ACCEPT] == 2 && server.count[CLOSE] == 1);
  CHECK(tavi_manager_conn(manager, 0) == NULL && tavi_manager_conn(manager, TAVI_ID_MANAGER) == NULL);
  close_down();
}

/* ==== the end of everything ==== */

static unsigned listener_closes;

static void on_listener_close(struct tavi_listener *l, void *user) {
  (void)l, (void)user;
  listener_closes++;
}

static void open_in_close(struct peer *p, enum event event) {
  struct tavi_conn *c = NULL;
  char path[64], url[80];
  if (event != CLOSE) return;
  snprintf(path, sizeof path, "/tmp/tavi-test-late-%d", (int)getpid());
  snprintf(url, sizeof url, "unix:%s", path);
  CHECK_INT(tavi_manager_poll(manager, 0), TAVI_E_BUSY);
  CHECK(tavi_connect(manager, "tcp://127.0.0.1:9", NULL, &e2e_handlers, p->side, &c) < 0);
  CHECK(tavi_listen(manager, "tcp://127.0.0.1:0", NULL, &e2e_handlers, p->side, NULL) < 0);
  CHECK(tavi_listen(manager, url, NULL, &e2e_handlers, p->side, NULL) < 0);
  CHECK_INT(access(path, F_OK), -1);
  CHECK(tavi_udp_listen(manager, "udp://127.0.0.1:0", NULL, &e2e_handlers, p->side, NULL) < 0);
  CHECK(tavi_timer_start(manager, 0, 0, nothing, NULL, NULL) < 0);
  CHECK_INT(tavi_conn_send(p->c, "x", 1), TAVI_E_CLOSED);
}

static void release(void *arg) { ++*(unsigned *)arg; }

/* A bit of everything, in every state. */
static void open_everything(unsigned *released) {
  static const struct tavi_listener_handlers own = {.on_close = on_listener_close};
  static char much[4 << 20];
  char unix_url[64];
  struct tavi_listen_opts opts;
  tavi_listen_opts_init(&opts);
  opts.handlers = &own;
  listener_closes = 0;
  struct tavi_listener *l = listen_on_any(&opts, &server);
  uint16_t port = port_of(l);
  struct peer *p[3];
  for (int i = 0; i < 3; i++) p[i] = connect_to(url_of("tcp", port), NULL, &client);
  RUN_UNTIL(client.count[CONNECT] == 3 && server.count[ACCEPT] == 3);
  CHECK_INT(tavi_conn_send_foreign(p[0]->c, much, sizeof much, release, released), 0);
  CHECK_INT(tavi_conn_send(p[0]->c, much, sizeof much), 0);
  tavi_conn_pause(p[1]->c);
  tavi_conn_drain(p[0]->c);
  tavi_manager_poll(manager, 0);
  CHECK_INT(tavi_conn_send_foreign(p[2]->c, much, sizeof much, release, released), 0);
  connect_to(url_of("tcp", port), NULL, &client);        /* on its way */
  connect_to(url_of("tcp", dead_port()), NULL, &client); /* about to fail */
  connect_to("tcp://nonsense..:x", NULL, &client);
  connect_to(url_of("udp", 9), NULL, &client);
  CHECK_INT(tavi_udp_listen(manager, "udp://127.0.0.1:0", NULL, &e2e_handlers, &server, NULL), 0);
  snprintf(unix_url, sizeof unix_url, "unix:@tavi-test-all-%d", (int)getpid());
  CHECK_INT(tavi_listen(manager, unix_url, &opts, &e2e_handlers, &server, NULL), 0);
  for (uint64_t i = 0; i < 10; i++) CHECK_INT(tavi_timer_start(manager, i * 1000, i % 2, nothing, NULL, NULL), 0);
  CHECK_INT(tavi_manager_wakeup(manager, p[1]->id, "x", 1), 0);
}

TEST(manager__free__closes_everything_that_is_open) {
  unsigned released = 0, before = open_descriptors();
  set_up();
  client.hook = open_in_close;
  open_everything(&released);
  CHECK_INT(client.count[CLOSE], 0);
  tear_down();
  CHECK_INT(released, 2);
  CHECK_INT(listener_closes, 2);
  CHECK_INT(open_descriptors(), before);
  side_free(&client); /* each was closed exactly once */
  side_free(&server);
}

TEST(manager__close_all__closes_everything_and_the_manager_lives_on) {
  unsigned released = 0;
  set_up();
  client.hook = open_in_close;
  for (int round = 0; round < 3; round++) {
    released = 0;
    open_everything(&released);
    CHECK_INT(tavi_manager_close_all(manager), 0);
    CHECK_INT(released, 2);
    CHECK_INT(listener_closes, 2);
    CHECK_INT(tavi_manager_ids(manager, NULL, 0), 0);
    CHECK_INT(tavi_manager_buffered(manager), 0);
    tavi_manager_poll(manager, 0); /* what waited for the closed ones goes to nobody */
    CHECK_INT(tavi_manager_poll(manager, 10), 0);
    side_free(&server);
    side_free(&client);
    client.hook = open_in_close;
  }
  close_down();
}

/* ==== a foreign loop ==== */

static int manager_fd;

static bool is_readable(int timeout_ms) {
  struct pollfd p = {.fd = manager_fd, .events = POLLIN};
  int n = poll(&p, 1, timeout_ms);
  return n == 1 && p.revents & POLLIN;
}

static unsigned turns;

/* As a foreign loop does: sleep on the descriptor, then one turn that does not wait. */
#define FOREIGN_UNTIL(condition)                                        \
  do {                                                                  \
    while (!(condition) && CHECK(is_readable(10000))) {                 \
      tavi_manager_poll(manager, 0);                                    \
      turns++;                                                          \
    }                                                                   \
  } while (0)

/* Turns until the descriptor is quiet; there must not be many. */
static void foreign_settle(void) {
  int busy = 0;
  while (is_readable(20) && CHECK(++busy < 50)) tavi_manager_poll(manager, 0);
}

static bool foreign_begin(void) {
  set_up();
  if (!is_epoll()) {
    manager_fd = 77;
    CHECK_INT(tavi_manager_fd(manager, &manager_fd), TAVI_E_UNSUPPORTED);
    CHECK_INT(manager_fd, 77);
    tear_down();
    return false;
  }
  int again;
  CHECK_INT(tavi_manager_fd(manager, &manager_fd), 0);
  CHECK_INT(tavi_manager_fd(manager, &again), 0);
  CHECK_INT(again, manager_fd);
  return true;
}

TEST(manager_fd__io__makes_it_readable) {
  if (!foreign_begin()) return;
  server.hook = client.hook = echo;
  struct tavi_listener *l = listen_on_any(NULL, &server);
  uint16_t port = port_of(l);
  struct peer *p = connect_to(url_of("tcp", port), NULL, &client);
  CHECK_INT(tavi_conn_send(p->c, "ping", 4), 0);
  FOREIGN_UNTIL(client.count[READ] >= 3 && server.count[READ] >= 3);
  close_down();
}

TEST(manager_fd__timer__makes_it_readable_when_it_is_due) {
  if (!foreign_begin()) return;
  int ran = 0;
  foreign_settle();
  for (uint64_t delay_ms = 0; delay_ms < 300; delay_ms = delay_ms * 2 + 1) {
    uint64_t before = tavi_millis();
    test_note("%u ms", (unsigned)delay_ms);
    CHECK_INT(tavi_timer_start(manager, delay_ms, 0, poll_inside, &ran, NULL), 0);
    int want = ran + 1;
    turns = 0;
    FOREIGN_UNTIL(ran == want);
    CHECK(tavi_millis() - before >= delay_ms);
    CHECK(turns <= 12); /* a few on its way down the wheel; not a spin */
  }
  foreign_settle();
  close_down();
}

TEST(manager_fd__timers_of_timers_and_an_earlier_one__are_seen) {
  if (!foreign_begin()) return;
  int late = 0, soon = 0;
  CHECK_INT(tavi_timer_start(manager, 100000, 0, poll_inside, &late, NULL), 0);
  foreign_settle();
  CHECK_INT(tavi_timer_start(manager, 5, 5, poll_inside, &soon, NULL), 0);
  FOREIGN_UNTIL(soon >= 5);
  CHECK_INT(late, 0);
  close_down();
}

static void *wake(void *arg) {
  CHECK_INT(tavi_manager_wakeup(manager, *(uint64_t *)arg, "x", 1), 0);
  return NULL;
}

TEST(manager_fd__wakeup__makes_it_readable) {
  if (!foreign_begin()) return;
  pthread_t thread;
  struct tavi_conn *c;
  CHECK_INT(tavi_udp_listen(manager, "udp://127.0.0.1:0", NULL, &e2e_handlers, &server, &c), 0);
  uint64_t id = tavi_conn_id(c);
  foreign_settle();
  for (unsigned i = 1; i < 20; i++) {
    CHECK_INT(pthread_create(&thread, NULL, wake, &id), 0);
    FOREIGN_UNTIL(server.count[WAKEUP] == i);
    pthread_join(thread, NULL);
  }
  foreign_settle();
  CHECK_INT(tavi_manager_wakeup(manager, TAVI_ID_MANAGER, NULL, 0), 0);
  CHECK(is_readable(10000));
  foreign_settle();
  close_down();
}

TEST(manager_fd__what_is_done_between_turns__makes_it_readable) {
  if (!foreign_begin()) return;
  char buf[8];
  struct tavi_listener *l = listen_on_any(NULL, &server);
  foreign_settle();
  int fd = raw_connect(port_of(l));
  FOREIGN_UNTIL(server.count[ACCEPT] == 1);
  foreign_settle();
  struct peer *p = server.peers[0];
  CHECK_INT(tavi_conn_send(p->c, "hello", 5), 0);
  CHECK(is_readable(10000));
  tavi_manager_poll(manager, 0);
  struct pollfd arrived = {.fd = fd, .events = POLLIN};
  CHECK_INT(poll(&arrived, 1, 10000), 1);
  CHECK_INT(recv(fd, buf, sizeof buf, 0), 5);
  foreign_settle();

  tavi_conn_pause(p->c);
  foreign_settle();
  raw_send(fd, "x", 1);
  foreign_settle();
  CHECK_INT(p->count[READ], 0);
  tavi_conn_resume(p->c);
  FOREIGN_UNTIL(p->count[READ] == 1);
  foreign_settle();

  uint16_t port = port_of(l);
  connect_to(url_of("tcp", port), NULL, &client);
  FOREIGN_UNTIL(client.count[CONNECT] == 1);
  foreign_settle();
  connect_to("tcp://bad url", NULL, &client);
  FOREIGN_UNTIL(client.count[CLOSE] == 1);
  foreign_settle();

  tavi_conn_close(p->c);
  FOREIGN_UNTIL(server.count[CLOSE] == 1);
  tavi_listener_close(l);
  CHECK(is_readable(10000));
  foreign_settle();
  close(fd);
  close_down();
}

static void break_always(struct peer *p, enum event event) {
  if (event != READ) return;
  tavi_conn_consume(p->c, SIZE_MAX);
  tavi_manager_break(manager);
}

TEST(manager_fd__turn_broken_off__makes_it_readable_for_the_rest) {
  if (!foreign_begin()) return;
  int fds[10];
  server.hook = break_always;
  struct tavi_listener *l = listen_on_any(NULL, &server);
  for (int i = 0; i < 10; i++) fds[i] = raw_connect(port_of(l));
  FOREIGN_UNTIL(server.count[ACCEPT] == 10);
  for (int i = 0; i < 10; i++) raw_send(fds[i], "x", 1);
  for (int i = 0; i < 10; i++) CHECK_INT(tavi_manager_wakeup(manager, server.peers[i]->id, "y", 1), 0);
  FOREIGN_UNTIL(server.count[READ] == 10 && server.count[WAKEUP] == 10);
  foreign_settle();
  for (int i = 0; i < 10; i++) close(fds[i]);
  close_down();
}

TEST(manager_fd__idle__costs_no_turns) {
  if (!foreign_begin()) return;
  struct tavi_conn_opts opts;
  tavi_conn_opts_init(&opts);
  opts.idle_timeout_ms = 3600000;
  struct tavi_listener *l = listen_on_any(NULL, &server);
  uint16_t port = port_of(l);
  for (int i = 0; i < 20; i++) connect_to(url_of("tcp", port), &opts, &client);
  CHECK_INT(tavi_timer_start(manager, 7200000, 0, nothing, NULL, NULL), 0);
  FOREIGN_UNTIL(client.count[CONNECT] == 20 && server.count[ACCEPT] == 20);
  foreign_settle();
  uint64_t end_ms = tavi_millis() + 1000;
  unsigned count = 0;
  for (uint64_t now = tavi_millis(); now < end_ms; now = tavi_millis()) {
    if (!is_readable((int)(end_ms - now))) continue;
    tavi_manager_poll(manager, 0);
    count++;
  }
  CHECK(count <= 3); /* the wheel may look at what is far away when a block of its begins */
  close_down();
}

/* ==== a host with one lock ==== */

static pthread_mutex_t host_lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_int waits;       /* begun */
static int hook_depth, hook_calls;
static bool is_stopping;       /* under host_lock */

static void before_wait(void *user) {
  CHECK(user == &host_lock);
  CHECK_INT(hook_depth++, 0);
  hook_calls++;
  atomic_fetch_add(&waits, 1);
  pthread_mutex_unlock(&host_lock);
}

static void after_wait(void *user) {
  CHECK(user == &host_lock);
  pthread_mutex_lock(&host_lock);
  CHECK_INT(--hook_depth, 0);
}

static void set_up_host(void) {
  opts_init();
  manager_opts.before_wait = before_wait;
  manager_opts.after_wait = after_wait;
  manager_opts.hook_user = &host_lock;
  set_up_with_opts();
  hook_depth = hook_calls = 0;
  waits = 0;
  is_stopping = false;
}

TEST(manager_hooks__are_called_in_pairs_and_around_waits_only) {
  set_up_host();
  pthread_mutex_lock(&host_lock);
  for (int i = 0; i < 10; i++) tavi_manager_poll(manager, 0);
  CHECK_INT(hook_calls, 0);
  CHECK_INT(tavi_timer_start(manager, 0, 0, nothing, NULL, NULL), 0);
  tavi_manager_poll(manager, 1000); /* something is due: nothing to wait for */
  CHECK_INT(hook_calls, 0);
  tavi_manager_poll(manager, 5);
  CHECK_INT(hook_calls, 1);
  CHECK_INT(hook_depth, 0);
  CHECK_INT(tavi_timer_start(manager, 5, 0, nothing, NULL, NULL), 0);
  CHECK_INT(tavi_manager_poll(manager, -1), 1);
  CHECK(hook_calls >= 2);
  tavi_manager_close_all(manager);
  pthread_mutex_unlock(&host_lock);
  close_down();
}

/* The loop runs in this thread, without any end to its waits: what others do must end them. */
static void *host_loop(void *arg) {
  (void)arg;
  pthread_mutex_lock(&host_lock);
  while (!is_stopping) CHECK(tavi_manager_poll(manager, -1) >= 0);
  pthread_mutex_unlock(&host_lock);
  return NULL;
}

/* Take the lock at a moment when the loop is in a wait (or about to be: it gave the lock back for that). */
static void lock_in_wait(void) {
  for (;;) {
    pthread_mutex_lock(&host_lock);
    if (hook_depth == 1) return;
    pthread_mutex_unlock(&host_lock);
    sched_yield();
  }
}

#define OTHER_THREAD_UNTIL(condition)                                            \
  do {                                                                           \
    uint64_t end_ms__ = tavi_millis() + DEADLINE_MS;                             \
    bool held__ = false;                                                         \
    while (!held__ && tavi_millis() < end_ms__) {                                \
      pthread_mutex_lock(&host_lock);                                            \
      held__ = (condition);                                                      \
      pthread_mutex_unlock(&host_lock);                                          \
      if (!held__) sched_yield();                                                \
    }                                                                            \
    CHECK(held__);                                                               \
  } while (0)

static void count_ran(struct tavi_timer *t, void *user) {
  (void)t;
  ++*(int *)user;
}

static pthread_t host_thread;

static void begin_host(void) {
  set_up_host();
  server.hook = echo;
  CHECK_INT(pthread_create(&host_thread, NULL, host_loop, NULL), 0);
}

static void end_host(void) {
  lock_in_wait();
  CHECK_INT(tavi_manager_poll(manager, 0), TAVI_E_BUSY);
  CHECK_INT(tavi_manager_close_all(manager), TAVI_E_BUSY);
  is_stopping = true;
  pthread_mutex_unlock(&host_lock);
  CHECK_INT(tavi_manager_wakeup(manager, TAVI_ID_MANAGER, NULL, 0), 0); /* the one call without the lock */
  pthread_join(host_thread, NULL);
  close_down();
}

/* A listener and a client of ours that is connected to it, each made during a wait. */
static struct peer *connect_in_wait(struct tavi_listener **ret_listener) {
  lock_in_wait();
  *ret_listener = listen_on_any(NULL, &server);
  uint16_t port = port_of(*ret_listener);
  pthread_mutex_unlock(&host_lock);

  lock_in_wait();
  struct peer *p = connect_to(url_of("tcp", port), NULL, &client);
  pthread_mutex_unlock(&host_lock);
  OTHER_THREAD_UNTIL(client.count[CONNECT] == 1 && server.count[ACCEPT] == 1);
  return p;
}

TEST(manager_hooks__another_thread_connects_and_sends__during_the_wait) {
  struct tavi_listener *l;
  begin_host();
  struct peer *p = connect_in_wait(&l);
  for (unsigned i = 0; i < 20; i++) {
    lock_in_wait();
    CHECK_INT(tavi_conn_send(p->c, "ping", 4), 0);
    pthread_mutex_unlock(&host_lock);
    OTHER_THREAD_UNTIL(tavi_conn_peek(p->c).len == 4 * (i + 1));
  }
  end_host();
}

TEST(manager_hooks__another_thread_pauses_and_resumes__during_the_wait) {
  struct tavi_listener *l;
  begin_host();
  struct peer *p = connect_in_wait(&l);
  lock_in_wait();
  tavi_conn_pause(p->c);
  tavi_conn_pause(server.peers[0]->c);
  CHECK_INT(tavi_conn_send(p->c, "ping", 4), 0);
  pthread_mutex_unlock(&host_lock);
  lock_in_wait();
  CHECK_INT(server.count[READ], 0);
  tavi_conn_resume(p->c);
  tavi_conn_resume(server.peers[0]->c);
  pthread_mutex_unlock(&host_lock);
  OTHER_THREAD_UNTIL(tavi_conn_peek(p->c).len == 4);
  end_host();
}

TEST(manager_hooks__another_thread_starts_timers__during_the_wait) {
  int ran = 0, late = 0;
  struct tavi_conn_opts opts;
  struct tavi_listener *l;
  begin_host();
  connect_in_wait(&l);
  lock_in_wait();
  CHECK_INT(tavi_timer_start(manager, 3600000, 0, count_ran, &late, NULL), 0);
  pthread_mutex_unlock(&host_lock);
  for (int i = 1; i <= 10; i++) { /* each earlier than what the loop waits for */
    lock_in_wait();
    CHECK_INT(tavi_timer_start(manager, (uint64_t)i % 3, 0, count_ran, &ran, NULL), 0);
    pthread_mutex_unlock(&host_lock);
    OTHER_THREAD_UNTIL(ran == i);
  }
  lock_in_wait(); /* the time-out of a connection, too */
  tavi_conn_opts_init(&opts);
  opts.idle_timeout_ms = 30;
  uint16_t port = port_of(l);
  connect_to(url_of("tcp", port), &opts, &client);
  pthread_mutex_unlock(&host_lock);
  OTHER_THREAD_UNTIL(client.count[CLOSE] == 1 && client.peers[1]->err == TAVI_E_TIMEOUT);
  end_host();
  CHECK_INT(late, 0);
}

TEST(manager_hooks__another_thread_closes__during_the_wait) {
  char buf[8];
  struct tavi_listener *l;
  begin_host();
  struct peer *p = connect_in_wait(&l);
  lock_in_wait();
  uint16_t port = port_of(l);
  pthread_mutex_unlock(&host_lock);
  int fd = raw_connect(port);
  OTHER_THREAD_UNTIL(server.count[ACCEPT] == 2);

  lock_in_wait(); /* one closes, another one drains */
  tavi_conn_close(p->c);
  struct peer *last = server.peers[1];
  CHECK_INT(tavi_conn_send(last->c, "bye", 3), 0);
  tavi_conn_drain(last->c);
  pthread_mutex_unlock(&host_lock);
  OTHER_THREAD_UNTIL(client.count[CLOSE] == 1 && server.count[CLOSE] == 2);
  CHECK_INT(recv(fd, buf, 3, MSG_WAITALL), 3);
  close(fd);

  lock_in_wait();
  tavi_listener_close(l);
  pthread_mutex_unlock(&host_lock);
  OTHER_THREAD_UNTIL(tavi_manager_ids(manager, NULL, 0) == 0);
  end_host();
}

/* ==== broken turns ==== */

TEST(manager_break__in_a_handler__keeps_unserved_connections_for_the_next_turn) {
  enum { COUNT = 30 };
  int fds[COUNT];
  set_up();
  struct tavi_listener *l = listen_on_any(NULL, &server);
  for (int i = 0; i < COUNT; i++) fds[i] = raw_connect(port_of(l));
  RUN_UNTIL(server.count[ACCEPT] == COUNT);
  settle();
  server.hook = break_always;
  for (int i = 0; i < COUNT; i++) raw_send(fds[i], "x", 1);
  struct pollfd all = {.fd = -1};
  poll(&all, 0, 20); /* so that all have most likely arrived */
  for (unsigned i = 1; i <= COUNT; i++) {
    CHECK(tavi_manager_poll(manager, 20000) >= 1);
    CHECK_INT(server.count[READ], i); /* one per turn: the rest has to wait, and is not lost */
  }
  CHECK_INT(tavi_manager_poll(manager, 5), 0);
  for (int i = 0; i < COUNT; i++) close(fds[i]);
  close_down();
}

static void break_in_accept(struct peer *p, enum event event) {
  (void)p;
  if (event == ACCEPT) tavi_manager_break(manager);
}

TEST(manager_break__while_accepting__takes_the_others_next_turn) {
  int fds[5];
  set_up();
  server.hook = break_in_accept;
  struct tavi_listener *l = listen_on_any(NULL, &server);
  for (int i = 0; i < 5; i++) fds[i] = raw_connect(port_of(l));
  tavi_manager_poll(manager, 0);
  for (int i = 0; i < 10 && server.count[ACCEPT] < 5; i++) {
    unsigned before = server.count[ACCEPT];
    CHECK(tavi_manager_poll(manager, 20000) >= 1);
    CHECK(server.count[ACCEPT] <= before + 1);
  }
  CHECK_INT(server.count[ACCEPT], 5);
  for (int i = 0; i < 5; i++) close(fds[i]);
  close_down();
}

TEST(manager_break__before_a_turn__means_nothing) {
  int ran = 0;
  set_up();
  CHECK_INT(tavi_timer_start(manager, 0, 0, count_ran, &ran, NULL), 0);
  tavi_manager_break(manager);
  CHECK_INT(tavi_manager_poll(manager, 0), 1);
  CHECK_INT(ran, 1);
  close_down();
}

static void break_and_send(struct peer *p, enum event event) {
  if (event != READ) return;
  CHECK_INT(tavi_conn_send(p->c, "answer", 6), 0);
  tavi_conn_consume(p->c, SIZE_MAX);
  tavi_manager_break(manager);
}

TEST(manager_break__what_was_sent__leaves_and_what_was_closed_ends) {
  char buf[6];
  set_up();
  server.hook = break_and_send;
  struct tavi_listener *l = listen_on_any(NULL, &server);
  int fd = raw_connect(port_of(l));
  raw_send(fd, "x", 1);
  CHECK_INT(raw_recv(fd, buf, 6), 6);
  close(fd);
  RUN_UNTIL(server.count[CLOSE] == 1);
  close_down();
}

/* ==== the memory of all together ==== */

TEST(manager_buffered__maximum_for_all__fails_the_connection_that_asks_for_more) {
  static char bytes[200000];
  opts_init()->buffered_bytes_max = 1000000;
  set_up_with_opts();
  struct tavi_listener *l = listen_on_any(NULL, &server);
  uint16_t port = port_of(l);
  int fds[10];
  for (int i = 0; i < 10; i++) fds[i] = raw_connect(port);
  RUN_UNTIL(server.count[ACCEPT] == 10);
  int failed = 0;
  for (int i = 0; i < 10; i++) {
    int err = tavi_conn_send(server.peers[i]->c, bytes, sizeof bytes);
    CHECK(err == 0 || err == TAVI_E_LIMIT);
    CHECK(tavi_manager_buffered(manager) <= 1000000);
    CHECK_INT(server.peers[i]->err, err);
    failed += err != 0;
  }
  CHECK(failed >= 5 && failed < 10);
  RUN_UNTIL((int)server.count[CLOSE] == failed);
  for (int i = 0; i < 10; i++) raw_reset(fds[i]);
  RUN_UNTIL(server.count[CLOSE] == 10);
  CHECK_INT(tavi_manager_buffered(manager), 0);
  close_down();
}

TEST(manager_buffered__received_bytes__count_too) {
  static char bytes[300000];
  opts_init()->buffered_bytes_max = 1000000;
  set_up_with_opts();
  struct tavi_listener *l = listen_on_any(NULL, &server);
  int fds[6];
  for (int i = 0; i < 6; i++) {
    fds[i] = raw_connect(port_of(l));
    for (size_t done = 0; done < sizeof bytes;) {
      ssize_t n = send(fds[i], bytes + done, sizeof bytes - done, MSG_NOSIGNAL);
      if (n > 0) done += (size_t)n;
      else if (errno != EAGAIN) break; /* closed, as some will be */
      tavi_manager_poll(manager, 1);
      CHECK(tavi_manager_buffered(manager) <= 1000000);
    }
  }
  RUN_UNTIL(server.count[ERROR] > 0);
  for (unsigned i = 0; i < server.peer_count; i++) CHECK(server.peers[i]->err == 0 || server.peers[i]->err == TAVI_E_LIMIT);
  for (int i = 0; i < 6; i++) raw_reset(fds[i]);
  RUN_UNTIL(server.count[CLOSE] == server.count[OPEN]);
  CHECK_INT(tavi_manager_buffered(manager), 0);
  close_down();
}
