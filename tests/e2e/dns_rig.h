/* SPDX-License-Identifier: MIT
 *
 * A name server that does what it is told: UDP and TCP on one port of 127.0.0.1, never blocking, on the thread of the test.
 * Each name has a rule: addresses, times, how late the answer of each family comes, and what is wrong with it.
 *
 *     ns_open();
 *     ns_rule((struct ns_rule){.name = "a.test", .a = "127.0.0.1", .ttl = 60});
 *     NS_UNTIL(condition);          // runs the loop and the server
 *
 * A name without a rule does not exist (NXDOMAIN). */
#ifndef TAVI_TESTS_E2E_DNS_RIG_H
#define TAVI_TESTS_E2E_DNS_RIG_H

#include "e2e/e2e.h"

enum ns_mode {
  NS_ANSWER,
  NS_SILENT,          /* nothing comes */
  NS_SERVFAIL,
  NS_REFUSED,
  NS_NOTIMP,
  NS_TRUNCATED,       /* over UDP; the answer is there over TCP */
  NS_TRUNCATED_DEAD,  /* ... and over TCP nothing comes */
  NS_CNAME,           /* an alias, "alias." in front, which has the addresses */
  NS_CNAME_LOOP,      /* an alias of itself */
  NS_MANY,            /* 2000 addresses over TCP */
  /* From here on: lies, none of which may be believed. All of them carry 6.6.6.6 or 6::6. */
  NS_OTHER_ID,
  NS_OTHER_QUESTION,
  NS_OTHER_OWNER,     /* the right question, and an answer that belongs to another name */
  NS_OTHER_SOURCE,    /* from another port */
  NS_POINTER_LOOP,    /* a compression pointer to itself */
  NS_POINTER_OUT,     /* one that leads out of the message */
  NS_POINTER_FORWARD, /* two that lead to each other */
  NS_CUT,             /* in the middle of a record */
  NS_COUNTS,          /* 65535 answers are promised */
  NS_LENGTH,          /* an address of 65535 bytes */
  NS_SHORT_ADDRESS,   /* an address of one byte */
  NS_EMPTY,           /* a datagram of no bytes */
  NS_NO_HEADER,       /* eleven bytes */
  NS_QUERY_BACK,      /* the query itself */
  NS_NOISE,           /* bytes of all kinds behind the right id */
  NS_MODES
};

struct ns_rule {
  const char *name;
  const char *a, *aaaa;    /* addresses, separated by ','; NULL: none of this family */
  unsigned ttl;
  unsigned a_late_ms, aaaa_late_ms;
  bool is_aaaa_silent, is_a_silent;
  enum ns_mode mode;
  unsigned asked;          /* queries so far, of both families */
  unsigned asked_tcp;
};

struct ns_late {
  uint64_t at_ms;
  size_t len;
  struct sockaddr_in to;
  unsigned char bytes[512];
};

static struct {
  int udp, tcp, other;      /* other: a socket that nobody has asked */
  uint16_t port;
  char address[32];         /* for dns_servers */
  struct ns_rule rules[64];
  int rule_count;
  int peers[64];            /* TCP connections */
  struct ns_late late[2048];
  int late_count, late_most;
  unsigned asked;
} ns;

/* ==== life ==== */

static void ns_open(void) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  memset(&ns, 0, sizeof ns);
  for (int tries = 0; tries < 100; tries++) { /* a port that both have free */
    ns.tcp = raw_listen(64, &ns.port);
    a.sin_port = htons(ns.port);
    ns.udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (bind(ns.udp, (struct sockaddr *)(void *)&a, sizeof a) == 0) break;
    close(ns.tcp);
    close(ns.udp);
  }
  ns.other = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  for (int i = 0; i < 64; i++) ns.peers[i] = -1;
  snprintf(ns.address, sizeof ns.address, "127.0.0.1:%u", ns.port);
}

static void ns_close(void) {
  close(ns.udp);
  close(ns.tcp);
  close(ns.other);
  for (int i = 0; i < 64; i++)
    if (ns.peers[i] >= 0) close(ns.peers[i]);
}

static struct ns_rule *ns_rule(struct ns_rule rule) {
  if (ns.rule_count == 64) abort();
  ns.rules[ns.rule_count] = rule;
  return &ns.rules[ns.rule_count++];
}

/* ==== answers ==== */

struct ns_query {
  const unsigned char *bytes;
  size_t len;
  char name[256];
  size_t question_end;
  bool is_aaaa, is_tcp;
};

struct ns_reply {
  unsigned char bytes[65536];
  size_t len;
};

static bool ns_read_query(const unsigned char *p, size_t len, struct ns_query *q) {
  size_t at = 12, n = 0;
  *q = (struct ns_query){.bytes = p, .len = len};
  if (len < 17) return false;
  while (at < len && p[at] != 0 && p[at] < 64 && at + p[at] < len && n + p[at] + 1 < sizeof q->name) {
    memcpy(q->name + n, p + at + 1, p[at]);
    n += p[at];
    q->name[n++] = '.';
    at += p[at] + 1u;
  }
  if (n > 0) q->name[n - 1] = 0;
  for (char *c = q->name; *c != 0; c++) *c = (char)(*c >= 'A' && *c <= 'Z' ? *c + 32 : *c);
  q->question_end = at + 5;
  if (q->question_end > len) return false;
  q->is_aaaa = p[at + 2] == 28;
  return true;
}

static void ns_put(struct ns_reply *r, const void *bytes, size_t len) {
  memcpy(r->bytes + r->len, bytes, len);
  r->len += len;
}

static void ns_put16(struct ns_reply *r, unsigned n) {
  unsigned char b[2] = {(unsigned char)(n >> 8), (unsigned char)n};
  ns_put(r, b, 2);
}

static void ns_head(struct ns_reply *r, const struct ns_query *q, unsigned rcode, unsigned answers) {
  r->len = 0;
  ns_put(r, q->bytes, q->question_end);
  r->bytes[2] = 0x81;
  r->bytes[3] = (unsigned char)(0x80 | rcode);
  memset(r->bytes + 6, 0, 6);
  r->bytes[6] = (unsigned char)(answers >> 8);
  r->bytes[7] = (unsigned char)answers;
}

/* owner: an offset in the message. */
static void ns_record(struct ns_reply *r, unsigned owner, unsigned type, unsigned ttl, const void *data, size_t len) {
  ns_put16(r, 0xc000 | owner);
  ns_put16(r, type);
  ns_put16(r, 1);
  ns_put16(r, ttl >> 16);
  ns_put16(r, ttl);
  ns_put16(r, (unsigned)len);
  ns_put(r, data, len);
}

static unsigned ns_addresses(struct ns_reply *r, const struct ns_query *q, const char *list, unsigned ttl, unsigned owner) {
  unsigned count = 0;
  char text[64];
  while (list != NULL && *list != 0) {
    unsigned char ip[16];
    size_t len = strcspn(list, ",");
    memcpy(text, list, len);
    text[len] = 0;
    if (inet_pton(q->is_aaaa ? AF_INET6 : AF_INET, text, ip) != 1) abort();
    ns_record(r, owner, q->is_aaaa ? 28 : 1, ttl, ip, q->is_aaaa ? 16 : 4);
    count++;
    list += len + (list[len] == ',');
  }
  return count;
}

static const unsigned char ns_evil[16] = {6, 6, 6, 6};

static void ns_evil_record(struct ns_reply *r, const struct ns_query *q, unsigned owner) {
  ns_record(r, owner, q->is_aaaa ? 28 : 1, 60, ns_evil, q->is_aaaa ? 16 : 4);
}

static void ns_lie(struct ns_reply *r, const struct ns_query *q, enum ns_mode mode) {
  static const char other[] = "\5other\4test";
  unsigned end;
  ns_head(r, q, 0, 1);
  end = (unsigned)r->len;
  switch ((int)mode) {
    case NS_OTHER_ID: ns_evil_record(r, q, 12), r->bytes[0] ^= 0x55; break;
    case NS_OTHER_QUESTION: ns_evil_record(r, q, 12), r->bytes[13] ^= 1; break;
    case NS_OTHER_OWNER:
      ns_put(r, other, sizeof other);
      ns_put16(r, q->is_aaaa ? 28 : 1);
      ns_put(r, "\0\1\0\0\0\x3c", 6);
      ns_put16(r, q->is_aaaa ? 16 : 4);
      ns_put(r, ns_evil, q->is_aaaa ? 16 : 4);
      break;
    case NS_OTHER_SOURCE: ns_evil_record(r, q, 12); break;
    case NS_POINTER_LOOP: ns_evil_record(r, q, end); break;
    case NS_POINTER_OUT: ns_evil_record(r, q, 0x3fff); break;
    case NS_POINTER_FORWARD: ns_put16(r, 0xc000 | (end + 2)), ns_evil_record(r, q, end); break;
    case NS_CUT: ns_evil_record(r, q, 12), r->len -= 2; break;
    case NS_COUNTS: ns_evil_record(r, q, 12), r->bytes[6] = r->bytes[7] = 0xff; break;
    case NS_LENGTH: ns_evil_record(r, q, 12), r->bytes[end + 10] = r->bytes[end + 11] = 0xff; break;
    case NS_SHORT_ADDRESS: ns_record(r, 12, q->is_aaaa ? 28 : 1, 60, ns_evil, 1); break;
    case NS_EMPTY: r->len = 0; break;
    case NS_NO_HEADER: r->len = 11; break;
    case NS_QUERY_BACK: r->len = 0, ns_put(r, q->bytes, q->len); break;
    case NS_NOISE:
      for (size_t i = 2; i < 500; i++) r->bytes[i] = (unsigned char)(i * 2654435761u >> 13 ^ ns.asked * 40503u >> 3);
      r->len = 500;
      break;
    default: abort();
  }
}

static bool ns_is_lie(enum ns_mode mode) { return mode >= NS_OTHER_ID; }

static void ns_many(struct ns_reply *r, const struct ns_query *q) {
  unsigned char ip[16] = {127, 9};
  ns_head(r, q, 0, 2000);
  for (unsigned i = 0; i < 2000; i++) {
    ip[2] = (unsigned char)(i >> 8);
    ip[3] = (unsigned char)i;
    ns_record(r, 12, q->is_aaaa ? 28 : 1, 60, ip, q->is_aaaa ? 16 : 4);
  }
}

static void ns_alias(struct ns_reply *r, const struct ns_query *q, const struct ns_rule *rule) {
  unsigned char target[] = {5, 'a', 'l', 'i', 'a', 's', 0xc0, 12};
  unsigned alias = (unsigned)q->question_end + 12, count;
  ns_head(r, q, 0, 0);
  if (rule->mode == NS_CNAME_LOOP) {
    ns_record(r, 12, 5, 60, "\xc0\x0c", 2);
    count = 0;
  } else {
    ns_record(r, 12, 5, 7, target, sizeof target);
    count = ns_addresses(r, q, q->is_aaaa ? rule->aaaa : rule->a, rule->ttl, alias);
  }
  r->bytes[7] = (unsigned char)(count + 1);
}

/* False: nothing is to be sent. */
static bool ns_answer(struct ns_reply *r, const struct ns_query *q, const struct ns_rule *rule) {
  if (rule == NULL || strcmp(rule->name, q->name) != 0) {
    ns_head(r, q, 3, 0);
    return true;
  }
  if (rule->mode == NS_SILENT || (rule->mode == NS_TRUNCATED_DEAD && q->is_tcp)) return false;
  if (q->is_aaaa ? rule->is_aaaa_silent : rule->is_a_silent) return false;
  if (ns_is_lie(rule->mode)) {
    ns_lie(r, q, rule->mode);
  } else if (rule->mode == NS_SERVFAIL || rule->mode == NS_REFUSED || rule->mode == NS_NOTIMP) {
    ns_head(r, q, rule->mode == NS_SERVFAIL ? 2 : rule->mode == NS_REFUSED ? 5 : 4, 0);
  } else if (!q->is_tcp && (rule->mode == NS_TRUNCATED || rule->mode == NS_TRUNCATED_DEAD || rule->mode == NS_MANY)) {
    ns_head(r, q, 0, 0);
    r->bytes[2] |= 2;
  } else if (rule->mode == NS_MANY) {
    ns_many(r, q);
  } else if (rule->mode == NS_CNAME || rule->mode == NS_CNAME_LOOP) {
    ns_alias(r, q, rule);
  } else {
    ns_head(r, q, 0, 0);
    r->bytes[7] = (unsigned char)ns_addresses(r, q, q->is_aaaa ? rule->aaaa : rule->a, rule->ttl, 12);
  }
  return true;
}

static struct ns_rule *ns_find(const char *name) {
  for (int i = 0; i < ns.rule_count; i++)
    if (strcmp(ns.rules[i].name, name) == 0) return &ns.rules[i];
  return NULL;
}

/* ==== serving ==== */

static void ns_send_udp(const unsigned char *bytes, size_t len, const struct sockaddr_in *to, int fd) {
  sendto(fd, bytes, len, 0, (const struct sockaddr *)(const void *)to, sizeof *to);
}

static void ns_serve_udp(void) {
  static struct ns_reply r;
  unsigned char buf[1500];
  struct sockaddr_in from;
  struct ns_query q;
  for (;;) {
    socklen_t from_len = sizeof from;
    ssize_t n = recvfrom(ns.udp, buf, sizeof buf, 0, (struct sockaddr *)(void *)&from, &from_len);
    if (n < 0) return;
    if (!CHECK(ns_read_query(buf, (size_t)n, &q))) continue;
    struct ns_rule *rule = ns_find(q.name);
    ns.asked++;
    if (rule != NULL) rule->asked++;
    if (!ns_answer(&r, &q, rule)) continue;
    unsigned late_ms = rule == NULL ? 0 : q.is_aaaa ? rule->aaaa_late_ms : rule->a_late_ms;
    if (late_ms == 0) {
      ns_send_udp(r.bytes, r.len, &from, rule != NULL && rule->mode == NS_OTHER_SOURCE ? ns.other : ns.udp);
      continue;
    }
    if (ns.late_count == 2048 || r.len > 512) abort();
    struct ns_late *l = &ns.late[ns.late_count++];
    *l = (struct ns_late){.at_ms = tavi_millis() + late_ms, .len = r.len, .to = from};
    memcpy(l->bytes, r.bytes, r.len);
    if (ns.late_count > ns.late_most) ns.late_most = ns.late_count;
  }
}

static void ns_serve_late(void) {
  for (int i = 0; i < ns.late_count;) {
    if (ns.late[i].at_ms > tavi_millis()) {
      i++;
      continue;
    }
    ns_send_udp(ns.late[i].bytes, ns.late[i].len, &ns.late[i].to, ns.udp);
    ns.late[i] = ns.late[--ns.late_count];
  }
}

static void ns_serve_peer(int *fd) {
  static struct ns_reply r;
  unsigned char buf[2048], prefix[2];
  struct ns_query q;
  ssize_t n = recv(*fd, buf, sizeof buf, 0);
  if (n < 0 && errno == EAGAIN) return;
  if (n <= 0) {
    close(*fd);
    *fd = -1;
    return;
  }
  for (size_t at = 0; at + 2 < (size_t)n;) { /* queries are small: they come in one piece, perhaps several at once */
    size_t len = (size_t)buf[at] << 8 | buf[at + 1];
    if (!CHECK(at + 2 + len <= (size_t)n && ns_read_query(buf + at + 2, len, &q))) return;
    at += 2 + len;
    struct ns_rule *rule = ns_find(q.name);
    q.is_tcp = true;
    if (rule != NULL) rule->asked_tcp++;
    if (!ns_answer(&r, &q, rule)) continue;
    prefix[0] = (unsigned char)(r.len >> 8);
    prefix[1] = (unsigned char)r.len;
    raw_send(*fd, (const char *)prefix, 2);
    raw_send(*fd, (const char *)r.bytes, r.len);
  }
}

static void ns_serve(void) {
  ns_serve_udp();
  ns_serve_late();
  for (int i = 0; i < 64; i++) {
    if (ns.peers[i] < 0) ns.peers[i] = accept4(ns.tcp, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (ns.peers[i] < 0) break;
  }
  for (int i = 0; i < 64; i++)
    if (ns.peers[i] >= 0) ns_serve_peer(&ns.peers[i]);
}

#define NS_UNTIL(condition) RUN_UNTIL((ns_serve(), (condition)))

#endif
