/* SPDX-License-Identifier: MIT
 *
 * Listeners: every kind of URL, what is refused and with which error, and what is left behind (nothing). */
#include "e2e.h"

#include <sys/wait.h>

static struct side server, client;

static void echo(struct peer *p, enum event event) {
  if (event != READ) return;
  struct tavi_slice in = tavi_conn_peek(p->c);
  tavi_conn_send(p->c, in.ptr, in.len);
  tavi_conn_consume(p->c, in.len);
}

static void begin(void) {
  set_up();
  server.hook = echo;
}

static void close_down(void) {
  tear_down();
  side_free(&server);
  side_free(&client);
}

static int listen_on(const char *url, struct tavi_listener **ret_listener) {
  return tavi_listen(manager, url, NULL, &e2e_handlers, &server, ret_listener);
}

/* Our client talks to what listens there. Returns the server's connection. */
static struct peer *talk_to(const char *url) {
  unsigned before = server.count[ACCEPT];
  struct peer *p = connect_to(url, NULL, &client);
  CHECK_INT(tavi_conn_send(p->c, "hello", 5), 0);
  RUN_UNTIL(p->count[READ] == 1 || p->count[CLOSE] == 1);
  if (!CHECK_INT(p->count[READ], 1)) return NULL;
  CHECK_STR(tavi_conn_peek(p->c), "hello");
  CHECK_INT(server.count[ACCEPT], before + 1);
  return server.peers[server.peer_count - 1];
}

static bool has_ipv6(void) {
  int fd = socket(AF_INET6, SOCK_STREAM, 0);
  struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
  bool ok = fd >= 0 && bind(fd, (struct sockaddr *)(void *)&a, sizeof a) == 0;
  if (fd >= 0) close(fd);
  return ok;
}

/* ==== TCP ==== */

TEST(listen__port_0__is_chosen_and_can_be_asked_for) {
  struct tavi_listener *a = NULL, *b = NULL;
  struct tavi_addr addr;
  begin();
  CHECK_INT(listen_on("tcp://127.0.0.1:0", &a), 0);
  CHECK_INT(listen_on("127.0.0.1", &b), 0);
  CHECK(port_of(a) != 0 && port_of(b) != 0 && port_of(a) != port_of(b));
  CHECK_INT(tavi_listener_local_addr(a, &addr), 0);
  CHECK(strcmp(addr.host, "127.0.0.1") == 0 && !addr.is_ipv6 && !addr.is_unix);
  talk_to(url_of("tcp", port_of(a)));
  talk_to(url_of("http", port_of(b)));
  close_down();
}

TEST(listen__empty_host_and_localhost__mean_ipv4) {
  struct tavi_listener *l = NULL;
  struct tavi_addr addr;
  begin();
  CHECK_INT(listen_on("tcp://:0", &l), 0);
  CHECK_INT(tavi_listener_local_addr(l, &addr), 0);
  CHECK(strcmp(addr.host, "0.0.0.0") == 0);
  talk_to(url_of("tcp", port_of(l)));
  CHECK_INT(listen_on("tcp://localhost:0", &l), 0);
  CHECK_INT(tavi_listener_local_addr(l, &addr), 0);
  CHECK(strcmp(addr.host, "127.0.0.1") == 0);
  talk_to(url_of("tcp", port_of(l)));
  close_down();
}

TEST(listen__both_families__shows_ipv4_peers_as_ipv4) {
  struct tavi_listener *l = NULL;
  struct tavi_addr addr;
  char url[64];
  if (!has_ipv6()) return;
  begin();
  CHECK_INT(listen_on("tcp://[::]:0", &l), 0);
  CHECK_INT(tavi_listener_local_addr(l, &addr), 0);
  CHECK(strcmp(addr.host, "::") == 0 && addr.is_ipv6);
  struct peer *four = talk_to(url_of("tcp", port_of(l)));
  CHECK_INT(tavi_conn_remote_addr(four->c, &addr), 0);
  CHECK(strcmp(addr.host, "127.0.0.1") == 0 && !addr.is_ipv6 && addr.port != 0);
  CHECK_INT(tavi_conn_local_addr(four->c, &addr), 0);
  CHECK(strcmp(addr.host, "127.0.0.1") == 0 && !addr.is_ipv6 && addr.port == port_of(l));
  snprintf(url, sizeof url, "tcp://[::1]:%u", port_of(l));
  struct peer *six = talk_to(url);
  CHECK_INT(tavi_conn_remote_addr(six->c, &addr), 0);
  CHECK(strcmp(addr.host, "::1") == 0 && addr.is_ipv6);
  close_down();
}

TEST(listen__ipv6_loopback__takes_ipv6_only) {
  struct tavi_listener *l = NULL;
  char url[64];
  if (!has_ipv6()) return;
  begin();
  CHECK_INT(listen_on("tcp://[::1]:0", &l), 0);
  snprintf(url, sizeof url, "tcp://[::1]:%u", port_of(l));
  talk_to(url);
  struct peer *p = connect_to(url_of("tcp", port_of(l)), NULL, &client);
  RUN_UNTIL(p->count[CLOSE] == 1);
  CHECK_INT(p->err, TAVI_E_REFUSED);
  close_down();
}

TEST(listen__bad_addresses__are_refused) {
  static const char *const bad[] = {"tcp://256.0.0.1:80", "tcp://example.com:80", "tcp://127.0.0.1:99999", "gopher://127.0.0.1:70",
                                    "udp://127.0.0.1:0", "tcp://[::1", "tcp://192.0.2.1:0", "fd://", "fd://xyz", "unix:",
                                    "tcp://127.0.0.1:80:80"};
  struct tavi_listener *l = (struct tavi_listener *)(void *)&server;
  struct tavi_listen_opts opts;
  begin();
  unsigned before = open_descriptors();
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    test_note("%s", bad[i]);
    CHECK_INT(listen_on(bad[i], &l), TAVI_E_ADDRESS);
    CHECK((void *)l == (void *)&server);
  }
  test_note("arguments");
  CHECK_INT(tavi_listen(manager, NULL, NULL, &e2e_handlers, &server, &l), TAVI_E_ARG);
  CHECK_INT(tavi_listen(manager, "tcp://127.0.0.1:0", NULL, NULL, &server, &l), TAVI_E_ARG);
  tavi_listen_opts_init(&opts);
  opts.backlog = 0;
  CHECK_INT(tavi_listen(manager, "tcp://127.0.0.1:0", &opts, &e2e_handlers, &server, &l), TAVI_E_ARG);
  CHECK_INT(open_descriptors(), before);
  CHECK_INT(tavi_manager_ids(manager, NULL, 0), 0);
  close_down();
}

TEST(listen__taken_port__is_in_use) {
  struct tavi_listener *l = NULL, *other = NULL;
  begin();
  CHECK_INT(listen_on("tcp://127.0.0.1:0", &l), 0);
  CHECK_INT(listen_on(url_of("tcp", port_of(l)), &other), TAVI_E_IN_USE);
  uint16_t port;
  int fd = raw_listen(1, &port);
  CHECK_INT(listen_on(url_of("tcp", port), &other), TAVI_E_IN_USE);
  CHECK(other == NULL);
  close(fd);
  CHECK_INT(listen_on(url_of("tcp", port), &other), 0);
  close_down();
}

TEST(listen__port_just_left__can_be_taken_again) {
  struct tavi_listener *l = NULL;
  begin();
  CHECK_INT(listen_on("tcp://127.0.0.1:0", &l), 0);
  uint16_t port = port_of(l);
  struct peer *s = talk_to(url_of("tcp", port));
  tavi_conn_close(s->c); /* our end closes first and stays in TIME_WAIT */
  RUN_UNTIL(server.count[CLOSE] == 1 && client.count[CLOSE] == 1);
  tavi_listener_close(l);
  tavi_manager_poll(manager, 0);
  CHECK_INT(listen_on(url_of("tcp", port), &l), 0);
  talk_to(url_of("tcp", port));
  close_down();
}

TEST(listen__reuse_port__is_shared_by_two_managers) {
  struct tavi_listen_opts opts;
  struct tavi_manager *both[2];
  struct tavi_listener *l = NULL;
  static struct side sides[2];
  int fds[64];
  begin();
  tavi_listen_opts_init(&opts);
  opts.reuse_port = true;
  both[0] = manager;
  CHECK_INT(tavi_manager_new(&manager_opts, &both[1]), 0);
  CHECK_INT(tavi_listen(both[0], "tcp://127.0.0.1:0", &opts, &e2e_handlers, &sides[0], &l), 0);
  uint16_t port = port_of(l);
  CHECK_INT(tavi_listen(both[1], url_of("tcp", port), &opts, &e2e_handlers, &sides[1], &l), 0);
  CHECK_INT(listen_on(url_of("tcp", port), &l), TAVI_E_IN_USE); /* only those who all asked for it */
  for (int i = 0; i < 64; i++) fds[i] = raw_connect(port);
  uint64_t end_ms = tavi_millis() + DEADLINE_MS;
  while (sides[0].count[ACCEPT] + sides[1].count[ACCEPT] < 64 && tavi_millis() < end_ms)
    for (int i = 0; i < 2; i++) tavi_manager_poll(both[i], 1);
  CHECK_INT(sides[0].count[ACCEPT] + sides[1].count[ACCEPT], 64);
  CHECK(sides[0].count[ACCEPT] > 0 && sides[1].count[ACCEPT] > 0);
  for (int i = 0; i < 64; i++) close(fds[i]);
  tavi_manager_free(both[1]);
  close_down();
  side_free(&sides[0]);
  side_free(&sides[1]);
}

TEST(listen__defer_accept__accepts_when_bytes_are_there) {
  struct tavi_listen_opts opts;
  struct tavi_listener *l = NULL;
  begin();
  tavi_listen_opts_init(&opts);
  opts.defer_accept = true;
  CHECK_INT(tavi_listen(manager, "tcp://127.0.0.1:0", &opts, &e2e_handlers, &server, &l), 0);
  int fd = raw_connect(port_of(l));
  settle();
  CHECK_INT(server.count[ACCEPT], 0);
  raw_send(fd, "x", 1);
  RUN_UNTIL(server.count[READ] == 1);
  close(fd);
  close_down();
}

TEST(listen__closed__stops_accepting_and_keeps_connections) {
  struct tavi_listener *l = NULL;
  begin();
  CHECK_INT(listen_on("tcp://127.0.0.1:0", &l), 0);
  uint16_t port = port_of(l);
  uint64_t id = tavi_listener_id(l);
  struct peer *s = talk_to(url_of("tcp", port));
  tavi_listener_close(l);
  tavi_listener_close(l);
  CHECK(tavi_manager_listener(manager, id) == NULL);
  tavi_manager_poll(manager, 0);
  struct peer *refused = connect_to(url_of("tcp", port), NULL, &client);
  RUN_UNTIL(refused->count[CLOSE] == 1);
  CHECK_INT(refused->err, TAVI_E_REFUSED);
  struct peer *c = client.peers[0];
  CHECK_INT(tavi_conn_send(c->c, "still", 5), 0);
  RUN_UNTIL(c->count[READ] == 2);
  CHECK_INT(tavi_conn_listener_id(s->c), id);
  close_down();
}

static struct tavi_listener *to_close;

static void close_listener(struct peer *p, enum event event) {
  (void)p;
  if (event == ACCEPT) tavi_listener_close(to_close);
}

TEST(listen__closed_in_on_accept__accepts_no_more) {
  int fds[5];
  begin();
  server.hook = close_listener;
  CHECK_INT(listen_on("tcp://127.0.0.1:0", &to_close), 0);
  uint16_t port = port_of(to_close);
  for (int i = 0; i < 5; i++) fds[i] = raw_connect(port);
  settle();
  CHECK_INT(server.count[ACCEPT], 1);
  CHECK_INT(tavi_manager_ids(manager, NULL, 0), 1);
  for (int i = 0; i < 5; i++) close(fds[i]);
  close_down();
}

/* ==== Unix sockets ==== */

static char folder[64], path[100], unix_url[128];

static void begin_unix(void) {
  begin();
  snprintf(folder, sizeof folder, "/tmp/tavi-listen-XXXXXX");
  CHECK(mkdtemp(folder) != NULL);
  snprintf(path, sizeof path, "%s/x.sock", folder);
  snprintf(unix_url, sizeof unix_url, "unix:%s", path);
}

static void close_down_unix(void) {
  close_down();
  CHECK_INT(rmdir(folder), 0); /* which fails when something was left behind */
}

TEST(listen__unix_path__works_and_is_removed_at_the_end) {
  struct tavi_listener *l = NULL;
  struct tavi_addr addr;
  begin_unix();
  CHECK_INT(listen_on(unix_url, &l), 0);
  CHECK_INT(access(path, F_OK), 0);
  struct peer *s = talk_to(unix_url);
  CHECK_INT(tavi_listener_local_addr(l, &addr), 0);
  CHECK(addr.is_unix && strcmp(addr.host, path) == 0 && addr.port == 0);
  CHECK_INT(tavi_conn_local_addr(s->c, &addr), 0);
  CHECK(addr.is_unix && strcmp(addr.host, path) == 0);
  CHECK_INT(tavi_conn_remote_addr(s->c, &addr), 0);
  CHECK(addr.is_unix && addr.host[0] == 0); /* an unnamed client */
  CHECK(tavi_conn_flags(s->c) & TAVI_CONN_UNIX);
  tavi_listener_close(l);
  tavi_manager_poll(manager, 0);
  CHECK_INT(access(path, F_OK), -1);
  close_down_unix();
}

TEST(listen__live_unix_path__is_in_use_and_stays) {
  struct tavi_listener *l = NULL;
  begin_unix();
  CHECK_INT(listen_on(unix_url, NULL), 0);
  CHECK_INT(listen_on(unix_url, &l), TAVI_E_IN_USE);
  CHECK_INT(access(path, F_OK), 0);
  settle(); /* the look at whether somebody is there was a connection that closed at once */
  talk_to(unix_url);
  close_down_unix();
}

TEST(listen__stale_unix_path__is_replaced) {
  begin_unix();
  struct sockaddr_un a = {.sun_family = AF_UNIX};
  snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  CHECK_INT(bind(fd, (struct sockaddr *)(void *)&a, sizeof a), 0);
  close(fd); /* as a process that died leaves it */
  CHECK_INT(listen_on(unix_url, NULL), 0);
  talk_to(unix_url);
  close_down_unix();
}

TEST(listen__unix_path_that_is_an_ordinary_file__is_in_use_and_stays) {
  begin_unix();
  close(open(path, O_CREAT | O_WRONLY, 0600));
  CHECK_INT(listen_on(unix_url, NULL), TAVI_E_IN_USE);
  CHECK_INT(unlink(path), 0);
  CHECK_INT(listen_on("unix:/nonexistent-folder/x.sock", NULL), TAVI_E_NOT_FOUND);
  close_down_unix();
}

TEST(listen__abstract_name__leaves_no_file) {
  struct tavi_listener *l = NULL;
  struct tavi_addr addr;
  char url[64];
  begin();
  snprintf(url, sizeof url, "unix:@tavi-test-%d", (int)getpid());
  CHECK_INT(listen_on(url, &l), 0);
  CHECK_INT(tavi_listener_local_addr(l, &addr), 0);
  CHECK(addr.is_unix && strcmp(addr.host, url + 5) == 0);
  talk_to(url);
  CHECK_INT(access(url + 5, F_OK), -1);
  CHECK_INT(listen_on(url, &l), TAVI_E_IN_USE);
  close_down();
}

TEST(listen__unix_backlog_full__is_refused_with_an_error_of_ours) {
  struct sockaddr_un a = {.sun_family = AF_UNIX};
  char url[128];
  begin();
  snprintf(a.sun_path + 1, sizeof a.sun_path - 1, "tavi-full-%d", (int)getpid());
  snprintf(url, sizeof url, "unix:@%s", a.sun_path + 1);
  socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(a.sun_path + 1));
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  CHECK_INT(bind(fd, (struct sockaddr *)(void *)&a, len), 0);
  CHECK_INT(listen(fd, 0), 0);
  for (int i = 0; i < 5; i++) connect_to(url, NULL, &client);
  RUN_UNTIL(client.count[ERROR] >= 1);
  for (unsigned i = 0; i < 5; i++) {
    CHECK(client.peers[i]->err == 0 || client.peers[i]->err == TAVI_E_REFUSED);
    CHECK(strstr(client.peers[i]->text, "unknown") == NULL);
  }
  close(fd);
  close_down();
}

/* ==== inherited sockets ==== */

TEST(listen__inherited_descriptor__is_taken_and_closed_with_its_listener) {
  struct tavi_listener *l = NULL;
  uint16_t port;
  char url[32];
  begin();
  int fd = raw_listen(10, &port);
  fcntl(fd, F_SETFL, 0);
  fcntl(fd, F_SETFD, 0);
  snprintf(url, sizeof url, "fd://%d", fd);
  CHECK_INT(listen_on(url, &l), 0);
  CHECK(fcntl(fd, F_GETFL) & O_NONBLOCK);
  CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
  CHECK_INT(port_of(l), port);
  talk_to(url_of("tcp", port));
  tavi_listener_close(l);
  tavi_manager_poll(manager, 0);
  CHECK_INT(fcntl(fd, F_GETFD), -1);
  close_down();
}

TEST(listen__inherited_descriptor_of_the_wrong_kind__is_refused) {
  char url[32];
  int pair[2];
  begin();
  CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  int file = open("/dev/null", O_RDONLY), udp = socket(AF_INET, SOCK_DGRAM, 0), unused = dup(file);
  close(unused);
  const int fds[] = {pair[0], file, udp, unused};
  for (int i = 0; i < 4; i++) {
    snprintf(url, sizeof url, "fd://%d", fds[i]);
    test_note("kind %d", i);
    CHECK_INT(listen_on(url, NULL), TAVI_E_ADDRESS);
  }
  snprintf(url, sizeof url, "fd://%d", pair[0]);
  CHECK_INT(tavi_udp_listen(manager, url, NULL, &e2e_handlers, &server, NULL), TAVI_E_ADDRESS);
  close(pair[0]), close(pair[1]), close(file), close(udp);
  close_down();
}

/* systemd hands over descriptors from 3 on, so each case runs in a child that arranges its own. */
static int in_child(int (*run)(void)) {
  pid_t pid = fork();
  int status = -1;
  if (pid == 0) {
    char text[32];
    snprintf(text, sizeof text, "%d", (int)getpid());
    setenv("LISTEN_PID", text, 1);
    _exit(run());
  }
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 100 + status;
}

/* Two listening sockets, as 3 and 4. */
static void hand_over(uint16_t ports[2]) {
  for (int i = 0; i < 2; i++) {
    int fd = raw_listen(10, &ports[i]);
    fcntl(fd, F_DUPFD, 50);
    if (fd != 3 + i) dup2(fd, 3 + i);
  }
}

static int listen_and_compare(const char *url, uint16_t port) {
  struct tavi_listener *l = NULL;
  set_up();
  int err = listen_on(url, &l);
  if (err < 0) return -err;
  return port_of(l) == port ? 0 : 99;
}

static int by_number(void) {
  uint16_t ports[2];
  hand_over(ports);
  setenv("LISTEN_FDS", "2", 1);
  return listen_and_compare("fd://systemd", ports[0]);
}

static int by_name(void) {
  uint16_t ports[2];
  hand_over(ports);
  setenv("LISTEN_FDS", "2", 1);
  setenv("LISTEN_FDNAMES", "admin:web", 1);
  return listen_and_compare("fd://systemd:web", ports[1]);
}

static int by_wrong_name(void) {
  uint16_t ports[2];
  hand_over(ports);
  setenv("LISTEN_FDS", "2", 1);
  setenv("LISTEN_FDNAMES", "admin:web:more", 1);
  return listen_and_compare("fd://systemd:more", 0); /* the third of two */
}

static int for_another_process(void) {
  uint16_t ports[2];
  hand_over(ports);
  setenv("LISTEN_FDS", "2", 1);
  setenv("LISTEN_PID", "1", 1);
  return listen_and_compare("fd://systemd", ports[0]);
}

static int without_any(void) {
  setenv("LISTEN_FDS", "0", 1);
  return listen_and_compare("fd://systemd", 0);
}

TEST(listen__systemd__hands_over_by_number_and_by_name) {
  CHECK_INT(in_child(by_number), 0);
  CHECK_INT(in_child(by_name), 0);
  CHECK_INT(in_child(by_wrong_name), -TAVI_E_NOT_FOUND);
  CHECK_INT(in_child(for_another_process), -TAVI_E_NOT_FOUND);
  CHECK_INT(in_child(without_any), -TAVI_E_NOT_FOUND);
  begin();
  unsetenv("LISTEN_PID");
  CHECK_INT(listen_on("fd://systemd", NULL), TAVI_E_NOT_FOUND);
  close_down();
}
