/* SPDX-License-Identifier: MIT
 *
 * The one door for other threads: nothing that was accepted is lost, the order of each thread is kept, and the loop
 * wakes up promptly. The target is a UDP socket, since it is the simplest thing with an id. */
#include "e2e.h"

#include <pthread.h>
#include <stdatomic.h>

static struct side side;

static struct tavi_conn *target;
static uint64_t target_id;

static void open_target(void (*hook)(struct peer *, enum event)) {
  side.hook = hook;
  CHECK_INT(tavi_udp_listen(manager, "udp://127.0.0.1:0", NULL, &e2e_handlers, &side, &target), 0);
  target_id = tavi_conn_id(target);
  tavi_manager_poll(manager, 0); /* registered: from now on a turn is for what happens */
}

static void close_down(void) {
  tear_down();
  side_free(&side);
}

/* ==== many threads ==== */

enum { THREADS = 4, PER_THREAD = 3000, SIZE_MAX_SENT = 1 << 20 };

struct head {
  uint32_t thread, number;
  uint64_t len;
};

static atomic_uint refused;
static uint32_t next_number[THREADS];
static unsigned delivered;

static size_t size_of(uint32_t thread, uint32_t number) {
  uint32_t x = (thread * 7919 + number) * 2654435761u;
  if (number % 500 == 499) return SIZE_MAX_SENT - x % 1000;
  if (number % 20 == 0) return x % 100000;
  if (number % 3 == 0) return sizeof(struct head);
  return sizeof(struct head) + x % 300;
}

static char filler(uint32_t thread, uint32_t number, size_t at) { return (char)(thread * 31 + number + at / 64); }

static void *send_many(void *arg) {
  uint32_t thread = (uint32_t)(uintptr_t)arg;
  char *payload = malloc(SIZE_MAX_SENT);
  for (uint32_t n = 0; n < PER_THREAD;) {
    struct head head = {thread, n, size_of(thread, n)};
    if (head.len < sizeof head) head.len = sizeof head;
    memcpy(payload, &head, sizeof head);
    for (size_t i = sizeof head; i < head.len; i += 64) payload[i] = filler(thread, n, i);
    int err = tavi_manager_wakeup(manager, target_id, payload, head.len);
    if (err == 0) {
      n++;
    } else {
      if (err != TAVI_E_LIMIT) break;
      atomic_fetch_add(&refused, 1);
      sched_yield();
    }
  }
  free(payload);
  return NULL;
}

static void check_payload(struct peer *p, enum event event) {
  struct head head;
  if (event != WAKEUP) return;
  if (!CHECK(p->data.len >= sizeof head)) return;
  memcpy(&head, p->data.ptr, sizeof head);
  CHECK_INT(p->data.len, head.len);
  if (!CHECK(head.thread < THREADS)) return;
  CHECK_INT(head.number, next_number[head.thread]);
  next_number[head.thread]++;
  for (size_t i = sizeof head; i < head.len; i += 64)
    if (!CHECK(p->data.ptr[i] == filler(head.thread, head.number, i))) break;
  delivered++;
  if (delivered % 7 == 0) tavi_manager_break(manager); /* also when the turn ends in the middle of a batch */
}

static void run_threads(void) {
  pthread_t threads[THREADS];
  open_target(check_payload);
  memset(next_number, 0, sizeof next_number);
  delivered = 0;
  refused = 0;
  for (uintptr_t i = 0; i < THREADS; i++) CHECK_INT(pthread_create(&threads[i], NULL, send_many, (void *)i), 0);
  while (delivered < THREADS * PER_THREAD) { /* a wait that nobody ends is a lost payload */
    uint64_t before = tavi_millis();
    CHECK(tavi_manager_poll(manager, DEADLINE_MS) >= 0);
    if (!CHECK(tavi_millis() - before < DEADLINE_MS)) break;
  }
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  CHECK_INT(delivered, THREADS * PER_THREAD);
  close_down();
}

TEST(wakeup__four_threads_and_all_sizes__lose_nothing_and_keep_order) {
  set_up();
  run_threads();
}

TEST(wakeup__four_threads_and_a_small_maximum__are_refused_and_accepted_again) {
  opts_init()->wakeup_bytes_max = 200000;
  set_up_with_opts();
  run_threads();
  CHECK(refused > 0);
}

/* ==== answers ==== */

TEST(wakeup__unknown_id__is_not_found) {
  set_up();
  open_target(NULL);
  CHECK_INT(tavi_manager_wakeup(manager, 0, "x", 1), TAVI_E_NOT_FOUND);
  CHECK_INT(tavi_manager_wakeup(manager, target_id + 1, "x", 1), TAVI_E_NOT_FOUND);
  CHECK_INT(tavi_manager_wakeup(manager, UINT64_MAX, "x", 1), TAVI_E_NOT_FOUND);
  tavi_conn_close(target);
  tavi_manager_poll(manager, 0);
  CHECK_INT(tavi_manager_wakeup(manager, target_id, "x", 1), TAVI_E_NOT_FOUND);
  close_down();
}

static void keep_text(struct peer *p, enum event event) {
  if (event == WAKEUP) snprintf(p->text, sizeof p->text, "%.*s", (int)p->data.len, p->data.ptr);
}

TEST(wakeup__payload__is_copied_and_may_be_empty) {
  char bytes[] = "first";
  set_up();
  open_target(keep_text);
  CHECK_INT(tavi_manager_wakeup(manager, target_id, bytes, 5), 0);
  memcpy(bytes, "xxxxx", 5);
  CHECK_INT(tavi_manager_poll(manager, 20000), 1);
  CHECK(strcmp(side.peers[0]->text, "first") == 0);
  CHECK_INT(tavi_manager_wakeup(manager, target_id, NULL, 0), 0);
  CHECK_INT(tavi_manager_poll(manager, 20000), 1);
  CHECK_INT(side.count[WAKEUP], 2);
  CHECK_INT(side.peers[0]->data.len, 0);
  close_down();
}

TEST(wakeup__maximum_reached__is_refused_until_all_was_delivered) {
  static char bytes[10000];
  opts_init()->wakeup_bytes_max = 100000;
  set_up_with_opts();
  open_target(NULL);
  for (int round = 0; round < 3; round++) {
    int accepted = 0;
    while (tavi_manager_wakeup(manager, target_id, bytes, sizeof bytes) == 0) accepted++;
    CHECK(accepted >= 5 && accepted <= 10);
    while (tavi_manager_wakeup(manager, target_id, NULL, 0) == 0) accepted++;
    CHECK_INT(tavi_manager_wakeup(manager, target_id, NULL, 0), TAVI_E_LIMIT);
    CHECK_INT(tavi_manager_poll(manager, 0), accepted);
    CHECK_INT(tavi_manager_wakeup(manager, target_id, bytes, sizeof bytes), 0); /* now, not only after another turn */
    CHECK_INT(tavi_manager_poll(manager, 0), 1);
  }
  close_down();
}

TEST(wakeup__one_payload_above_the_maximum__is_accepted_when_nothing_waits) {
  static char bytes[10000];
  opts_init()->wakeup_bytes_max = 1000;
  set_up_with_opts();
  open_target(NULL);
  CHECK_INT(tavi_manager_wakeup(manager, target_id, bytes, sizeof bytes), 0);
  CHECK_INT(tavi_manager_wakeup(manager, target_id, bytes, 1), TAVI_E_LIMIT);
  CHECK_INT(tavi_manager_poll(manager, 0), 1);
  CHECK_INT(tavi_manager_wakeup(manager, target_id, bytes, sizeof bytes), 0);
  CHECK_INT(tavi_manager_poll(manager, 0), 1);
  close_down();
}

/* ==== waking ==== */

static void *wake_later(void *arg) {
  uint64_t id = *(uint64_t *)arg;
  usleep(20000); /* allow: usleep, most likely in the wait by now; right either way */
  CHECK_INT(tavi_manager_wakeup(manager, id, "x", id == TAVI_ID_MANAGER ? 0 : 1), 0);
  return NULL;
}

static void wake_from_thread(uint64_t id) {
  pthread_t thread;
  uint64_t before = tavi_millis();
  CHECK_INT(pthread_create(&thread, NULL, wake_later, &id), 0);
  CHECK_INT(tavi_manager_poll(manager, 20000), id == TAVI_ID_MANAGER ? 0 : 1);
  CHECK(tavi_millis() - before < 10000);
  pthread_join(thread, NULL);
}

TEST(wakeup__from_a_thread__ends_the_wait) {
  set_up();
  open_target(NULL);
  for (int i = 0; i < 3; i++) wake_from_thread(target_id);
  CHECK_INT(side.count[WAKEUP], 3);
  CHECK_INT(tavi_manager_poll(manager, 10), 0);
  close_down();
}

TEST(wakeup__to_the_manager__only_ends_the_wait) {
  set_up();
  open_target(NULL);
  for (int i = 0; i < 3; i++) wake_from_thread(TAVI_ID_MANAGER);
  CHECK_INT(side.count[WAKEUP], 0);
  close_down();
}

TEST(wakeup__between_turns__is_delivered_by_the_next) {
  set_up();
  open_target(NULL);
  tavi_manager_poll(manager, 0);
  for (int i = 0; i < 100; i++) {
    CHECK_INT(tavi_manager_wakeup(manager, target_id, "x", 1), 0);
    CHECK_INT(tavi_manager_poll(manager, 20000), 1);
  }
  close_down();
}

/* ==== from handlers ==== */

static void pass_on(struct peer *p, enum event event) {
  if (event != WAKEUP || p->data.len == 0) return;
  char shorter[100];
  size_t len = p->data.len - 1;
  memcpy(shorter, p->data.ptr, len);
  CHECK_INT(tavi_manager_wakeup(manager, p->id, shorter, len), 0);
}

TEST(wakeup__from_a_wakeup_handler__is_delivered_and_does_not_keep_the_turn) {
  set_up();
  open_target(pass_on);
  CHECK_INT(tavi_manager_wakeup(manager, target_id, "1234567890", 10), 0);
  for (unsigned i = 1; i <= 11; i++) {
    CHECK_INT(tavi_manager_poll(manager, 20000), 1);
    CHECK_INT(side.count[WAKEUP], i);
  }
  CHECK_INT(tavi_manager_poll(manager, 10), 0);
  close_down();
}

static void wake_from_timer(struct tavi_timer *t, void *user) {
  (void)t, (void)user;
  CHECK_INT(tavi_manager_wakeup(manager, target_id, "timer", 5), 0);
}

TEST(wakeup__from_a_timer__is_delivered_by_the_next_turn_at_the_latest) {
  set_up();
  open_target(NULL);
  CHECK_INT(tavi_timer_start(manager, 0, 0, wake_from_timer, NULL, NULL), 0);
  CHECK(tavi_manager_poll(manager, 20000) >= 1);
  if (side.count[WAKEUP] == 0) CHECK_INT(tavi_manager_poll(manager, 20000), 1);
  CHECK_INT(side.count[WAKEUP], 1);
  close_down();
}

/* ==== targets that go ==== */

static void close_at_the_second(struct peer *p, enum event event) {
  if (event == WAKEUP && p->count[WAKEUP] == 2) close_peer(p);
}

TEST(wakeup__target_closes_itself__gets_no_more) {
  set_up();
  open_target(close_at_the_second);
  for (int i = 0; i < 5; i++) CHECK_INT(tavi_manager_wakeup(manager, target_id, "x", 1), 0);
  CHECK_INT(tavi_manager_poll(manager, 20000), 3); /* two wakeups and the close */
  CHECK_INT(side.count[WAKEUP], 2);
  CHECK_INT(side.count[CLOSE], 1);
  close_down();
}

TEST(wakeup__target_closed_before_delivery__is_dropped) {
  set_up();
  open_target(NULL);
  CHECK_INT(tavi_manager_wakeup(manager, target_id, "x", 1), 0);
  tavi_conn_close(target);
  CHECK_INT(tavi_manager_poll(manager, 20000), 1);
  CHECK_INT(side.count[WAKEUP], 0);
  CHECK_INT(side.count[CLOSE], 1);
  struct side *first = &side;
  open_target(NULL); /* its id is another, so it gets nothing of what was meant for the old one */
  CHECK(target_id != first->peers[0]->id);
  CHECK_INT(tavi_manager_poll(manager, 10), 0);
  close_down();
}

/* ==== a listener ==== */

static unsigned listener_wakeups, listener_closes;

static void on_listener_wakeup(struct tavi_listener *l, struct tavi_slice data, void *user) {
  CHECK(user == &side);
  CHECK_STR(data, "to the listener");
  listener_wakeups++;
  tavi_listener_close(l);
}

static void on_listener_close(struct tavi_listener *l, void *user) {
  (void)l;
  CHECK(user == &side);
  listener_closes++;
}

TEST(wakeup__to_a_listener__is_told_to_its_own_handlers) {
  static const struct tavi_listener_handlers own = {.on_wakeup = on_listener_wakeup, .on_close = on_listener_close};
  struct tavi_listen_opts opts;
  set_up();
  tavi_listen_opts_init(&opts);
  opts.handlers = &own;
  opts.listener_user = &side;
  struct tavi_listener *l = listen_on_any(&opts, &side), *plain = listen_on_any(NULL, &side);
  uint64_t id = tavi_listener_id(l);
  CHECK(tavi_manager_listener(manager, id) == l);
  CHECK(tavi_manager_conn(manager, id) == NULL);
  CHECK_INT(tavi_manager_wakeup(manager, id, "to the listener", 15), 0);
  CHECK_INT(tavi_manager_wakeup(manager, id, "to the listener", 15), 0);
  CHECK_INT(tavi_manager_wakeup(manager, tavi_listener_id(plain), "nobody listens", 14), 0);
  tavi_manager_poll(manager, 20000);
  CHECK_INT(listener_wakeups, 1);
  CHECK_INT(listener_closes, 1);
  CHECK_INT(tavi_manager_wakeup(manager, id, "x", 1), TAVI_E_NOT_FOUND);
  close_down();
}

/* ==== breaking off ==== */

static void break_each_time(struct peer *p, enum event event) {
  if (event != WAKEUP) return;
  CHECK_INT(p->data.len, 1);
  CHECK_INT(p->data.ptr[0], (char)p->count[WAKEUP]);
  tavi_manager_break(manager);
}

TEST(wakeup__broken_turn__keeps_the_rest_for_the_next) {
  set_up();
  open_target(break_each_time);
  for (char i = 1; i <= 5; i++) CHECK_INT(tavi_manager_wakeup(manager, target_id, &i, 1), 0);
  for (unsigned i = 1; i <= 5; i++) {
    CHECK_INT(tavi_manager_poll(manager, 20000), 1);
    CHECK_INT(side.count[WAKEUP], i);
    if (i != 3) continue;
    for (char more = 6; more <= 8; more++) CHECK_INT(tavi_manager_wakeup(manager, target_id, &more, 1), 0);
  }
  for (unsigned i = 6; i <= 8; i++) {
    CHECK(RUN_UNTIL(side.count[WAKEUP] >= i));
    CHECK_INT(side.count[WAKEUP], i);
  }
  CHECK_INT(tavi_manager_poll(manager, 10), 0);
  close_down();
}

/* The turn is broken off by I/O after the wake descriptor was served: the payloads must still end the next wait. */
static void break_on_read(struct peer *p, enum event event) {
  (void)p;
  if (event == READ) tavi_manager_break(manager);
}

TEST(wakeup__turn_broken_by_something_else__is_delivered_next) {
  set_up();
  open_target(break_on_read);
  struct tavi_addr a;
  CHECK_INT(tavi_conn_local_addr(target, &a), 0);
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(a.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  tavi_manager_poll(manager, 0);
  for (unsigned i = 1; i <= 20; i++) {
    CHECK_INT(tavi_manager_wakeup(manager, target_id, "x", 1), 0);
    CHECK_INT(sendto(fd, "d", 1, 0, (struct sockaddr *)(void *)&to, sizeof to), 1);
    for (int turns = 0; turns < 3 && side.count[WAKEUP] < i; turns++)
      if (!CHECK(tavi_manager_poll(manager, 20000) > 0)) break;
    CHECK_INT(side.count[WAKEUP], i);
  }
  close(fd);
  close_down();
}

TEST(wakeup__manager_freed_with_payloads_waiting__leaks_nothing) {
  static char bytes[300000];
  set_up();
  open_target(NULL);
  for (int i = 0; i < 20; i++) CHECK_INT(tavi_manager_wakeup(manager, target_id, bytes, i % 2 ? 10 : sizeof bytes), 0);
  close_down();
  CHECK_INT(side.count[WAKEUP], 0);
}
