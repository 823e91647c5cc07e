/* SPDX-License-Identifier: MIT
 *
 * The SNTP client against a server that does what a test wants: one answer per question, what is asked and how often, and
 * every answer that must be ignored or refused. chronyd as the server: test_sntp_peers.py. */
#include <time.h>

#include "e2e.h"

#define Y1970 UINT64_C(2208988800)

static struct side client;
static struct tavi_sntp_handlers handlers;
static struct tavi_sntp_opts opts;
static int server_fd;
static uint16_t server_port;

/* ==== what the client tells ==== */

static unsigned times;
static struct tavi_sntp_time told;
static void (*time_hook)(struct tavi_conn *c);

static void on_time(struct tavi_conn *c, const struct tavi_sntp_time *t, void *user) {
  struct peer *p = user;
  CHECK(p->c == c && p->count[CLOSE] == 0 && p->count[ERROR] == 0);
  times++;
  told = *t;
  if (time_hook != NULL) time_hook(c);
}

/* ==== the server ==== */

struct question {
  unsigned char bytes[128];
  ssize_t len;
  struct sockaddr_in from;
};

static struct question question;

static bool has_question(void) {
  socklen_t len = sizeof question.from;
  question.len = recvfrom(server_fd, question.bytes, sizeof question.bytes, 0, (struct sockaddr *)(void *)&question.from, &len);
  return question.len >= 0;
}

static void put(unsigned char *at, unsigned bytes, uint64_t value) {
  for (unsigned i = 0; i < bytes; i++) at[i] = (unsigned char)(value >> 8 * (bytes - 1 - i));
}

static uint64_t stamp_of(int64_t unix_ns) {
  const int64_t seconds = unix_ns / 1000000000, ns = unix_ns % 1000000000;
  return ((uint64_t)seconds + Y1970) << 32 | ((uint64_t)ns << 32) / 1000000000;
}

static int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* A good answer to the last question, by a clock that is `ahead_ns` of ours. */
static void good_answer(unsigned char answer[48], int64_t ahead_ns) {
  memset(answer, 0, 48);
  answer[0] = 4 << 3 | 4;
  answer[1] = 1;
  memcpy(answer + 12, "GPS", 4);
  put(answer + 16, 8, stamp_of(now_ns() + ahead_ns - 5000000000));
  memcpy(answer + 24, question.bytes + 40, 8);
  put(answer + 32, 8, stamp_of(now_ns() + ahead_ns));
  put(answer + 40, 8, stamp_of(now_ns() + ahead_ns));
}

static void send_from(int fd, const void *bytes, size_t len) {
  CHECK_INT(sendto(fd, bytes, len, 0, (struct sockaddr *)(void *)&question.from, sizeof question.from), (ssize_t)len);
}

static void answer_well(int64_t ahead_ns) {
  unsigned char answer[48];
  good_answer(answer, ahead_ns);
  send_from(server_fd, answer, sizeof answer);
}

static int bind_udp(uint16_t *ret_port) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t len = sizeof a;
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  CHECK_INT(bind(fd, (struct sockaddr *)(void *)&a, sizeof a), 0);
  CHECK_INT(getsockname(fd, (struct sockaddr *)(void *)&a, &len), 0);
  *ret_port = ntohs(a.sin_port);
  return fd;
}

/* ==== setting up ==== */

static void begin(void) {
  set_up();
  handlers.conn = e2e_handlers;
  handlers.on_time = on_time;
  tavi_sntp_opts_init(&opts);
  times = 0;
  time_hook = NULL;
  server_fd = bind_udp(&server_port);
}

static struct peer *ask(void) {
  struct tavi_conn *c = NULL;
  CHECK_INT(tavi_sntp_connect(manager, url_of("sntp", server_port), &opts, &handlers, &client, &c), 0);
  if (c == NULL) exit(1);
  return tavi_conn_user(c);
}

static void close_down(void) {
  close(server_fd);
  tear_down();
  side_free(&client);
}

static bool about(int64_t got, int64_t wanted, int64_t tolerance) {
  return got >= wanted - tolerance && got <= wanted + tolerance;
}

/* ==== the question ==== */

TEST(sntp__question__is_sent_inside_the_call_and_says_nothing_of_us) {
  unsigned char first[8];
  begin();
  struct peer *p = ask();
  CHECK(p->count[OPEN] == 1 && p->count[RESOLVE] == 1 && p->count[CONNECT] == 1 && p->count[WRITE] == 1);
  CHECK(tavi_conn_flags(p->c) & TAVI_CONN_UDP && tavi_conn_flags(p->c) & TAVI_CONN_CLIENT);
  if (!CHECK(has_question())) return;
  CHECK_INT(question.len, 48);
  CHECK_INT(question.bytes[0], 4 << 3 | 3);
  for (int i = 1; i < 40; i++) CHECK_INT(question.bytes[i], 0);
  memcpy(first, question.bytes + 40, 8);
  ask();
  CHECK(has_question() && memcmp(first, question.bytes + 40, 8) != 0); /* not to be guessed from another */
  close_down();
}

TEST(sntp__urls__have_port_123_and_two_schemes) {
  const char *good[] = {"sntp://127.0.0.1", "udp://127.0.0.1", "127.0.0.1", "SNTP://127.0.0.1/", "sntp://127.0.0.1:123"};
  const char *bad[] = {"tcp://127.0.0.1:123", "http://127.0.0.1", "sntp://", "", "udp://", "sntps://127.0.0.1", "ntp://x"};
  struct tavi_addr a;
  begin();
  for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
    struct tavi_conn *c = NULL;
    test_note("%s", good[i]);
    CHECK_INT(tavi_sntp_connect(manager, good[i], NULL, &handlers, &client, &c), 0);
    CHECK_INT(tavi_conn_remote_addr(c, &a), 0);
    CHECK_INT(a.port, 123);
    tavi_conn_close(c);
  }
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    test_note("%s", bad[i]);
    CHECK_INT(tavi_sntp_connect(manager, bad[i], NULL, &handlers, &client, NULL), TAVI_E_ADDRESS);
  }
  CHECK_INT(tavi_sntp_connect(manager, NULL, NULL, &handlers, &client, NULL), TAVI_E_ARG);
  CHECK_INT(tavi_sntp_connect(manager, "sntp://127.0.0.1", NULL, NULL, &client, NULL), TAVI_E_ARG);
  opts.timeout_ms = 0;
  CHECK_INT(tavi_sntp_connect(manager, "sntp://127.0.0.1", &opts, &handlers, &client, NULL), TAVI_E_ARG);
  tavi_sntp_opts_init(&opts);
  char url[700];
  memset(url, 'a', sizeof url);
  memcpy(url, "sntp://", 7);
  url[sizeof url - 1] = 0;
  CHECK_INT(tavi_sntp_connect(manager, url, &opts, &handlers, &client, NULL), TAVI_E_ADDRESS);
  unsigned before = client.count[ERROR];
  CHECK_INT(tavi_sntp_connect(manager, "sntp://127.0.0.1:x", &opts, &handlers, &client, NULL), 0); /* told later, as by connect */
  RUN_UNTIL(client.count[ERROR] == before + 1);
  close_down();
}

/* ==== the answer ==== */

TEST(sntp__answer__is_told_once_and_ends_the_connection) {
  begin();
  struct peer *p = ask();
  RUN_UNTIL(has_question());
  answer_well(0);
  answer_well(0); /* the network may have doubled it */
  RUN_UNTIL(p->count[CLOSE] == 1);
  CHECK_INT(times, 1);
  CHECK_INT(p->count[READ], 1);
  CHECK_INT(p->count[ERROR], 0);
  CHECK(about(told.unix_ms, now_ns() / 1000000, 2000));
  CHECK(about(told.offset_ns, 0, 1000000000) && told.delay_ns >= 0 && told.delay_ns < 2000000000);
  CHECK(told.stratum == 1 && told.leap == 0);
  close_down();
}

TEST(sntp__request_at_once_after_connect__is_the_same_question) {
  begin();
  struct peer *p = ask();
  CHECK_INT(tavi_sntp_request(p->c), 0);
  CHECK_INT(tavi_sntp_request(p->c), 0);
  RUN_UNTIL(has_question());
  answer_well(0);
  RUN_UNTIL(p->count[CLOSE] == 1);
  CHECK(!has_question());
  CHECK_INT(times, 1);
  close_down();
}

TEST(sntp__offset__is_that_of_the_servers_clock) {
  static const int64_t ahead_s[] = {3600, -3600, INT64_C(86400) * 365 * 30 /* era 1 */, -INT64_C(86400) * 365 * 40};
  begin();
  for (size_t i = 0; i < sizeof ahead_s / sizeof ahead_s[0]; i++) {
    test_note("%lld s", (long long)ahead_s[i]);
    struct peer *p = ask();
    RUN_UNTIL(has_question());
    answer_well(ahead_s[i] * 1000000000);
    RUN_UNTIL(p->count[CLOSE] == 1);
    CHECK_INT(times, i + 1);
    CHECK(about(told.offset_ns, ahead_s[i] * 1000000000, 1000000000));
    CHECK(about(told.unix_ms, now_ns() / 1000000 + ahead_s[i] * 1000, 2000));
  }
  close_down();
}

TEST(sntp__delay__is_without_the_servers_part) {
  unsigned char answer[48];
  begin();
  struct peer *p = ask();
  RUN_UNTIL(has_question());
  const int64_t asked_ns = now_ns();
  while (now_ns() - asked_ns < 60000000) tavi_manager_poll(manager, 5);
  good_answer(answer, 0);
  put(answer + 32, 8, stamp_of(asked_ns)); /* 60 ms of which were the server's */
  send_from(server_fd, answer, sizeof answer);
  RUN_UNTIL(p->count[CLOSE] == 1);
  CHECK_INT(times, 1);
  CHECK(told.delay_ns < now_ns() - asked_ns - 59000000);
  CHECK(about(told.offset_ns, 0, told.delay_ns / 2 + 1000000));
  close_down();
}

/* ==== keep_open ==== */

static void ask_again(struct tavi_conn *c) {
  if (times == 2) CHECK_INT(tavi_sntp_request(c), 0);
}

TEST(sntp__keep_open__answers_each_request_once) {
  begin();
  opts.keep_open = true;
  struct peer *p = ask();
  for (unsigned i = 1; i <= 3; i++) {
    RUN_UNTIL(has_question());
    answer_well(0);
    time_hook = ask_again;
    RUN_UNTIL(times == i);
    settle();
    CHECK_INT(p->count[CLOSE], 0);
    if (i == 1) CHECK_INT(tavi_sntp_request(p->c), 0); /* the second one is made inside on_time */
  }
  CHECK(!has_question());
  tavi_conn_close(p->c);
  CHECK_INT(tavi_sntp_request(p->c), TAVI_E_CLOSED);
  close_down();
}

static void try_again(struct tavi_conn *c) { CHECK_INT(tavi_sntp_request(c), TAVI_E_CLOSED); }

TEST(sntp__request__when_it_cannot_be_is_refused) {
  begin();
  struct peer *p = ask();
  time_hook = try_again; /* without keep_open this was all */
  RUN_UNTIL(has_question());
  answer_well(0);
  RUN_UNTIL(p->count[CLOSE] == 1);
  CHECK_INT(times, 1);
  struct peer *plain = connect_to(url_of("udp", server_port), NULL, &client);
  CHECK_INT(tavi_sntp_request(plain->c), TAVI_E_STATE);
  close_down();
}

static void close_it(struct tavi_conn *c) { close_peer(tavi_conn_user(c)); }

TEST(sntp__closed_in_on_time__is_told_nothing_more) {
  begin();
  struct peer *p = ask();
  time_hook = close_it;
  RUN_UNTIL(has_question());
  answer_well(0);
  RUN_UNTIL(p->count[CLOSE] == 1);
  CHECK_INT(p->count[READ], 0);
  close_down();
}

/* ==== nobody answers ==== */

TEST(sntp__no_answer__is_an_error_in_time_and_asked_for_again_before) {
  unsigned char nonces[8][8];
  unsigned questions = 0;
  begin();
  opts.timeout_ms = 400;
  opts.retry_ms = 50; /* at 0, 50, 150, 350 */
  const uint64_t before_ms = tavi_millis();
  struct peer *p = ask();
  while (p->count[CLOSE] == 0 && tavi_millis() < before_ms + DEADLINE_MS) {
    tavi_manager_poll(manager, 5);
    if (questions < 8 && has_question()) memcpy(nonces[questions++], question.bytes + 40, 8);
  }
  const uint64_t took_ms = tavi_millis() - before_ms;
  CHECK(took_ms >= 400);
  CHECK(questions >= 2 && questions <= 4); /* a slow machine may be late, never early */
  for (unsigned i = 1; i < questions; i++) CHECK(memcmp(nonces[i], nonces[i - 1], 8) != 0);
  CHECK_INT(p->err, TAVI_E_TIMEOUT);
  CHECK(strcmp(p->text, "no answer from the time server 127.0.0.1 within 400 ms") == 0);
  CHECK_INT(times, 0);
  close_down();
}

TEST(sntp__no_retry__asks_once) {
  unsigned questions = 0;
  begin();
  opts.timeout_ms = 150;
  opts.retry_ms = 0;
  struct peer *p = ask();
  while (p->count[CLOSE] == 0) {
    tavi_manager_poll(manager, 5);
    questions += has_question();
  }
  CHECK_INT(questions, 1);
  CHECK_INT(p->err, TAVI_E_TIMEOUT);
  close_down();
}

TEST(sntp__lost_question__is_made_good_by_the_next) {
  begin();
  opts.retry_ms = 30;
  opts.timeout_ms = DEADLINE_MS;
  struct peer *p = ask();
  RUN_UNTIL(has_question());
  const struct question lost = question;
  RUN_UNTIL(has_question());
  const struct question second = question;
  question = lost; /* late: it answers what is not asked any more */
  answer_well(0);
  settle();
  CHECK_INT(times, 0);
  question = second;
  RUN_UNTIL((has_question(), answer_well(0), times > 0)); /* a third may have been asked meanwhile */
  RUN_UNTIL(p->count[CLOSE] == 1);
  CHECK_INT(times, 1);
  CHECK_INT(p->count[ERROR], 0);
  close_down();
}

TEST(sntp__nobody_there__is_a_timeout) { /* the refusals (ICMP) may be about anything */
  begin();
  close(server_fd);
  opts.timeout_ms = 200;
  opts.retry_ms = 20;
  struct peer *p = ask();
  RUN_UNTIL(p->count[CLOSE] == 1);
  CHECK(p->err == TAVI_E_TIMEOUT || p->err == TAVI_E_REFUSED);
  server_fd = -1;
  close_down();
}

/* ==== what must be ignored ==== */

TEST(sntp__wrong_peer__is_not_heard) {
  uint16_t other_port;
  unsigned char answer[48];
  begin();
  int other = bind_udp(&other_port);
  struct peer *p = ask();
  RUN_UNTIL(has_question());
  good_answer(answer, 3600 * INT64_C(1000000000));
  send_from(other, answer, sizeof answer); /* even with the right number */
  settle();
  CHECK(times == 0 && p->count[READ] == 0 && p->count[CLOSE] == 0);
  answer_well(0);
  RUN_UNTIL(p->count[CLOSE] == 1);
  CHECK_INT(times, 1);
  CHECK(about(told.offset_ns, 0, 1000000000));
  close(other);
  close_down();
}

TEST(sntp__forged_answers__are_ignored_and_the_right_one_counts) {
  static const struct {
    const char *what;
    unsigned at, bytes;
    uint64_t value;
    size_t len;
  } forged[] = {
      {"another number", 24, 8, 1, 48},       {"no number", 24, 8, 0, 48},         {"a client's mode", 0, 1, 4 << 3 | 3, 48},
      {"broadcast", 0, 1, 4 << 3 | 5, 48},    {"version 3", 0, 1, 3 << 3 | 4, 48}, {"version 7", 0, 1, 7 << 3 | 4, 48},
      {"one byte less", 0, 1, 4 << 3 | 4, 47}, {"nothing", 0, 1, 0, 0},
  };
  unsigned char answer[48];
  begin();
  struct peer *p = ask();
  RUN_UNTIL(has_question());
  for (size_t i = 0; i < sizeof forged / sizeof forged[0]; i++) {
    test_note("%s", forged[i].what);
    good_answer(answer, 0);
    put(answer + forged[i].at, forged[i].bytes, forged[i].value);
    send_from(server_fd, answer, forged[i].len);
    settle();
    CHECK(times == 0 && p->count[READ] == 0 && p->count[CLOSE] == 0);
    if (i < 2) { /* a kiss of death with it, too */
      answer[1] = 0;
      memcpy(answer + 12, "DENY", 4);
      send_from(server_fd, answer, sizeof answer);
      settle();
      CHECK(p->count[ERROR] == 0 && p->count[CLOSE] == 0);
    }
  }
  send_from(server_fd, question.bytes, (size_t)question.len); /* our own question */
  settle();
  CHECK_INT(tavi_manager_buffered(manager), 0);
  answer_well(0);
  RUN_UNTIL(p->count[CLOSE] == 1);
  CHECK(times == 1 && p->count[ERROR] == 0);
  close_down();
}

/* ==== what must be refused ==== */

TEST(sntp__useless_answers__end_the_connection_with_the_reason) {
  static const struct {
    const char *text;
    unsigned at, bytes;
    uint64_t value;
    int err;
  } cases[] = {
      {"the time server was asked too often (RATE)", 12, 4, 0x52415445, TAVI_E_REFUSED},
      {"the time server denies access (DENY)", 12, 4, 0x44454e59, TAVI_E_REFUSED},
      {"the time server restricts access (RSTR)", 12, 4, 0x52535452, TAVI_E_REFUSED},
      {"the time server does not know the time", 0, 1, 3 << 6 | 4 << 3 | 4, TAVI_E_REFUSED},
      {"the time server does not know the time", 1, 1, 16, TAVI_E_REFUSED},
      {"the time server's answer has no time", 40, 8, 0, TAVI_E_PROTOCOL},
      {"the time server answered before it was asked", 40, 8, UINT64_C(0x8000000100000000), TAVI_E_PROTOCOL},
      {"the time server says that it took longer than it did", 32, 8, UINT64_C(0xc000000000000000), TAVI_E_PROTOCOL},
  };
  unsigned char answer[48];
  begin();
  opts.retry_ms = 40;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    test_note("%s", cases[i].text);
    struct peer *p = ask();
    RUN_UNTIL(has_question());
    good_answer(answer, 0);
    if (cases[i].at == 12) answer[1] = 0;
    put(answer + cases[i].at, cases[i].bytes, cases[i].value);
    send_from(server_fd, answer, sizeof answer);
    RUN_UNTIL(p->count[CLOSE] == 1);
    CHECK_INT(p->err, cases[i].err);
    CHECK_BYTES(p->text, strlen(p->text), cases[i].text, strlen(cases[i].text));
    while (has_question()) continue;
    for (const uint64_t end_ms = tavi_millis() + 60; tavi_millis() < end_ms;) tavi_manager_poll(manager, 10);
    CHECK(!has_question()); /* it is left in peace */
  }
  CHECK_INT(times, 0);
  close_down();
}

TEST(sntp__closed_while_it_waits__is_forgotten) {
  begin();
  struct peer *p = ask();
  tavi_conn_close(p->c);
  RUN_UNTIL(p->count[CLOSE] == 1);
  CHECK_INT(p->count[ERROR], 0);
  ask(); /* and one that the end of the manager closes */
  close_down();
}
