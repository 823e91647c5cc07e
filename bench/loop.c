/* SPDX-License-Identifier: MIT
 *
 * What libtavi's loop costs without traffic: an empty poll beside timers or idle connections, each timer operation,
 * and payloads handed over by tavi_manager_wakeup() from other threads. The counterpart of floor_loop.c.
 *   bench_loop [-b epoll|poll]
 *
 * Timers fire after the loop was kept away from them until all were due: so the figure is the work for one timer,
 * without the waits between them. They are spread over one second, in random order. Cancellations are in the order
 * in which the timers were started, as time-outs of requests mostly are, and again, called "shuffled", in random order.
 * A thousand timers live in the processor's cache and a million do not: part of what is between those figures is
 * memory, not the method.
 */
#include <tavi.h>

#include "loop.h"

enum { ROUNDS_MAX = 101, CONNS = 10000 };

static struct tavi_manager *m;
static struct tavi_manager_opts manager_opts;

static void check(int err, const char *what) {
  if (err >= 0) return;
  fprintf(stderr, "%s: %s\n", what, tavi_err_text(err));
  exit(1);
}

static void manager_new(void) {
  check(tavi_manager_new(&manager_opts, &m), "tavi_manager_new");
}

static void empty_poll(void) {
  tavi_manager_poll(m, 0);
}

/* ==== timers ==== */

static size_t fired;

static void on_timer(struct tavi_timer *t, void *user) {
  (void) t, (void) user;
  fired++;
}

/* n timers between delay_min and delay_min + spread; returns the CPU time of one start, in nanoseconds */
static double start_timers(struct tavi_timer **timers, size_t n, uint32_t delay_min, uint32_t spread) {
  uint64_t state = 42;
  uint64_t t0 = thread_ns();
  for (size_t i = 0; i < n; i++)
    check(tavi_timer_start(m, delay_min + rng(&state) % spread, 0, on_timer, NULL, &timers[i]), "tavi_timer_start");
  return (double) (thread_ns() - t0) / (double) n;
}

static double cancel_timers(struct tavi_timer **timers, size_t n) {
  uint64_t t0 = thread_ns();
  for (size_t i = 0; i < n; i++) tavi_timer_cancel(timers[i]);
  return (double) (thread_ns() - t0) / (double) n;
}

static void shuffle(struct tavi_timer **timers, size_t n) {
  uint64_t state = 7;
  for (size_t i = n; i > 1; i--) {
    size_t j = rng(&state) % i;
    struct tavi_timer *t = timers[i - 1];
    timers[i - 1] = timers[j], timers[j] = t;
  }
}

static double fire_timers(size_t n) {
  struct timespec nap = {1, 20 * 1000 * 1000};
  fired = 0;
  while (nanosleep(&nap, &nap) != 0) (void) 0;
  uint64_t t0 = thread_ns();
  while (fired < n) tavi_manager_poll(m, 0);
  return (double) (thread_ns() - t0) / (double) n;
}

static void poll_beside_timers(size_t n) {
  struct tavi_timer **timers = xalloc((n + 1) * sizeof(*timers));
  if (n > 0) start_timers(timers, n, 3600000, 3600000);
  figure_n("poll_timers", n, poll_cost_us(empty_poll), "us");
  cancel_timers(timers, n);
  free(timers);
}

/* With a manager of its own, so that the first timers come from memory that is fresh from the system */
static void timer_costs(size_t n, size_t cancel_rounds, size_t fire_rounds) {
  struct tavi_timer **timers = xalloc(n * sizeof(*timers));
  double add[ROUNDS_MAX], cancel[ROUNDS_MAX], shuffled[ROUNDS_MAX], fire[ROUNDS_MAX];
  manager_new();
  memset(timers, 0, n * sizeof(*timers)); /* our own memory is not what is measured */
  figure_n("timer_add_first", n, start_timers(timers, n, 1000, 3600000), "ns");
  cancel_timers(timers, n);
  for (size_t i = 0; i < cancel_rounds; i++) {
    add[i] = start_timers(timers, n, 1000, 3600000);
    cancel[i] = cancel_timers(timers, n);
  }
  for (size_t i = 0; i < fire_rounds; i++) {
    start_timers(timers, n, 1, 1000);
    fire[i] = fire_timers(n);
  }
  for (size_t i = 0; i < cancel_rounds; i++) { /* last: it leaves free memory in random order behind */
    start_timers(timers, n, 1000, 3600000);
    shuffle(timers, n);
    shuffled[i] = cancel_timers(timers, n);
  }
  tavi_manager_free(m);
  figure_n("timer_add", n, median(add, cancel_rounds), "ns");
  figure_n("timer_cancel", n, median(cancel, cancel_rounds), "ns");
  figure_n("timer_cancel_shuffled", n, median(shuffled, cancel_rounds), "ns");
  figure_n("timer_fire", n, median(fire, fire_rounds), "ns");
  free(timers);
}

/* ==== idle connections ==== */

static size_t answered;

static void on_message(struct tavi_conn *c, const struct tavi_http_msg *msg, void *user) {
  (void) msg, (void) user;
  tavi_http_reply(c, 200, NULL, 0, (struct tavi_slice){"idle", 4});
  answered++;
}

/* idle_http lies beside this program; it ends when the pipe to it is closed */
static FILE *open_idle(unsigned port) {
  char path[512], command[640];
  ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - sizeof("/idle_http"));
  if (n < 0) die("readlink");
  path[n] = 0;
  snprintf(strrchr(path, '/'), sizeof("/idle_http"), "/idle_http");
  if (access(path, X_OK) != 0) die(path);
  snprintf(command, sizeof(command), "exec '%s' -p %u -n %d -r -H >/dev/null", path, port, CONNS);
  FILE *f = popen(command, "w"); /* allow: popen, a fixed command of our own */
  if (f == NULL) die("popen");
  return f;
}

static void poll_beside_connections(void) {
  static const struct tavi_http_handlers handlers = {.on_message = on_message};
  struct rlimit r;
  struct tavi_listener *l;
  struct tavi_addr addr;
  if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < CONNS + 100) {
    printf("poll_conns_%d: left out, the limit of descriptors is %llu\n", CONNS, (unsigned long long) r.rlim_cur);
    return;
  }
  check(tavi_http_listen(m, "http://127.0.0.1:0", NULL, &handlers, NULL, &l), "tavi_http_listen");
  check(tavi_listener_local_addr(l, &addr), "tavi_listener_local_addr");
  FILE *idle = open_idle(addr.port);
  uint64_t stop = now_ns() + 60000000000u;
  while (answered < CONNS && now_ns() < stop) tavi_manager_poll(m, 100);
  if (answered < CONNS) {
    fprintf(stderr, "only %zu of %d connections came\n", answered, CONNS);
    exit(1);
  }
  for (int i = 0; i < 10; i++) tavi_manager_poll(m, 0); /* what the last answers left to do */
  figure_n("poll_conns", CONNS, poll_cost_us(empty_poll), "us");
  check(tavi_manager_close_all(m), "tavi_manager_close_all");
  pclose(idle);
}

/* ==== payloads from other threads ==== */

static uint64_t wake_id;

static void on_wakeup(struct tavi_listener *l, struct tavi_slice data, void *user) {
  (void) l, (void) user;
  payload_arrived(data.ptr, data.len);
  wake_seen();
}

static bool post(const void *data, size_t len) {
  int err = tavi_manager_wakeup(m, wake_id, data, len);
  if (err != TAVI_E_LIMIT) check(err, "tavi_manager_wakeup");
  return err == 0;
}

static void turn(void) {
  tavi_manager_poll(m, 100);
}

static bool wakeups(void) {
  static const struct tavi_listener_handlers handlers = {.on_wakeup = on_wakeup};
  static const struct tavi_conn_handlers none = {0};
  static const struct wake_ops ops = {post, turn};
  struct tavi_listen_opts opts;
  struct tavi_listener *l;
  tavi_listen_opts_init(&opts);
  opts.handlers = &handlers;
  check(tavi_listen(m, "tcp://127.0.0.1:0", &opts, &none, NULL, &l), "tavi_listen");
  wake_id = tavi_listener_id(l);
  return wake_all(&ops, 3000000);
}

int main(int argc, char **argv) {
  tavi_manager_opts_init(&manager_opts);
  for (int o; (o = getopt(argc, argv, "b:")) != -1;) {
    if (o == 'b' && strcmp(optarg, "epoll") == 0) manager_opts.backend = TAVI_BACKEND_EPOLL;
    else if (o == 'b' && strcmp(optarg, "poll") == 0) manager_opts.backend = TAVI_BACKEND_POLL;
    else return 2;
  }
  raise_fd_limit();
  signal(SIGPIPE, SIG_IGN);
  manager_new();
  poll_beside_timers(0);
  poll_beside_timers(1000);
  poll_beside_timers(10000);
  poll_beside_timers(100000);
  poll_beside_connections();
  tavi_manager_free(m);
  timer_costs(1000, 101, 5);
  timer_costs(100000, 11, 3);
  timer_costs(1000000, 3, 3);
  manager_new();
  bool ok = wakeups();
  tavi_manager_free(m);
  return ok ? 0 : 1;
}
