/* SPDX-License-Identifier: MIT
 *
 * Datagrams: one connection for all peers, one connection to one peer, to any address, to groups and to everybody, and
 * what networks do to them. */
#include <ifaddrs.h>
#include <net/if.h>

#include "e2e.h"

static struct side server, client;
static struct tavi_conn *bound;
static uint16_t port;

static char last[65536];
static size_t last_len;
static struct tavi_addr last_from;

/* Answers each datagram with itself and remembers it. */
static void echo(struct peer *p, enum event event) {
  if (event != READ) return;
  struct tavi_slice in = tavi_conn_peek(p->c);
  last_len = in.len;
  if (in.len > 0) memcpy(last, in.ptr, in.len);
  CHECK_INT(tavi_conn_remote_addr(p->c, &last_from), 0);
  CHECK_INT(tavi_conn_send(p->c, in.ptr, in.len), 0);
}

static void keep(struct peer *p, enum event event) {
  if (event != READ) return;
  struct tavi_slice in = tavi_conn_peek(p->c);
  last_len = in.len;
  if (in.len > 0) memcpy(last, in.ptr, in.len);
}

static void begin_on(const char *url) {
  struct tavi_addr a;
  set_up();
  server.hook = echo;
  CHECK_INT(tavi_udp_listen(manager, url, NULL, &e2e_handlers, &server, &bound), 0);
  CHECK_INT(tavi_conn_local_addr(bound, &a), 0);
  port = a.port;
  tavi_manager_poll(manager, 0); /* registered: from now on a turn is for what happens */
}

static void begin(void) { begin_on("udp://127.0.0.1:0"); }

static void close_down(void) {
  tear_down();
  side_free(&server);
  side_free(&client);
}

static int raw_udp(uint16_t *ret_port) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  struct sockaddr_in mine;
  socklen_t len = sizeof mine;
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  CHECK_INT(connect(fd, (struct sockaddr *)(void *)&to, sizeof to), 0);
  CHECK_INT(getsockname(fd, (struct sockaddr *)(void *)&mine, &len), 0);
  if (ret_port != NULL) *ret_port = ntohs(mine.sin_port);
  return fd;
}

TEST(udp__several_peers__are_each_answered) {
  int fds[5];
  uint16_t ports[5];
  begin();
  for (int i = 0; i < 5; i++) fds[i] = raw_udp(&ports[i]);
  CHECK_INT(tavi_conn_send(bound, "x", 1), TAVI_E_ADDRESS); /* nobody yet */
  for (int round = 0; round < 3; round++) {
    for (int i = 0; i < 5; i++) {
      char text[16], got[16];
      ssize_t len = snprintf(text, sizeof text, "%d from %d", round, i), n = -1;
      CHECK_INT(send(fds[i], text, (size_t)len, 0), len);
      RUN_UNTIL((n = recv(fds[i], got, sizeof got, 0)) >= 0);
      CHECK_BYTES(got, (size_t)n, text, (size_t)len);
      CHECK_INT(last_from.port, ports[i]);
      CHECK(strcmp(last_from.host, "127.0.0.1") == 0 && !last_from.is_ipv6);
    }
  }
  for (int i = 0; i < 5; i++) { /* all at once: each is one on_read, answered to its own sender */
    char byte = (char)('a' + i);
    CHECK_INT(send(fds[i], &byte, 1, 0), 1);
  }
  RUN_UNTIL(server.count[READ] == 20);
  for (int i = 0; i < 5; i++) {
    char got[4];
    ssize_t n = -1;
    RUN_UNTIL((n = recv(fds[i], got, sizeof got, 0)) >= 0);
    CHECK(n == 1 && got[0] == 'a' + i);
    close(fds[i]);
  }
  CHECK(tavi_conn_flags(bound) & TAVI_CONN_UDP);
  CHECK_INT(tavi_manager_buffered(manager), tavi_conn_recv_held(bound));
  close_down();
}

TEST(udp__newest_datagram__stays_to_be_peeked_at) {
  begin();
  server.hook = NULL;
  int fd = raw_udp(NULL);
  CHECK_INT(send(fd, "first", 5, 0), 5);
  RUN_UNTIL(server.count[READ] == 1);
  CHECK_STR(tavi_conn_peek(bound), "first");
  CHECK_INT(send(fd, "second", 6, 0), 6);
  RUN_UNTIL(server.count[READ] == 2);
  CHECK_STR(tavi_conn_peek(bound), "second");
  tavi_conn_consume(bound, 3);
  CHECK_STR(tavi_conn_peek(bound), "ond");
  CHECK_INT(send(fd, "", 0, 0), 0);
  RUN_UNTIL(server.count[READ] == 3);
  CHECK_INT(tavi_conn_peek(bound).len, 0);
  CHECK_INT(tavi_manager_buffered(manager), 0);
  close(fd);
  close_down();
}

TEST(udp__empty_datagram__is_told_and_can_be_sent) {
  char byte;
  ssize_t n = -1;
  begin();
  int fd = raw_udp(NULL);
  last_len = 99;
  CHECK_INT(send(fd, "", 0, 0), 0);
  RUN_UNTIL(server.count[READ] == 1);
  CHECK_INT(last_len, 0);
  RUN_UNTIL((n = recv(fd, &byte, 1, 0)) >= 0);
  CHECK_INT(n, 0);
  close(fd);
  close_down();
}

TEST(udp__largest_datagram__fits_and_a_larger_one_is_refused) {
  enum { LARGEST = 65507 };
  static char bytes[LARGEST + 1];
  for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (char)(i * 7 + i / 256);
  begin();
  client.hook = keep;
  struct peer *p = connect_to(url_of("udp", port), NULL, &client);
  CHECK_INT(tavi_conn_send(p->c, bytes, LARGEST), 0);
  RUN_UNTIL(client.count[READ] == 1);
  CHECK(last_len == LARGEST && memcmp(last, bytes, LARGEST) == 0);
  CHECK_INT(tavi_conn_send(p->c, bytes, LARGEST + 1), TAVI_E_TOO_BIG);
  CHECK_INT(tavi_conn_send(bound, bytes, LARGEST + 1), TAVI_E_TOO_BIG);
  CHECK_INT(tavi_conn_send(p->c, "small", 5), 0); /* both live on */
  RUN_UNTIL(client.count[READ] == 2);
  CHECK_INT(last_len, 5);
  CHECK_INT(p->sent, LARGEST + 5);
  close_down();
}

static void release(void *arg) { ++*(unsigned *)arg; }

TEST(udp__all_ways_of_sending__are_one_datagram_each) {
  unsigned released = 0;
  struct tavi_shared *shared;
  begin();
  client.hook = keep;
  struct peer *p = connect_to(url_of("udp", port), NULL, &client);
  CHECK_INT(tavi_conn_send_foreign(p->c, "foreign", 7, release, &released), 0);
  CHECK_INT(released, 1);
  RUN_UNTIL(client.count[READ] == 1);
  CHECK_BYTES(last, last_len, "foreign", 7);
  CHECK_INT(tavi_shared_new("shared", 6, &shared), 0);
  CHECK_INT(tavi_conn_send_shared(p->c, shared), 0);
  tavi_shared_unref(shared);
  RUN_UNTIL(client.count[READ] == 2);
  CHECK_BYTES(last, last_len, "shared", 6);
  int fd = open("/dev/null", O_RDONLY);
  CHECK(tavi_conn_send_file(p->c, fd, 0, 1) < 0);
  CHECK_INT(fcntl(fd, F_GETFD), -1); /* taken, also when it fails */
  CHECK_INT(tavi_conn_send_pending(p->c), 0);
  close_down();
}

/* ==== the client ==== */

static void at_connect(struct peer *p, enum event event) {
  if (event == CONNECT) CHECK_INT(tavi_conn_send(p->c, "from on_connect", 15), 0);
}

TEST(udp__client__is_connected_inside_the_call) {
  begin();
  client.hook = at_connect;
  struct peer *p = connect_to(url_of("udp", port), NULL, &client);
  CHECK(p->count[OPEN] == 1 && p->count[RESOLVE] == 1 && p->count[CONNECT] == 1 && p->count[WRITE] == 1);
  unsigned flags = tavi_conn_flags(p->c);
  CHECK(flags & TAVI_CONN_UDP && flags & TAVI_CONN_CLIENT && !(flags & TAVI_CONN_CONNECTING));
  RUN_UNTIL(p->count[READ] == 1);
  CHECK_STR(tavi_conn_peek(p->c), "from on_connect");
  struct tavi_addr a;
  CHECK_INT(tavi_conn_remote_addr(p->c, &a), 0);
  CHECK_INT(a.port, port);
  CHECK_INT(tavi_conn_local_addr(p->c, &a), 0);
  CHECK_INT(a.port, last_from.port);
  close_down();
}

static void close_at_connect(struct peer *p, enum event event) {
  if (event == CONNECT) close_peer(p);
}

TEST(udp__client_closed_in_on_connect__is_closed_by_the_next_turn) {
  begin();
  client.hook = close_at_connect;
  connect_to(url_of("udp", port), NULL, &client);
  tavi_manager_poll(manager, 10000);
  CHECK_INT(client.count[CLOSE], 1);
  close_down();
}

TEST(udp__nobody_listening__does_not_end_the_client) {
  begin();
  client.hook = keep;
  tavi_conn_close(bound);
  tavi_manager_poll(manager, 0);
  struct peer *p = connect_to(url_of("udp", port), NULL, &client);
  for (int i = 0; i < 5; i++) {
    CHECK_INT(tavi_conn_send(p->c, "anybody?", 8), 0);
    poll(NULL, 0, 10); /* time for the refusal (ICMP), and no turn to see it in */
    CHECK_INT(tavi_conn_send(p->c, "hello?", 6), 0); /* that of the first one is not its failure ... */
    settle();                                        /* ... nor that of the connection */
  }
  CHECK(p->count[ERROR] == 0 && p->count[CLOSE] == 0);
  char url[64]; /* somebody comes */
  snprintf(url, sizeof url, "udp://127.0.0.1:%u", port);
  CHECK_INT(tavi_udp_listen(manager, url, NULL, &e2e_handlers, &server, &bound), 0);
  CHECK_INT(tavi_conn_send(p->c, "hello", 5), 0);
  RUN_UNTIL(p->count[READ] == 1);
  CHECK_BYTES(last, last_len, "hello", 5);
  close_down();
}

TEST(udp__refused_while_paused__costs_no_turns) {
  begin();
  tavi_conn_close(bound);
  tavi_manager_poll(manager, 0);
  struct peer *p = connect_to(url_of("udp", port), NULL, &client);
  tavi_conn_pause(p->c);
  settle();
  CHECK_INT(tavi_conn_send(p->c, "anybody?", 8), 0);
  settle();
  unsigned turns = 0;
  for (uint64_t end_ms = tavi_millis() + 100; tavi_millis() < end_ms; turns++) tavi_manager_poll(manager, 100);
  CHECK(turns <= 5);
  CHECK(p->count[ERROR] == 0 && p->count[CLOSE] == 0);
  close_down();
}

TEST(udp__peer_gone__does_not_end_the_server) {
  begin();
  for (unsigned i = 1; i <= 5; i++) {
    int fd = raw_udp(NULL);
    CHECK_INT(send(fd, "x", 1, 0), 1);
    close(fd); /* the answer comes back as a refusal */
    RUN_UNTIL(server.count[READ] == i);
    settle();
  }
  CHECK(server.count[ERROR] == 0 && server.count[CLOSE] == 0);
  close_down();
}

TEST(udp__paused__reads_nothing_until_it_is_resumed) {
  begin();
  int fd = raw_udp(NULL);
  tavi_conn_pause(bound);
  CHECK_INT(send(fd, "x", 1, 0), 1);
  settle();
  CHECK_INT(server.count[READ], 0);
  tavi_conn_resume(bound);
  RUN_UNTIL(server.count[READ] == 1);
  close(fd);
  close_down();
}

TEST(udp__idle_timeout__ends_a_client_that_says_and_hears_nothing) {
  struct tavi_conn_opts opts;
  begin();
  tavi_conn_opts_init(&opts);
  opts.idle_timeout_ms = 80;
  uint64_t before = tavi_millis();
  struct peer *p = connect_to(url_of("udp", port), &opts, &client);
  RUN_UNTIL(p->count[CLOSE] == 1);
  CHECK_INT(p->err, TAVI_E_TIMEOUT);
  CHECK(tavi_millis() - before >= 80);
  CHECK_INT(server.count[CLOSE], 0);
  close_down();
}

TEST(udp__drain__is_close) {
  begin();
  tavi_conn_drain(bound);
  CHECK_INT(tavi_conn_send(bound, "x", 1), TAVI_E_CLOSED);
  tavi_manager_poll(manager, 10000);
  CHECK_INT(server.count[CLOSE], 1);
  CHECK_INT(server.count[ERROR], 0);
  close_down();
}

static void close_at_the_third(struct peer *p, enum event event) {
  if (event == READ && p->count[READ] == 3) close_peer(p);
}

TEST(udp__closed_in_on_read__gets_no_more) {
  begin();
  server.hook = close_at_the_third;
  int fd = raw_udp(NULL);
  for (int i = 0; i < 10; i++) CHECK_INT(send(fd, "x", 1, 0), 1);
  RUN_UNTIL(server.count[CLOSE] == 1);
  CHECK_INT(server.count[READ], 3);
  close(fd);
  close_down();
}

/* ==== many and other families ==== */

TEST(udp__flood__is_bounded_per_turn_and_all_is_served) {
  begin();
  server.hook = NULL;
  int fd = raw_udp(NULL);
  for (int i = 0; i < 150; i++) CHECK_INT(send(fd, "x", 1, 0), 1);
  unsigned most = 0;
  while (server.count[READ] < 150) {
    unsigned before = server.count[READ];
    if (!CHECK(tavi_manager_poll(manager, 10000) > 0)) break;
    if (server.count[READ] - before > most) most = server.count[READ] - before;
  }
  CHECK(most <= 64);
  close(fd);
  close_down();
}

TEST(udp__ipv6__works_and_shows_ipv4_peers_as_ipv4) {
  int probe = socket(AF_INET6, SOCK_DGRAM, 0);
  struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
  bool has_ipv6 = probe >= 0 && bind(probe, (struct sockaddr *)(void *)&a, sizeof a) == 0;
  if (probe >= 0) close(probe);
  if (!has_ipv6) return;
  begin_on("udp://[::]:0");
  client.hook = keep;
  char url[64];
  snprintf(url, sizeof url, "udp://[::1]:%u", port);
  struct peer *six = connect_to(url, NULL, &client);
  CHECK_INT(tavi_conn_send(six->c, "six", 3), 0);
  RUN_UNTIL(six->count[READ] == 1);
  CHECK(strcmp(last_from.host, "::1") == 0 && last_from.is_ipv6);
  struct peer *four = connect_to(url_of("udp", port), NULL, &client);
  CHECK_INT(tavi_conn_send(four->c, "four", 4), 0);
  RUN_UNTIL(four->count[READ] == 1); /* answered through the IPv6 socket */
  CHECK(strcmp(last_from.host, "127.0.0.1") == 0 && !last_from.is_ipv6);
  close_down();
}

TEST(udp__bad_addresses__are_refused) {
  struct tavi_conn *c = NULL;
  set_up();
  CHECK_INT(tavi_udp_listen(manager, "udp://example.com:1", NULL, &e2e_handlers, &server, &c), TAVI_E_ADDRESS);
  CHECK_INT(tavi_udp_listen(manager, "unix:/tmp/x", NULL, &e2e_handlers, &server, &c), TAVI_E_ADDRESS);
  CHECK_INT(tavi_udp_listen(manager, NULL, NULL, &e2e_handlers, &server, &c), TAVI_E_ARG);
  CHECK_INT(tavi_udp_listen(manager, "udp://127.0.0.1:0", NULL, NULL, &server, &c), TAVI_E_ARG);
  CHECK_INT(tavi_udp_listen(manager, "udp://127.0.0.1:0", NULL, &e2e_handlers, &server, &c), 0);
  struct tavi_addr a;
  CHECK_INT(tavi_conn_local_addr(c, &a), 0);
  CHECK_INT(tavi_conn_remote_addr(c, &a), TAVI_E_NOT_FOUND);
  CHECK_INT(tavi_udp_listen(manager, url_of("udp", a.port), NULL, &e2e_handlers, &server, NULL), TAVI_E_IN_USE);
  close_down();
}

TEST(udp__inherited_descriptor__is_taken) {
  char url[32];
  set_up();
  server.hook = echo;
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  CHECK_INT(bind(fd, (struct sockaddr *)(void *)&a, sizeof a), 0);
  snprintf(url, sizeof url, "fd://%d", fd);
  CHECK_INT(tavi_udp_listen(manager, url, NULL, &e2e_handlers, &server, &bound), 0);
  struct tavi_addr mine;
  CHECK_INT(tavi_conn_local_addr(bound, &mine), 0);
  struct peer *p = connect_to(url_of("udp", mine.port), NULL, &client);
  CHECK_INT(tavi_conn_send(p->c, "x", 1), 0);
  RUN_UNTIL(p->count[READ] == 1);
  tavi_conn_close(bound);
  tavi_manager_poll(manager, 0);
  CHECK_INT(fcntl(fd, F_GETFD), -1);
  close_down();
}

/* ==== to any address ==== */

/* A second socket of ours, bound; its datagrams go to `client`. */
static struct tavi_conn *bind_second(const char *url, uint16_t *ret_port) {
  struct tavi_conn *c = NULL;
  struct tavi_addr a;
  if (!CHECK_INT(tavi_udp_listen(manager, url, NULL, &e2e_handlers, &client, &c), 0)) exit(1);
  CHECK_INT(tavi_conn_local_addr(c, &a), 0);
  *ret_port = a.port;
  return c;
}

static struct tavi_addr address(const char *host, uint16_t to_port) {
  struct tavi_addr a = {.port = to_port};
  snprintf(a.host, sizeof a.host, "%s", host);
  return a;
}

TEST(udp_send_to__any_address__gets_one_datagram_each) {
  uint16_t ports[3];
  begin();
  server.hook = NULL;
  client.hook = keep;
  for (int i = 0; i < 3; i++) bind_second("udp://127.0.0.1:0", &ports[i]);
  for (unsigned i = 0; i < 9; i++) {
    const struct tavi_addr to = address("127.0.0.1", ports[i % 3]);
    const char text = (char)('a' + i);
    CHECK_INT(tavi_udp_send_to(bound, &to, &text, 1), 0);
    RUN_UNTIL(client.peers[i % 3]->count[READ] == i / 3 + 1);
    CHECK_BYTES(last, last_len, &text, 1);
  }
  CHECK_INT(server.count[WRITE], 9);
  close_down();
}

TEST(udp_send_to__while_others_are_answered__does_not_change_who_is_answered) {
  uint16_t other;
  char got[4];
  ssize_t n = -1;
  begin();
  server.hook = NULL;
  client.hook = keep;
  bind_second("udp://127.0.0.1:0", &other);
  int fd = raw_udp(NULL);
  CHECK_INT(send(fd, "q", 1, 0), 1);
  RUN_UNTIL(server.count[READ] == 1);
  const struct tavi_addr to = address("127.0.0.1", other);
  CHECK_INT(tavi_udp_send_to(bound, &to, "other", 5), 0);
  CHECK_INT(tavi_conn_send(bound, "a", 1), 0);
  RUN_UNTIL((n = recv(fd, got, sizeof got, 0)) >= 0);
  CHECK(n == 1 && got[0] == 'a');
  RUN_UNTIL(client.count[READ] == 1);
  CHECK_BYTES(last, last_len, "other", 5);
  close(fd);
  close_down();
}

TEST(udp_send_to__nothing_and_the_most__arrive) {
  static char bytes[TAVI_UDP_BYTES_MAX + 1];
  uint16_t other;
  begin();
  client.hook = keep;
  memset(bytes, 'z', sizeof bytes);
  bind_second("udp://127.0.0.1:0", &other);
  const struct tavi_addr to = address("127.0.0.1", other);
  last_len = 99;
  CHECK_INT(tavi_udp_send_to(bound, &to, NULL, 0), 0);
  RUN_UNTIL(client.count[READ] == 1);
  CHECK_INT(last_len, 0);
  CHECK_INT(tavi_udp_send_to(bound, &to, bytes, TAVI_UDP_BYTES_MAX), 0);
  RUN_UNTIL(client.count[READ] == 2);
  CHECK(last_len == TAVI_UDP_BYTES_MAX && memcmp(last, bytes, last_len) == 0);
  CHECK_INT(tavi_udp_send_to(bound, &to, bytes, TAVI_UDP_BYTES_MAX + 1), TAVI_E_TOO_BIG);
  close_down();
}

TEST(udp_send_to__what_cannot_be__is_refused) {
  const struct tavi_addr good = address("127.0.0.1", 9), no_port = address("127.0.0.1", 0), name = address("localhost", 9),
                         none = address("", 9), six = address("::1", 9), many = address("255.255.255.255", 9);
  struct tavi_addr path = address("/x", 9);
  path.is_unix = true;
  begin();
  struct peer *p = connect_to(url_of("udp", port), NULL, &client);
  struct peer *stream = connect_to(url_of("tcp", dead_port()), NULL, &client);
  CHECK_INT(tavi_udp_send_to(bound, NULL, "x", 1), TAVI_E_ARG);
  CHECK_INT(tavi_udp_send_to(p->c, &good, "x", 1), TAVI_E_ARG); /* it has its peer */
  CHECK_INT(tavi_udp_send_to(stream->c, &good, "x", 1), TAVI_E_ARG);
  CHECK_INT(tavi_udp_send_to(bound, &no_port, "x", 1), TAVI_E_ADDRESS);
  CHECK_INT(tavi_udp_send_to(bound, &name, "x", 1), TAVI_E_ADDRESS);
  CHECK_INT(tavi_udp_send_to(bound, &none, "x", 1), TAVI_E_ADDRESS);
  CHECK_INT(tavi_udp_send_to(bound, &path, "x", 1), TAVI_E_ADDRESS);
  CHECK_INT(tavi_udp_send_to(bound, &six, "x", 1), TAVI_E_ADDRESS);
  CHECK_INT(tavi_udp_send_to(bound, &many, "x", 1), TAVI_E_ACCESS);
  CHECK_INT(tavi_udp_set_broadcast(bound, true), 0);
  CHECK(tavi_udp_send_to(bound, &many, "x", 1) != TAVI_E_ACCESS); /* allowed; there need not be a way */
  CHECK_INT(tavi_udp_set_broadcast(bound, false), 0);
  CHECK_INT(tavi_udp_send_to(bound, &many, "x", 1), TAVI_E_ACCESS);
  CHECK_INT(tavi_udp_set_broadcast(stream->c, true), TAVI_E_ARG);
  CHECK_INT(server.count[ERROR], 0);
  tavi_conn_close(bound);
  CHECK_INT(tavi_udp_send_to(bound, &good, "x", 1), TAVI_E_CLOSED);
  CHECK_INT(tavi_udp_set_broadcast(bound, true), TAVI_E_CLOSED);
  close_down();
}

TEST(udp_send_to__broadcast_on_loopback__arrives) {
  uint16_t other;
  begin_on("udp://:0");
  server.hook = NULL;
  client.hook = keep;
  struct tavi_conn *c = bind_second("udp://:0", &other);
  const struct tavi_addr to = address("127.255.255.255", other);
  CHECK_INT(tavi_udp_send_to(bound, &to, "all", 3), TAVI_E_ACCESS);
  CHECK_INT(tavi_udp_set_broadcast(bound, true), 0);
  CHECK_INT(tavi_udp_send_to(bound, &to, "all", 3), 0);
  RUN_UNTIL(client.count[READ] == 1);
  CHECK_STR(tavi_conn_peek(c), "all");
  close_down();
}

TEST(udp_send_to__dual_stack__reaches_both_families) {
  uint16_t six, four;
  int probe = socket(AF_INET6, SOCK_DGRAM, 0);
  struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
  bool has_ipv6 = probe >= 0 && bind(probe, (struct sockaddr *)(void *)&a, sizeof a) == 0;
  if (probe >= 0) close(probe);
  if (!has_ipv6) return;
  begin_on("udp://[::]:0");
  server.hook = NULL;
  client.hook = keep;
  bind_second("udp://[::1]:0", &six);
  bind_second("udp://127.0.0.1:0", &four);
  const struct tavi_addr to_six = address("::1", six), to_four = address("127.0.0.1", four);
  CHECK_INT(tavi_udp_send_to(bound, &to_six, "six", 3), 0);
  CHECK_INT(tavi_udp_send_to(bound, &to_four, "four", 4), 0);
  RUN_UNTIL(client.peers[0]->count[READ] == 1 && client.peers[1]->count[READ] == 1);
  close_down();
}

/* ==== link-local peers ==== */

/* A link-local address of this host and its interface; false when there is none. */
static bool find_link_local(char *text, size_t cap) {
  struct ifaddrs *all = NULL;
  bool is_found = false;
  if (getifaddrs(&all) != 0) return false;
  for (const struct ifaddrs *i = all; i != NULL && !is_found; i = i->ifa_next) {
    struct sockaddr_in6 a;
    char host[INET6_ADDRSTRLEN];
    if (i->ifa_addr == NULL || i->ifa_addr->sa_family != AF_INET6) continue;
    memcpy(&a, i->ifa_addr, sizeof a);
    if (!IN6_IS_ADDR_LINKLOCAL(&a.sin6_addr) || !(i->ifa_flags & IFF_UP)) continue;
    inet_ntop(AF_INET6, &a.sin6_addr, host, sizeof host);
    snprintf(text, cap, "%s%%%s", host, i->ifa_name);
    is_found = true;
  }
  freeifaddrs(all);
  return is_found;
}

TEST(udp__link_local_peer__is_shown_with_its_zone_and_answered) {
  char mine[80], url[120];
  if (!find_link_local(mine, sizeof mine)) return; /* a host without IPv6 */
  begin_on("udp://[::]:0");
  client.hook = keep;
  snprintf(url, sizeof url, "udp://[%s]:%u", mine, port);
  struct peer *p = connect_to(url, NULL, &client);
  CHECK_INT(tavi_conn_send(p->c, "link", 4), 0);
  RUN_UNTIL(p->count[READ] == 1); /* the echo: without the zone there is no way to it */
  CHECK_BYTES(last_from.host, strlen(last_from.host), mine, strlen(mine));
  CHECK_INT(tavi_udp_send_to(bound, &last_from, "again", 5), 0); /* as text, too */
  RUN_UNTIL(p->count[READ] == 2);
  CHECK_BYTES(last, last_len, "again", 5);
  close_down();
}

/* ==== groups ==== */

/* Groups are joined on the loopback interface, so that nothing leaves this host. */
static void bind_member(const char *url) {
  struct tavi_listen_opts opts;
  tavi_listen_opts_init(&opts);
  opts.reuse_port = true;
  CHECK_INT(tavi_udp_listen(manager, url, &opts, &e2e_handlers, &client, NULL), 0);
}

static void send_to_group_on(const char *interface, const char *group) {
  const struct tavi_addr to = address(group, port);
  CHECK_INT(tavi_udp_set_multicast(bound, interface, 0, true), 0);
  CHECK_INT(tavi_udp_send_to(bound, &to, "group", 5), 0);
}

static void send_to_group(const char *group) { send_to_group_on("lo", group); }

TEST(udp_join__members__get_what_is_sent_to_their_groups_and_no_more) {
  struct tavi_listen_opts opts;
  set_up();
  tavi_listen_opts_init(&opts);
  opts.reuse_port = true;
  CHECK_INT(tavi_udp_listen(manager, "udp://:0", &opts, &e2e_handlers, &server, &bound), 0);
  struct tavi_addr a;
  CHECK_INT(tavi_conn_local_addr(bound, &a), 0);
  port = a.port;
  char url[40];
  snprintf(url, sizeof url, "udp://:%u", port);
  for (int i = 0; i < 3; i++) bind_member(url); /* the same port: two members, and one of another group */
  struct tavi_conn *one = client.peers[0]->c, *two = client.peers[1]->c, *three = client.peers[2]->c;
  CHECK_INT(tavi_udp_join(one, "239.255.7.7", "lo"), 0);
  CHECK_INT(tavi_udp_join(two, "239.255.7.7", "1"), 0);
  CHECK_INT(tavi_udp_join(three, "239.255.7.8", "lo"), 0);
  CHECK_INT(tavi_udp_join(one, "239.255.7.7", "lo"), TAVI_E_IN_USE);
  send_to_group("239.255.7.7");
  RUN_UNTIL(client.peers[0]->count[READ] == 1 && client.peers[1]->count[READ] == 1);
  send_to_group("239.255.7.8");
  RUN_UNTIL(client.peers[2]->count[READ] == 1);
  settle();
  CHECK(client.count[READ] == 3 && server.count[READ] == 0); /* also not those who share the port */

  CHECK_INT(tavi_udp_leave(one, "239.255.7.7", "lo"), 0);
  CHECK_INT(tavi_udp_leave(one, "239.255.7.7", "lo"), TAVI_E_ADDRESS);
  send_to_group("239.255.7.7");
  RUN_UNTIL(client.peers[1]->count[READ] == 2);
  settle();
  CHECK_INT(client.peers[0]->count[READ], 1);
  close_down();
}

TEST(udp_join__answer__goes_to_the_sender_alone) {
  begin_on("udp://:0");
  CHECK_INT(tavi_udp_join(bound, "239.255.7.9", "lo"), 0);
  uint16_t unused;
  client.hook = keep;
  struct tavi_conn *asker = bind_second("udp://:0", &unused);
  const struct tavi_addr group = address("239.255.7.9", port);
  CHECK_INT(tavi_udp_set_multicast(asker, "lo", 1, true), 0);
  CHECK_INT(tavi_udp_send_to(asker, &group, "who?", 4), 0);
  RUN_UNTIL(client.count[READ] == 1);
  CHECK_BYTES(last, last_len, "who?", 4);
  close_down();
}

/* (The loopback interface itself loops whatever is asked for. With 0 hops nothing leaves this host here either.) */
TEST(udp_set_multicast__no_loop__hides_it_from_this_host) {
  char mine[80];
  if (!find_link_local(mine, sizeof mine)) return;
  const char *interface = strchr(mine, '%') + 1;
  begin_on("udp://[::]:0");
  server.hook = NULL;
  CHECK_INT(tavi_udp_join(bound, "ff02::7:8", interface), 0);
  send_to_group_on(interface, "ff02::7:8");
  RUN_UNTIL(server.count[READ] == 1);
  const struct tavi_addr group = address("ff02::7:8", port);
  CHECK_INT(tavi_udp_set_multicast(bound, interface, 0, false), 0);
  CHECK_INT(tavi_udp_send_to(bound, &group, "unheard", 7), 0);
  settle();
  CHECK_INT(server.count[READ], 1);
  close_down();
}

TEST(udp_join__ipv6_socket__is_in_groups_of_both_families) {
  char mine[80];
  if (!find_link_local(mine, sizeof mine)) return;
  const char *interface = strchr(mine, '%') + 1;
  char zoned[60];
  snprintf(zoned, sizeof zoned, "ff01::7:7%%%s", interface);
  begin_on("udp://[::]:0");
  server.hook = NULL;
  CHECK_INT(tavi_udp_join(bound, zoned, NULL), 0); /* the zone says where */
  CHECK_INT(tavi_udp_join(bound, "239.255.7.10", "lo"), 0);
  CHECK_INT(tavi_udp_join(bound, "::ffff:239.255.7.11", "lo"), 0);
  send_to_group_on(NULL, zoned);
  RUN_UNTIL(server.count[READ] == 1);
  send_to_group("239.255.7.10");
  RUN_UNTIL(server.count[READ] == 2);
  send_to_group("239.255.7.11");
  RUN_UNTIL(server.count[READ] == 3);
  CHECK_INT(tavi_udp_leave(bound, "ff01::7:7", interface), 0);
  CHECK_INT(tavi_udp_leave(bound, "239.255.7.10", "lo"), 0);
  send_to_group_on(NULL, zoned);
  send_to_group("239.255.7.10");
  settle();
  CHECK_INT(server.count[READ], 3);
  close_down();
}

TEST(udp_join__what_cannot_be__is_refused) {
  begin();
  struct peer *stream = connect_to(url_of("tcp", dead_port()), NULL, &client);
  CHECK_INT(tavi_udp_join(stream->c, "239.1.1.1", NULL), TAVI_E_ARG);
  CHECK_INT(tavi_udp_join(bound, NULL, NULL), TAVI_E_ADDRESS);
  CHECK_INT(tavi_udp_join(bound, "", NULL), TAVI_E_ADDRESS);
  CHECK_INT(tavi_udp_join(bound, "127.0.0.1", "lo"), TAVI_E_ADDRESS);
  CHECK_INT(tavi_udp_join(bound, "239.1.1", "lo"), TAVI_E_ADDRESS);
  CHECK_INT(tavi_udp_join(bound, "ff02::1", "lo"), TAVI_E_ADDRESS); /* the socket's family is IPv4 */
  CHECK_INT(tavi_udp_join(bound, "239.1.1.1", "nobody0"), TAVI_E_NOT_FOUND);
  CHECK_INT(tavi_udp_join(bound, "239.1.1.1", "4000000000"), TAVI_E_NOT_FOUND);
  CHECK_INT(tavi_udp_join(bound, "239.1.1.1", ""), TAVI_E_NOT_FOUND);
  CHECK_INT(tavi_udp_leave(bound, "239.1.1.1", "lo"), TAVI_E_ADDRESS);
  CHECK_INT(tavi_udp_set_multicast(bound, "nobody0", 1, true), TAVI_E_NOT_FOUND);
  CHECK_INT(tavi_udp_set_multicast(bound, NULL, 256, true), TAVI_E_ARG);
  CHECK_INT(tavi_udp_set_multicast(bound, NULL, 255, false), 0);
  CHECK_INT(tavi_udp_set_multicast(stream->c, NULL, 1, true), TAVI_E_ARG);
  int err = 0;
  for (int i = 0; i < 10000 && err == 0; i++) { /* the system has a limit, and says so */
    char group[40];
    snprintf(group, sizeof group, "239.255.%d.%d", i / 250, 1 + i % 250);
    err = tavi_udp_join(bound, group, "lo");
  }
  CHECK(err == TAVI_E_LIMIT || err == 0);
  tavi_conn_close(bound);
  CHECK_INT(tavi_udp_join(bound, "239.1.1.1", "lo"), TAVI_E_CLOSED);
  close_down();
}

TEST(udp__shared_port__needs_both_to_agree) {
  struct tavi_listen_opts opts;
  char url[64];
  tavi_listen_opts_init(&opts);
  opts.reuse_port = true;
  begin();
  snprintf(url, sizeof url, "udp://127.0.0.1:%u", port);
  CHECK_INT(tavi_udp_listen(manager, url, &opts, &e2e_handlers, &server, NULL), TAVI_E_IN_USE);
  uint16_t shared;
  struct tavi_conn *first = NULL;
  struct tavi_addr a;
  CHECK_INT(tavi_udp_listen(manager, "udp://127.0.0.1:0", &opts, &e2e_handlers, &client, &first), 0);
  CHECK_INT(tavi_conn_local_addr(first, &a), 0);
  shared = a.port;
  CHECK_INT(tavi_udp_listen(manager, url_of("udp", shared), &opts, &e2e_handlers, &client, NULL), 0);
  close_down();
}
