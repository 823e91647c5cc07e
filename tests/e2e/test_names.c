/* SPDX-License-Identifier: MIT
 *
 * Names: looking them up, the cache, what name servers do wrong, and connecting to names with several addresses. */
#include <sys/wait.h>

#include "e2e/dns_rig.h"

static struct side side;

static void begin_with(uint32_t timeout_ms) {
  ns_open();
  opts_init();
  manager_opts.dns_servers = ns.address;
  manager_opts.dns_timeout_ms = timeout_ms;
  set_up_with_opts();
  memset(ns.address, 'x', 9); /* it was copied */
}

static void begin(void) { begin_with(5000); }

static void end(void) {
  tear_down();
  side_free(&side);
  ns_close();
}

/* ==== lookups ==== */

struct found {
  int calls, err;
  size_t count;
  struct tavi_addr addrs[8];
  char text[400];
  struct tavi_lookup *lookup;
};

static void on_found(const struct tavi_addr *addrs, size_t count, int err, const char *text, void *user) {
  struct found *f = user;
  f->calls++;
  f->err = err;
  f->count = count;
  if (CHECK(count <= 8) && count > 0) memcpy(f->addrs, addrs, count * sizeof *addrs);
  snprintf(f->text, sizeof f->text, "%s", text);
  CHECK((err == 0) == (count > 0));
  f->lookup = NULL;
}

static void look_up(const char *url, struct found *f) {
  struct tavi_lookup *lookup = NULL;
  *f = (struct found){0};
  CHECK_INT(tavi_resolve(manager, url, on_found, f, &lookup), 0);
  if (f->calls == 0) f->lookup = lookup;
  CHECK((f->calls == 0) == (lookup != NULL));
}

static void look_up_now(const char *url, struct found *f) {
  look_up(url, f);
  NS_UNTIL(f->calls > 0);
  CHECK_INT(f->calls, 1);
}

static bool has(const char *text, const char *part) {
  if (strstr(text, part) != NULL) return true;
  printf("\"%s\" is not in \"%s\"\n", part, text);
  return false;
}

TEST(lookup__both_families_ipv6_first_in_turns) {
  struct found f;
  begin();
  struct ns_rule *r = ns_rule((struct ns_rule){.name = "a.test", .a = "10.0.0.1,10.0.0.2,10.0.0.3", .aaaa = "fd00::1,fd00::2", .ttl = 60});
  look_up_now("tcp://a.test:81", &f);
  CHECK_INT(f.err, 0);
  CHECK_INT(f.count, 5);
  static const char *const wanted[] = {"fd00::1", "10.0.0.1", "fd00::2", "10.0.0.2", "10.0.0.3"};
  for (size_t i = 0; i < f.count; i++) {
    CHECK_BYTES(f.addrs[i].host, strlen(f.addrs[i].host), wanted[i], strlen(wanted[i]));
    CHECK_INT(f.addrs[i].port, 81);
  }
  CHECK_INT(r->asked, 2);
  end();
}

TEST(lookup__what_is_known_is_told_inside_the_call_and_not_asked) {
  struct found f;
  begin();
  struct ns_rule *r = ns_rule((struct ns_rule){.name = "a.test", .a = "10.0.0.1", .ttl = 60});
  look_up_now("a.test", &f);
  look_up("A.TEST:5", &f);
  CHECK_INT(f.calls, 1);
  CHECK_INT(f.addrs[0].port, 5);
  CHECK_INT(r->asked, 2);
  static const char *const known[] = {"127.0.0.1", "tcp://[::1]:80", "localhost", "x.LocalHost:9"};
  for (int i = 0; i < 4; i++) {
    look_up(known[i], &f);
    CHECK(f.calls == 1 && f.err == 0);
    CHECK_INT(f.count, i < 2 ? 1 : 2);
  }
  ns_serve();
  CHECK_INT(ns.asked, 2);
  end();
}

TEST(lookup__one_query_for_all_who_ask) {
  struct found f[50];
  begin();
  struct ns_rule *r = ns_rule((struct ns_rule){.name = "a.test", .a = "10.0.0.1", .aaaa = "fd00::1", .ttl = 60, .a_late_ms = 20});
  for (int i = 0; i < 50; i++) look_up(i % 2 ? "a.test" : "A.Test", &f[i]);
  tavi_resolve_cancel(f[7].lookup);
  NS_UNTIL(f[49].calls > 0);
  for (int i = 0; i < 50; i++) CHECK_INT(f[i].calls, i != 7);
  CHECK_INT(f[0].count, 2);
  CHECK_INT(r->asked, 2);
  end();
}

TEST(lookup__failures_name_the_host_and_the_reason) {
  static const struct {
    enum ns_mode mode;
    const char *words;
  } cases[] = {{NS_ANSWER, "no address"}, {NS_SERVFAIL, "SERVFAIL"}, {NS_REFUSED, "REFUSED"}, {NS_NOTIMP, "does not take"}};
  struct found f;
  begin();
  look_up_now("no-such.test", &f);
  CHECK_INT(f.err, TAVI_E_RESOLVE);
  CHECK(has(f.text, "no-such.test: no such name (NXDOMAIN)"));
  unsigned asked = ns.asked;
  look_up("no-such.test", &f); /* known for a moment */
  CHECK(f.calls == 1 && has(f.text, "NXDOMAIN"));
  CHECK(ns.asked == asked);
  for (int i = 0; i < 4; i++) {
    char name[32];
    snprintf(name, sizeof name, "f%d.test", i);
    ns_rule((struct ns_rule){.name = name, .mode = cases[i].mode});
    look_up_now(name, &f);
    CHECK_INT(f.err, TAVI_E_RESOLVE);
    CHECK(has(f.text, name) && has(f.text, cases[i].words));
    ns.rule_count = 0;
  }
  end();
}

TEST(lookup__what_cannot_be_a_name_is_not_asked) {
  struct found f;
  begin();
  char longer[80] = "x.";
  memset(longer + 2, 'a', 64);
  static const char *const bad[] = {"a..b", ".a", "a.b..", "\xc3\xa4.test", "a.INVALID", "b.a.invalid."};
  for (int i = 0; i < 7; i++) {
    look_up(i < 6 ? bad[i] : longer, &f);
    CHECK(f.calls == 1 && f.err == TAVI_E_RESOLVE);
  }
  CHECK_INT(tavi_resolve(manager, "", on_found, &f, NULL), TAVI_E_ADDRESS);
  CHECK_INT(tavi_resolve(manager, "unix:/x", on_found, &f, NULL), TAVI_E_ADDRESS);
  CHECK_INT(tavi_resolve(manager, "a b", on_found, &f, NULL), TAVI_E_ADDRESS);
  CHECK_INT(tavi_resolve(manager, NULL, on_found, &f, NULL), TAVI_E_ARG);
  CHECK_INT(tavi_resolve(manager, "a", NULL, &f, NULL), TAVI_E_ARG);
  settle();
  ns_serve();
  CHECK_INT(ns.asked, 0);
  end();
}

TEST(lookup__silence_is_a_time_out) {
  struct found f;
  begin_with(300);
  struct ns_rule *r = ns_rule((struct ns_rule){.name = "a.test", .mode = NS_SILENT});
  uint64_t start_ms = tavi_millis();
  look_up_now("a.test", &f);
  uint64_t took_ms = tavi_millis() - start_ms;
  CHECK_INT(f.err, TAVI_E_TIMEOUT);
  CHECK(has(f.text, "a.test: no name server answers"));
  CHECK(took_ms >= 250 && took_ms < 3000);
  CHECK_INT(r->asked, 4); /* both families, twice */
  end();
}

TEST(lookup__an_answer_that_comes_late_is_still_good) {
  struct found f;
  begin_with(900);
  ns_rule((struct ns_rule){.name = "a.test", .a = "10.0.0.1", .ttl = 60, .a_late_ms = 450, .aaaa_late_ms = 450});
  look_up_now("a.test", &f);
  CHECK_INT(f.err, 0);
  end();
}

TEST(lookup__a_dead_server_is_told) {
  struct found f;
  opts_init();
  char address[32];
  snprintf(address, sizeof address, "127.0.0.1:%u", dead_port());
  manager_opts.dns_servers = address;
  manager_opts.dns_timeout_ms = 1000;
  set_up_with_opts();
  look_up("a.test", &f);
  RUN_UNTIL(f.calls > 0);
  CHECK(f.err == TAVI_E_RESOLVE || f.err == TAVI_E_TIMEOUT);
  CHECK(has(f.text, "no name server"));
  tear_down();
}

TEST(lookup__another_server_is_asked_when_one_fails) {
  struct found f;
  for (int dead = 0; dead < 2; dead++) {
    ns_open();
    opts_init();
    char address[64];
    uint16_t other = dead_port();
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0); /* takes everything and says nothing */
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(other), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (dead == 0) CHECK_INT(bind(fd, (struct sockaddr *)(void *)&a, sizeof a), 0);
    snprintf(address, sizeof address, " 127.0.0.1:%u , %s", other, ns.address);
    manager_opts.dns_servers = address;
    manager_opts.dns_timeout_ms = 1200;
    set_up_with_opts();
    ns_rule((struct ns_rule){.name = "a.test", .a = "10.0.0.1", .ttl = 60});
    look_up_now("a.test", &f);
    CHECK_INT(f.err, 0);
    close(fd);
    end();
  }
}

TEST(lookup__truncated_answers_are_fetched_over_tcp) {
  struct found f;
  begin_with(600);
  struct ns_rule *r = ns_rule((struct ns_rule){.name = "a.test", .a = "10.0.0.1", .ttl = 60, .mode = NS_TRUNCATED});
  ns_rule((struct ns_rule){.name = "many.test", .mode = NS_MANY});
  ns_rule((struct ns_rule){.name = "dead.test", .mode = NS_TRUNCATED_DEAD});
  look_up_now("a.test", &f);
  CHECK(f.err == 0 && f.count == 1);
  CHECK_INT(r->asked_tcp, 2);
  look_up_now("many.test", &f); /* 2000 addresses of each family: the first are used */
  CHECK(f.err == 0 && f.count == 8);
  look_up_now("dead.test", &f);
  CHECK_INT(f.err, TAVI_E_TIMEOUT);
  end();
}

TEST(lookup__lies_are_not_believed) {
  for (int mode = NS_OTHER_ID; mode < NS_MODES; mode++) {
    struct found f;
    test_note("mode %d", mode);
    begin_with(150);
    ns_rule((struct ns_rule){.name = "a.test", .mode = (enum ns_mode)mode});
    ns_rule((struct ns_rule){.name = "b.test", .a = "10.0.0.1", .ttl = 60});
    look_up_now("a.test", &f);
    bool is_refused = f.err == TAVI_E_RESOLVE || f.err == TAVI_E_TIMEOUT;
    CHECK(is_refused);
    if (!is_refused) printf("%s is believed\n", f.addrs[0].host);
    look_up_now("b.test", &f); /* and the next one is served */
    CHECK_INT(f.err, 0);
    end();
  }
}

TEST(lookup__aliases) {
  struct found f;
  begin();
  ns_rule((struct ns_rule){.name = "a.test", .a = "10.0.0.1", .ttl = 60, .mode = NS_CNAME});
  ns_rule((struct ns_rule){.name = "loop.test", .mode = NS_CNAME_LOOP});
  look_up_now("a.test", &f);
  CHECK(f.err == 0 && f.count == 1);
  look_up_now("loop.test", &f);
  CHECK_INT(f.err, TAVI_E_RESOLVE);
  end();
}

TEST(lookup__times_are_honoured) {
  struct found f;
  begin();
  struct ns_rule *none = ns_rule((struct ns_rule){.name = "none.test", .a = "10.0.0.1"});
  struct ns_rule *negative = ns_rule((struct ns_rule){.name = "neg.test", .a = "10.0.0.1", .ttl = 0x80000001u});
  struct ns_rule *one = ns_rule((struct ns_rule){.name = "one.test", .a = "10.0.0.1", .aaaa = "fd00::1", .ttl = 1});
  for (unsigned i = 1; i <= 3; i++) {
    look_up_now("none.test", &f);
    look_up_now("neg.test", &f);
    CHECK_INT(none->asked, 2 * i);
    CHECK_INT(negative->asked, 2 * i);
  }
  look_up_now("one.test", &f);
  uint64_t known_ms = tavi_millis();
  do look_up_now("one.test", &f);
  while (one->asked == 2 && tavi_millis() < known_ms + DEADLINE_MS);
  CHECK_INT(one->asked, 4);
  CHECK(tavi_millis() - known_ms >= 900);
  end();
}

TEST(lookup__a_failure_is_forgotten_after_a_second) {
  struct found f;
  begin();
  look_up_now("a.test", &f);
  CHECK_INT(f.err, TAVI_E_RESOLVE);
  ns_rule((struct ns_rule){.name = "a.test", .a = "10.0.0.1", .ttl = 60});
  NS_UNTIL((look_up_now("a.test", &f), f.err == 0));
  end();
}

/* ==== many ==== */

enum { MANY = 3000 };

TEST(lookup__of_many_names_some_are_asked_at_a_time) {
  static struct found f[MANY];
  begin();
  ns_rule((struct ns_rule){.name = "late.test", .mode = NS_SILENT}); /* somebody waits all the time */
  static struct found late;
  look_up("late.test", &late);
  for (int i = 0; i < MANY; i++) {
    char name[32];
    snprintf(name, sizeof name, "n%d.test", i);
    look_up(name, &f[i]);
  }
  unsigned told = 0;
  while (told < MANY && NS_UNTIL(f[told].calls > 0)) told++;
  for (int i = 0; i < MANY; i++) CHECK(f[i].calls == 1 && f[i].err == TAVI_E_RESOLVE);
  CHECK(ns.asked >= 2 * MANY + 2);
  CHECK(ns.asked <= 2 * MANY + 20); /* nothing got lost, which would have been asked again */
  tavi_resolve_cancel(late.lookup);
  end();
}

/* ==== hosts file and search list ==== */

static void write_file(const char *path, const char *text) {
  FILE *file = fopen(path, "w");
  if (file == NULL || fputs(text, file) < 0 || fclose(file) != 0) abort();
}

TEST(hosts__come_first_and_need_no_server) {
  char path[] = "/tmp/tavi-hosts-XXXXXX";
  struct found f;
  int fd = mkstemp(path);
  close(fd);
  write_file(path, "# a comment\n10.1.1.1 here.test also.test\n10.1.1.2 both.test\nfd00::2 both.test\n");
  setenv("CARES_HOSTS", path, 1);
  begin();
  ns_rule((struct ns_rule){.name = "here.test", .a = "6.6.6.6", .aaaa = "6::6", .ttl = 60});
  look_up_now("here.test", &f);
  CHECK(f.err == 0 && f.count == 1 && strcmp(f.addrs[0].host, "10.1.1.1") == 0);
  look_up_now("ALSO.test", &f);
  CHECK(f.err == 0 && f.count == 1);
  look_up_now("both.test", &f);
  CHECK(f.err == 0 && f.count == 2);
  ns_serve();
  CHECK_INT(ns.asked, 0);
  write_file(path, "10.1.1.9 here.test\n"); /* is seen soon */
  NS_UNTIL((look_up_now("here.test", &f), strcmp(f.addrs[0].host, "10.1.1.9") == 0));
  unlink(path);
  unsetenv("CARES_HOSTS");
  end();
}

TEST(search_list__is_walked_by_both_families_together) {
  struct found f;
  setenv("LOCALDOMAIN", "one.test two.test", 1);
  begin();
  struct ns_rule *one = ns_rule((struct ns_rule){.name = "x.one.test"}); /* there, and without an address */
  struct ns_rule *two = ns_rule((struct ns_rule){.name = "x.two.test", .a = "10.0.0.2", .ttl = 60});
  struct ns_rule *dots = ns_rule((struct ns_rule){.name = "a.b", .aaaa = "fd00::9", .ttl = 60});
  struct ns_rule *after = ns_rule((struct ns_rule){.name = "c.d.one.test", .a = "10.0.0.3", .ttl = 60});
  look_up_now("x", &f);
  CHECK(f.err == 0 && f.count == 1 && strcmp(f.addrs[0].host, "10.0.0.2") == 0);
  CHECK(one->asked == 2 && two->asked == 2 && ns.asked == 4);
  look_up_now("a.b", &f); /* enough dots: itself first, and then no other */
  CHECK(f.err == 0 && dots->asked == 2 && ns.asked == 6);
  look_up_now("c.d", &f);
  CHECK(f.err == 0 && after->asked == 2 && ns.asked == 10);
  look_up_now("x.", &f); /* absolute */
  CHECK(f.err == TAVI_E_RESOLVE && ns.asked == 12);
  look_up_now("y", &f);
  CHECK(f.err == TAVI_E_RESOLVE && has(f.text, "y: no such name (NXDOMAIN)") && ns.asked == 18);
  unsetenv("LOCALDOMAIN");
  end();
}

/* ==== connecting ==== */

/* A socket on this address and port (0: any) that listens; `backlog` -1: one that is full, so that nobody gets an answer. */
struct target {
  int fd, fill[4];
  uint16_t port;
};

static bool open_target(struct target *t, const char *ip, uint16_t port, bool is_full) {
  struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
  struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
  bool is_v6 = strchr(ip, ':') != NULL;
  inet_pton(is_v6 ? AF_INET6 : AF_INET, ip, is_v6 ? (void *)&v6.sin6_addr : (void *)&v4.sin_addr);
  struct sockaddr *a = is_v6 ? (struct sockaddr *)(void *)&v6 : (struct sockaddr *)(void *)&v4;
  socklen_t len = is_v6 ? sizeof v6 : sizeof v4;
  int one = 1;
  *t = (struct target){.fill = {-1, -1, -1, -1}};
  t->fd = socket(a->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (is_v6) setsockopt(t->fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
  setsockopt(t->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(t->fd, a, len) != 0 || listen(t->fd, is_full ? 0 : 16) != 0) {
    close(t->fd);
    return false;
  }
  getsockname(t->fd, a, &len);
  t->port = ntohs(is_v6 ? v6.sin6_port : v4.sin_port);
  for (int i = 0; i < 4 && is_full; i++) { /* some wait in the backlog, and the rest gets no answer */
    t->fill[i] = socket(a->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    connect(t->fill[i], a, len);
  }
  return true;
}

static void close_target(struct target *t) {
  for (int i = 0; i < 4; i++)
    if (t->fill[i] >= 0) close(t->fill[i]);
  close(t->fd);
}

static char url[128];

static const char *url_for(const char *scheme, const char *host, uint16_t port) {
  snprintf(url, sizeof url, "%s://%s:%u", scheme, host, port);
  return url;
}

static bool is_at(const struct peer *p, const char *ip) {
  struct tavi_addr a;
  return p->c != NULL && tavi_conn_remote_addr(p->c, &a) == 0 && strcmp(a.host, ip) == 0;
}

/* Connect to a name with this rule; until it is connected or closed. */
static struct peer *connect_with(struct ns_rule rule, uint16_t port) {
  ns_rule(rule);
  struct peer *p = connect_to(url_for("tcp", rule.name, port), NULL, &side);
  CHECK_INT(tavi_conn_flags(p->c) & (TAVI_CONN_RESOLVING | TAVI_CONN_CONNECTING), TAVI_CONN_RESOLVING);
  CHECK_INT(p->count[RESOLVE], 0);
  NS_UNTIL(p->count[CONNECT] > 0 || p->count[CLOSE] > 0);
  return p;
}

TEST(connect__a_name) {
  struct target t;
  begin();
  open_target(&t, "127.0.0.1", 0, false);
  struct peer *p = connect_with((struct ns_rule){.name = "a.test", .a = "127.0.0.1", .ttl = 60}, t.port);
  CHECK(p->count[RESOLVE] == 1 && p->count[CONNECT] == 1 && is_at(p, "127.0.0.1"));
  struct peer *again = connect_to(url_for("tcp", "a.test", t.port), NULL, &side);
  CHECK(again->count[RESOLVE] == 1); /* from the cache, inside the call */
  NS_UNTIL(again->count[CONNECT] > 0);
  CHECK_INT(tavi_conn_send(again->c, "hello", 5), 0);
  char buf[8];
  close(raw_accept(t.fd));
  int fd = raw_accept(t.fd);
  CHECK_INT(raw_recv(fd, buf, 5), 5);
  close(fd);
  close_target(&t);
  end();
}

TEST(connect__sent_before_the_name_is_known_arrives) {
  struct target t;
  char buf[8];
  begin();
  open_target(&t, "127.0.0.1", 0, false);
  ns_rule((struct ns_rule){.name = "a.test", .a = "127.0.0.1", .ttl = 60, .a_late_ms = 30});
  struct peer *p = connect_to(url_for("tcp", "a.test", t.port), NULL, &side);
  CHECK_INT(tavi_conn_send(p->c, "early", 5), 0);
  NS_UNTIL(p->count[CONNECT] > 0);
  int fd = raw_accept(t.fd);
  CHECK_INT(raw_recv(fd, buf, 5), 5);
  close(fd);
  close_target(&t);
  end();
}

TEST(connect__failure_names_the_host_in_a_later_turn) {
  begin();
  for (int i = 0; i < 2; i++) { /* asked, and known */
    struct peer *p = connect_to("tcp://no-such.test:80", NULL, &side);
    CHECK(p->count[ERROR] == 0);
    NS_UNTIL(p->count[CLOSE] > 0);
    CHECK_INT(p->err, TAVI_E_RESOLVE);
    CHECK(has(p->text, "no-such.test") && has(p->text, "NXDOMAIN"));
    CHECK_INT(p->count[RESOLVE], 0);
  }
  end();
}

TEST(connect__time_out_while_resolving) {
  begin();
  struct tavi_conn_opts opts;
  tavi_conn_opts_init(&opts);
  opts.connect_timeout_ms = 100;
  ns_rule((struct ns_rule){.name = "a.test", .mode = NS_SILENT});
  struct peer *p = connect_to("tcp://a.test:80", &opts, &side);
  NS_UNTIL(p->count[CLOSE] > 0);
  CHECK_INT(p->err, TAVI_E_TIMEOUT);
  CHECK(has(p->text, "a.test") && has(p->text, "resolved in time"));
  end();
}

TEST(connect__does_not_wait_for_ipv6_for_long) {
  struct target t;
  begin();
  open_target(&t, "127.0.0.1", 0, false);
  uint64_t start_ms = tavi_millis();
  struct peer *p = connect_with((struct ns_rule){.name = "a.test", .a = "127.0.0.1", .ttl = 60, .is_aaaa_silent = true}, t.port);
  CHECK(p->count[CONNECT] == 1 && is_at(p, "127.0.0.1"));
  uint64_t took_ms = tavi_millis() - start_ms;
  CHECK(took_ms >= 45 && took_ms < 1500);
  close_target(&t);
  end();
}

TEST(connect__does_not_wait_for_ipv4_at_all) {
  struct target t;
  begin();
  if (open_target(&t, "::1", 0, false)) {
    uint64_t start_ms = tavi_millis();
    struct peer *p = connect_with((struct ns_rule){.name = "a.test", .aaaa = "::1", .ttl = 60, .is_a_silent = true}, t.port);
    CHECK(p->count[CONNECT] == 1 && is_at(p, "::1"));
    CHECK(tavi_millis() - start_ms < 1500);
    close_target(&t);
  }
  end();
}

TEST(connect__the_late_family_is_used_when_the_other_is_dead) {
  struct target t;
  begin();
  if (open_target(&t, "::1", 0, false)) {
    struct ns_rule late = {.name = "a.test", .a = "127.0.0.1", .aaaa = "::1", .ttl = 60, .aaaa_late_ms = 300};
    struct peer *p = connect_with(late, t.port);
    CHECK(p->count[CONNECT] == 1 && p->count[RESOLVE] == 1 && is_at(p, "::1"));
    close_target(&t);
  }
  open_target(&t, "127.0.0.1", 0, false);
  struct peer *p = connect_with((struct ns_rule){.name = "b.test", .a = "127.0.0.1", .aaaa = "::1", .ttl = 60, .a_late_ms = 300}, t.port);
  CHECK(p->count[CONNECT] == 1 && is_at(p, "127.0.0.1"));
  close_target(&t);
  end();
}

TEST(connect__a_silent_address_is_overtaken) {
  struct target good, silent;
  begin();
  open_target(&good, "127.0.0.1", 0, false);
  open_target(&silent, "127.0.0.2", good.port, true);
  unsigned before = open_descriptors();
  uint64_t start_ms = tavi_millis();
  struct peer *p = connect_with((struct ns_rule){.name = "a.test", .a = "127.0.0.2,127.0.0.1", .ttl = 60}, good.port);
  uint64_t took_ms = tavi_millis() - start_ms;
  CHECK(p->count[CONNECT] == 1 && is_at(p, "127.0.0.1"));
  CHECK(took_ms >= 245 && took_ms < 2000);
  if (p->c != NULL) tavi_conn_close(p->c);
  NS_UNTIL(p->count[CLOSE] > 0 && open_descriptors() <= before);
  close_target(&silent);
  if (open_target(&silent, "::1", good.port, true)) {
    p = connect_with((struct ns_rule){.name = "b.test", .a = "127.0.0.1", .aaaa = "::1", .ttl = 60}, good.port);
    CHECK(p->count[CONNECT] == 1 && is_at(p, "127.0.0.1"));
    close_target(&silent);
  }
  close_target(&good);
  end();
}

TEST(connect__the_slow_first_may_still_win) {
  struct target first, second;
  begin();
  open_target(&first, "127.0.0.1", 0, true);
  open_target(&second, "127.0.0.2", first.port, true);
  ns_rule((struct ns_rule){.name = "a.test", .a = "127.0.0.1,127.0.0.2", .ttl = 60});
  struct peer *p = connect_to(url_for("tcp", "a.test", first.port), NULL, &side);
  uint64_t start_ms = tavi_millis();
  NS_UNTIL(tavi_millis() - start_ms > 400);  /* both are under way */
  CHECK_INT(p->count[CONNECT], 0);
  close(raw_accept(first.fd));               /* room: the next SYN is answered */
  close(raw_accept(first.fd));
  NS_UNTIL(p->count[CONNECT] > 0);
  CHECK(is_at(p, "127.0.0.1"));
  close_target(&first);
  close_target(&second);
  end();
}

TEST(connect__refused_goes_on_at_once) {
  struct target t;
  begin();
  open_target(&t, "127.0.0.4", 0, false);
  uint64_t start_ms = tavi_millis();
  struct peer *p = connect_with((struct ns_rule){.name = "a.test", .a = "127.0.0.1,127.0.0.2,127.0.0.3,127.0.0.4", .ttl = 60}, t.port);
  CHECK(p->count[CONNECT] == 1 && is_at(p, "127.0.0.4"));
  CHECK(tavi_millis() - start_ms < 240);
  close_target(&t);
  end();
}

TEST(connect__all_failures_are_told) {
  struct target silent;
  begin();
  uint16_t port = dead_port();
  struct peer *p = connect_with((struct ns_rule){.name = "a.test", .a = "127.0.0.1,127.0.0.2", .ttl = 60}, port);
  CHECK_INT(p->err, TAVI_E_REFUSED);
  CHECK(has(p->text, "a.test") && has(p->text, "127.0.0.1: connection refused; 127.0.0.2: connection refused"));
  struct tavi_conn_opts opts;
  tavi_conn_opts_init(&opts);
  opts.connect_timeout_ms = 400;
  open_target(&silent, "127.0.0.2", 0, true);
  p = connect_to(url_for("tcp", "a.test", silent.port), &opts, &side);
  NS_UNTIL(p->count[CLOSE] > 0);
  CHECK_INT(p->err, TAVI_E_TIMEOUT);
  CHECK(has(p->text, "connect time-out (127.0.0.1: connection refused; 127.0.0.2: no answer)"));
  close_target(&silent);
  end();
}

TEST(connect__udp_to_a_name) {
  begin();
  struct tavi_conn *server = NULL;
  static struct side servers;
  CHECK_INT(tavi_udp_listen(manager, "udp://127.0.0.1:0", NULL, &e2e_handlers, &servers, &server), 0);
  struct tavi_addr a;
  tavi_conn_local_addr(server, &a);
  ns_rule((struct ns_rule){.name = "a.test", .a = "127.0.0.1", .ttl = 60});
  struct peer *p = connect_to(url_for("udp", "a.test", a.port), NULL, &side);
  CHECK_INT(tavi_conn_send(p->c, "x", 1), TAVI_E_STATE);
  NS_UNTIL(p->count[CONNECT] > 0);
  CHECK(p->count[RESOLVE] == 1);
  CHECK_INT(tavi_conn_send(p->c, "hello", 5), 0);
  NS_UNTIL(servers.peers[0]->count[READ] == 1);
  p = connect_to(url_for("udp", "a.test", a.port), NULL, &side);
  CHECK(p->count[CONNECT] == 1); /* known: inside the call */
  end();
  side_free(&servers);
}

/* ==== ends ==== */

static enum event close_at;

static void close_hook(struct peer *p, enum event event) {
  if (event == close_at) close_peer(p);
}

TEST(ends__closing_in_each_callback_and_while_resolving) {
  static const enum event at[] = {OPEN, RESOLVE, CONNECT};
  struct target t;
  for (int late = 0; late < 2; late++) {
    for (int i = 0; i < 3; i++) {
      begin();
      open_target(&t, "127.0.0.1", 0, false);
      ns_rule((struct ns_rule){.name = "a.test", .a = "127.0.0.1", .aaaa = "::1", .ttl = 60, .aaaa_late_ms = late ? 100 : 0});
      side.hook = close_hook;
      close_at = at[i];
      struct peer *p = connect_to(url_for("tcp", "a.test", t.port), NULL, &side);
      struct peer *other = connect_to(url_for("tcp", "a.test", t.port), NULL, &side);
      NS_UNTIL(p->count[CLOSE] > 0 && other->count[CLOSE] > 0);
      close_target(&t);
      end();
    }
  }
  begin();
  ns_rule((struct ns_rule){.name = "a.test", .mode = NS_SILENT});
  struct peer *p = connect_to("tcp://a.test:80", NULL, &side);
  NS_UNTIL(ns.asked == 2);
  unsigned fds = open_descriptors();
  uint64_t start_ms = tavi_millis();
  tavi_conn_close(p->c);
  NS_UNTIL(p->count[CLOSE] > 0 && open_descriptors() < fds); /* nobody waits: the query is over, its socket closed */
  CHECK(tavi_millis() - start_ms < 1000);
  end();
}

static void cancel_other(const struct tavi_addr *addrs, size_t count, int err, const char *text, void *user) {
  struct found *f = user;
  (void)addrs, (void)count, (void)err, (void)text;
  f[0].calls++;
  tavi_resolve_cancel(f[1].lookup);
  CHECK_INT(tavi_resolve(manager, "b.test", on_found, &f[2], &f[2].lookup), 0); /* and asks for another */
}

TEST(ends__cancelling_from_a_callback) {
  struct found f[3] = {0};
  begin();
  ns_rule((struct ns_rule){.name = "a.test", .a = "10.0.0.1", .ttl = 60});
  ns_rule((struct ns_rule){.name = "b.test", .a = "10.0.0.2", .ttl = 60});
  CHECK_INT(tavi_resolve(manager, "a.test", cancel_other, f, NULL), 0);
  CHECK_INT(tavi_resolve(manager, "a.test", on_found, &f[1], &f[1].lookup), 0);
  NS_UNTIL(f[2].calls > 0);
  CHECK(f[0].calls == 1 && f[1].calls == 0 && f[2].err == 0);
  end();
}

TEST(ends__manager_is_freed_with_queries_in_flight) {
  for (int turns = 0; turns < 4; turns++) {
    struct found f, g;
    begin();
    ns_rule((struct ns_rule){.name = "a.test", .mode = NS_SILENT});
    ns_rule((struct ns_rule){.name = "b.test", .mode = NS_TRUNCATED_DEAD});
    connect_to("tcp://a.test:80", NULL, &side);
    look_up("a.test", &f);
    look_up("b.test", &g);
    for (int i = 0; i < 2 * turns; i++) tavi_manager_poll(manager, 1), ns_serve();
    tear_down();
    CHECK(f.calls == 1 && f.err == TAVI_E_CLOSED && has(f.text, "a.test"));
    CHECK(g.calls == 1 && g.err == TAVI_E_CLOSED);
    end();
  }
}

TEST(ends__manager_goes_on_after_close_all) {
  struct found f;
  begin();
  ns_rule((struct ns_rule){.name = "a.test", .mode = NS_SILENT});
  struct ns_rule *b = ns_rule((struct ns_rule){.name = "b.test", .a = "10.0.0.1", .ttl = 60});
  look_up_now("b.test", &f);
  look_up("a.test", &f);
  NS_UNTIL(ns.asked == 4);
  CHECK_INT(tavi_manager_close_all(manager), 0);
  CHECK(f.calls == 1 && f.err == TAVI_E_CLOSED);
  look_up_now("b.test", &f);
  CHECK(f.err == 0 && b->asked == 2); /* still known */
  look_up_now("c.test", &f);
  CHECK_INT(f.err, TAVI_E_RESOLVE);
  end();
}

TEST(ends__a_forked_child_frees_only_its_own) {
  struct found f;
  begin();
  ns_rule((struct ns_rule){.name = "a.test", .a = "10.0.0.1", .ttl = 60, .a_late_ms = 200, .aaaa_late_ms = 200});
  look_up("a.test", &f);
  NS_UNTIL(ns.asked == 2);
  pid_t child = fork();
  if (child == 0) {
    tavi_manager_free(manager);
    _exit(f.calls == 1 && f.err == TAVI_E_CLOSED ? 0 : 1);
  }
  int status = -1;
  CHECK_INT(waitpid(child, &status, 0), child);
  CHECK_INT(status, 0);
  CHECK_INT(f.calls, 0);
  NS_UNTIL(f.calls > 0);
  CHECK_INT(f.err, 0);
  end();
}

TEST(ends__nothing_is_left_open) {
  struct found f;
  unsigned before = open_descriptors();
  begin();
  look_up_now("a.test", &f);
  end();
  CHECK_INT(open_descriptors(), before);
}

TEST(options__bad_servers_are_refused) {
  static const char *const bad[] = {"", "x", "1.2.3", "127.0.0.1:0", "127.0.0.1:99999", "127.0.0.1,,", "localhost", "[::1",
                                    "1.1.1.1,1.1.1.1,1.1.1.1,1.1.1.1,1.1.1.1,1.1.1.1,1.1.1.1,1.1.1.1,1.1.1.1"};
  static const char *const good[] = {"127.0.0.1", "::1", "[::1]:53", " 127.0.0.1:5353 , 1.1.1.1"};
  struct tavi_manager *m = NULL;
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    test_note("%s", bad[i]);
    opts_init()->dns_servers = bad[i];
    CHECK_INT(tavi_manager_new(&manager_opts, &m), TAVI_E_ARG);
  }
  opts_init()->dns_timeout_ms = 0;
  CHECK_INT(tavi_manager_new(&manager_opts, &m), TAVI_E_ARG);
  for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
    test_note("%s", good[i]);
    opts_init()->dns_servers = good[i];
    if (CHECK_INT(tavi_manager_new(&manager_opts, &m), 0)) tavi_manager_free(m);
  }
}
