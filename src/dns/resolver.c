/* SPDX-License-Identifier: MIT
 *
 * Who waits for which name: questions, their time, and telling.
 *
 * A question is one name that is being asked for, however many wait for it. It is made by the first of them and begins
 * in the resolver's own part of a turn (pump()), as everything that has to do with c-ares: so c-ares is never called
 * from one of its callbacks, whatever users do in theirs, and never while another thread waits in the poller. Up to
 * TAVI__DNS_ASKED_MAX are asked for at a time.
 *
 * The families are two queries. IPv6 is told as soon as it is there; IPv4 alone is told when IPv6 has not come
 * TAVI__DNS_DELAY_MS later; the other family follows when it comes (RFC 8305 section 3).
 *
 * c-ares cannot take back one query. A question that nobody waits for any more goes on and ends in the cache; when
 * nobody waits for any, they all end. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "dns/cache.h"
#include "dns/channel.h"
#include "dns/dns.h"
#include "net/watch.h"

struct family {
  struct tavi__dns_question *question;
  bool is_pending, is_told;
  struct tavi__dns_result r;
};

enum { V6, V4 };

struct dns;

struct tavi__dns_question {
  struct tavi__node node;      /* in dns->waiting, dns->asked (in the order of deadlines), or dns->given_up */
  struct tavi__node changed;   /* in dns->changed: there are results to look at */
  struct tavi__node delayed;   /* in dns->delayed, in the order of delay_ms */
  struct dns *dns;
  struct tavi__dns_name *name; /* NULL: given up; c-ares does not know of it */
  struct tavi__node waiters;   /* struct tavi__lookup */
  bool is_asked;
  uint64_t deadline_ms, delay_ms;
  int candidate;               /* of the search list, the next one */
  struct tavi__dns_result worst; /* of the earlier ones */
  struct family families[2];
};

struct dns {
  struct tavi__part part;
  struct tavi_manager *m;
  struct tavi__watch *clock;          /* our place in the turn; NULL while closed */
  struct tavi__dns_channel *channel;  /* NULL: not open */
  uint64_t opened_ms;                 /* the channel */
  struct tavi__dns_cache cache;
  struct tavi__node waiting, asked, given_up, changed, delayed;
  size_t asked_count;                 /* given up ones included: c-ares works on them */
  size_t waiter_count;
};

static const char part_key;

static struct tavi__dns_question *question_at(struct tavi__node *n) {
  return TAVI__CONTAINER(n, struct tavi__dns_question, node);
}

static struct tavi__lookup *lookup_at(struct tavi__node *n) { return TAVI__CONTAINER(n, struct tavi__lookup, node); }

static bool is_linked(const struct tavi__node *n) { return n->next != NULL; }

static void unlink_if(struct tavi__node *n) {
  if (is_linked(n)) tavi__list_remove(n);
}

/* ==== questions ==== */

static struct tavi__dns_question *question_new(struct dns *d, const char *host) {
  struct tavi__dns_question *q = calloc(1, sizeof(*q));
  if (q == NULL) return NULL;

  q->dns = d;
  q->name = tavi__dns_cache_add(&d->cache, host, q);
  if (q->name == NULL) {
    free(q);
    return NULL;
  }
  tavi__list_init(&q->waiters);
  for (int i = 0; i < 2; i++) q->families[i].question = q;
  tavi__list_append(&d->waiting, &q->node);
  return q;
}

static bool is_pending(const struct tavi__dns_question *q) {
  return q->families[V6].is_pending || q->families[V4].is_pending;
}

static bool has_found(const struct tavi__dns_question *q) {
  return q->families[V6].r.count > 0 || q->families[V4].r.count > 0;
}

static void question_free(struct tavi__dns_question *q) {
  tavi__list_remove(&q->node);
  unlink_if(&q->changed);
  unlink_if(&q->delayed);
  if (q->is_asked) q->dns->asked_count--;
  free(q);
}

/* The name is told or dropped; what c-ares still has to say is of no interest. */
static void give_up(struct tavi__dns_question *q) {
  q->name = NULL;
  if (!is_pending(q)) {
    question_free(q);
    return;
  }
  unlink_if(&q->delayed);
  tavi__list_remove(&q->node);
  tavi__list_append(&q->dns->given_up, &q->node);
}

static void drop_name(struct tavi__dns_question *q) { tavi__dns_cache_answered(&q->dns->cache, q->name, 0); }

/* All who wait, moved to a list of the caller's; the question forgets them, and they the question. */
static void take_waiters(struct tavi__dns_question *q, struct tavi__node *list) {
  for (struct tavi__node *n = q->waiters.next; n != &q->waiters; n = n->next) lookup_at(n)->asked = NULL;
  tavi__list_move_front(&q->waiters, list);
}

static struct tavi__lookup *pop(struct dns *d, struct tavi__node *list) {
  struct tavi__lookup *l = lookup_at(list->next);
  tavi__list_remove(&l->node);
  d->waiter_count--;
  return l;
}

/* ==== telling ==== */

/* IPv6 first, and then in turns. */
static void interleave(const struct tavi__dns_question *q, struct tavi__dns_answer *a) {
  for (int i = 0; a->count < TAVI__ADDRS_MAX && i < TAVI__ADDRS_MAX; i++) {
    for (int family = V6; family <= V4; family++) {
      const struct tavi__dns_result *r = &q->families[family].r;
      if (i < r->count && a->count < TAVI__ADDRS_MAX) a->addrs[a->count++] = r->addrs[i];
    }
  }
}

/* Whoever has heard of one family only needs the other. */
static void what_is_new(const struct tavi__dns_question *q, const struct tavi__dns_answer *all,
                        struct tavi__dns_answer *ret_new) {
  const struct family *f = q->families;
  *ret_new = *all;
  if (!f[V6].is_told && !f[V4].is_told) return;
  ret_new->count = 0;
  for (int i = V6; i <= V4; i++) {
    if (f[i].is_told) continue;
    ret_new->count = f[i].r.count;
    memcpy(ret_new->addrs, f[i].r.addrs, sizeof(ret_new->addrs));
  }
}

/* One family, while the other is still asked for. */
static void tell_family(struct tavi__dns_question *q, struct family *f) {
  struct tavi__dns_result r = f->r;
  struct tavi__node now;
  f->is_told = true;
  unlink_if(&q->delayed);
  tavi__list_init(&now);
  tavi__list_move_front(&q->waiters, &now);
  while (!tavi__list_empty(&now)) {
    struct tavi__lookup *l = lookup_at(now.next);
    tavi__list_remove(&l->node);
    tavi__list_append(&q->waiters, &l->node);
    l->on_found(l, r.addrs, r.count, false);
  }
}

/* How long the addresses hold. A family that failed is asked for again soon. */
static uint32_t shortest_ttl(const struct tavi__dns_question *q) {
  uint32_t ttl_ms = UINT32_MAX;
  for (int i = V6; i <= V4; i++) {
    const struct family *f = &q->families[i];
    uint32_t its_ms = UINT32_MAX;
    if (f->r.count > 0)
      its_ms = f->r.ttl_ms;
    else if (f->is_pending || f->r.outcome >= TAVI__DNS_REFUSED)
      its_ms = TAVI__DNS_FAILURE_MS;
    if (its_ms < ttl_ms) ttl_ms = its_ms;
  }
  return ttl_ms;
}

/* The end: to the cache, and to all who wait. */
static void conclude(struct tavi__dns_question *q, const struct tavi__dns_result *failure) {
  struct dns *d = q->dns;
  struct tavi__dns_answer all = {.err = failure->err, .why = failure->why}, fresh;
  struct tavi__node now;
  uint32_t ttl_ms = failure->ttl_ms;
  if (has_found(q)) {
    all = (struct tavi__dns_answer){.err = 0};
    interleave(q, &all);
    ttl_ms = shortest_ttl(q);
  }
  what_is_new(q, &all, &fresh);
  q->name->answer = all;
  tavi__dns_cache_answered(&d->cache, q->name, ttl_ms == 0 ? 0 : tavi__manager_now(d->m) + ttl_ms);
  tavi__list_init(&now);
  take_waiters(q, &now);
  give_up(q);
  while (!tavi__list_empty(&now)) {
    struct tavi__lookup *l = pop(d, &now);
    if (all.err < 0)
      l->on_failed(l, all.err, all.why);
    else
      l->on_found(l, fresh.addrs, fresh.count, true);
  }
}

/* ==== asking ==== */

static void on_result(void *arg, const struct tavi__dns_result *r) {
  struct family *f = arg;
  struct tavi__dns_question *q = f->question;
  f->r = *r;
  f->is_pending = false;
  if (!is_linked(&q->changed)) tavi__list_append(&q->dns->changed, &q->changed);
}

/* Ask for the next name of the search list. False: there is none. */
static bool ask_next(struct tavi__dns_question *q) {
  char name[TAVI__DNS_NAME_BYTES];
  struct tavi__dns_channel *ch = q->dns->channel;
  if (!tavi__dns_channel_candidate(ch, q->name->host, q->candidate++, name)) return false;
  for (int i = V6; i <= V4; i++) q->families[i].is_pending = true;
  tavi__dns_channel_ask(ch, name, 6, on_result, &q->families[V6]);
  tavi__dns_channel_ask(ch, name, 4, on_result, &q->families[V4]);
  return true;
}

static void remember_worst(struct tavi__dns_question *q) {
  for (int i = V6; i <= V4; i++)
    if (q->families[i].r.outcome > q->worst.outcome) q->worst = q->families[i].r;
}

/* Results have come. */
static void look_at(struct tavi__dns_question *q) {
  struct family *f = q->families;
  struct dns *d = q->dns;
  if (q->name == NULL) {
    if (!is_pending(q)) question_free(q);
    return;
  }
  if (!is_pending(q)) {
    remember_worst(q);
    bool is_over = has_found(q) || q->worst.outcome == TAVI__DNS_FAILED;
    if (is_over || !ask_next(q)) conclude(q, &q->worst);
  } else if (!f[V6].is_pending && f[V6].r.count > 0 && !f[V6].is_told) {
    tell_family(q, &f[V6]);
  } else if (!f[V4].is_pending && f[V4].r.count > 0 && !is_linked(&q->delayed)) {
    q->delay_ms = tavi__manager_now(d->m) + TAVI__DNS_DELAY_MS;
    tavi__list_append(&d->delayed, &q->delayed);
  }
}

/* ==== the resolver's part of the turn ==== */

static void pump(struct dns *d);

static void on_progress(void *owner) { pump(owner); }

/* Open, or open anew when the configuration may have changed and nothing is under way. */
static int ready_channel(struct dns *d, uint64_t now_ms) {
  bool is_old = now_ms - d->opened_ms >= TAVI__DNS_CONFIG_MS;
  if (d->channel != NULL && is_old && d->asked_count == 0) {
    tavi__dns_channel_close(d->channel);
    d->channel = NULL;
  }
  if (d->channel != NULL) return 0;
  d->opened_ms = now_ms;
  return tavi__dns_channel_open(d->m, on_progress, d, &d->channel);
}

static void begin(struct tavi__dns_question *q, uint64_t now_ms) {
  static const char not_usable[] = "the resolver's configuration cannot be used";
  struct dns *d = q->dns;
  int err = ready_channel(d, now_ms);
  q->is_asked = true;
  q->deadline_ms = now_ms + d->m->opts.dns_timeout_ms;
  d->asked_count++;
  tavi__list_remove(&q->node);
  tavi__list_append(&d->asked, &q->node);
  if (err < 0) {
    const char *why = err == TAVI_E_NOMEM ? tavi_err_text(err) : not_usable;
    conclude(q, &(struct tavi__dns_result){.outcome = TAVI__DNS_FAILED, .err = err, .why = why});
    return;
  }
  struct tavi__dns_result *r = &q->families[V6].r; /* it may hold both */
  if (tavi__dns_channel_hosts(d->channel, q->name->host, r)) {
    conclude(q, r);
    return;
  }
  *r = (struct tavi__dns_result){.outcome = TAVI__DNS_FOUND};
  ask_next(q);
}

static void expire(struct dns *d, uint64_t now_ms) {
  static const struct tavi__dns_result late = {.outcome = TAVI__DNS_FAILED, .err = TAVI_E_TIMEOUT,
                                               .why = "no name server answers", .ttl_ms = TAVI__DNS_FAILURE_MS};
  while (!tavi__list_empty(&d->delayed)) {
    struct tavi__dns_question *q = TAVI__CONTAINER(d->delayed.next, struct tavi__dns_question, delayed);
    if (q->delay_ms > now_ms) break;
    tell_family(q, &q->families[V4]);
  }
  while (!tavi__list_empty(&d->asked) && question_at(d->asked.next)->deadline_ms <= now_ms)
    conclude(question_at(d->asked.next), &late);
}

/* Nobody waits any more. What has one family already is worth the other, for the cache. */
static void cancel_all(struct dns *d) {
  for (struct tavi__node *n = d->asked.next; n != &d->asked; n = n->next)
    if (has_found(question_at(n))) return;
  while (!tavi__list_empty(&d->asked)) {
    struct tavi__dns_question *q = question_at(d->asked.next);
    drop_name(q);
    give_up(q);
  }
  tavi__dns_channel_cancel(d->channel);
}

static void set_clock(struct dns *d, uint64_t now_ms) {
  uint64_t at_ms = d->asked_count > 0 ? tavi__dns_channel_due_ms(d->channel, now_ms) : 0;
  tavi__source_deadline(&d->clock->src, at_ms);
  if (!tavi__list_empty(&d->asked)) tavi__source_deadline(&d->clock->src, question_at(d->asked.next)->deadline_ms);
  if (!tavi__list_empty(&d->delayed))
    tavi__source_deadline(&d->clock->src,
                          TAVI__CONTAINER(d->delayed.next, struct tavi__dns_question, delayed)->delay_ms);
}

static void pump(struct dns *d) {
  uint64_t now_ms = tavi__manager_now(d->m);
  if (d->channel != NULL) tavi__dns_channel_process(d->channel);
  do {
    while (!tavi__list_empty(&d->changed)) {
      struct tavi__dns_question *q = TAVI__CONTAINER(d->changed.next, struct tavi__dns_question, changed);
      tavi__list_remove(&q->changed);
      look_at(q);
    }
    expire(d, now_ms);
    if (d->waiter_count == 0 && d->asked_count > 0) cancel_all(d);
    while (!tavi__list_empty(&d->waiting) && d->asked_count < TAVI__DNS_ASKED_MAX)
      begin(question_at(d->waiting.next), now_ms);
  } while (!tavi__list_empty(&d->changed));
  set_clock(d, now_ms);
}

static void on_clock_ready(struct tavi__watch *w, unsigned events) {
  (void) events;
  pump(w->owner);
}

static void on_clock_deadline(struct tavi__watch *w) { pump(w->owner); }

/* ==== the end ==== */

static void abandon(struct tavi__node *questions, struct tavi__node *waiters) {
  while (!tavi__list_empty(questions)) {
    struct tavi__dns_question *q = question_at(questions->next);
    take_waiters(q, waiters);
    drop_name(q);
    give_up(q);
  }
}

/* The manager closes everything. It may go on afterwards: then all is opened again, and the cache is still there. */
static void shut(struct dns *d) {
  struct tavi__node waiters;
  d->clock = NULL;
  tavi__list_init(&waiters);
  abandon(&d->waiting, &waiters);
  abandon(&d->asked, &waiters);
  tavi__dns_channel_close(d->channel);
  d->channel = NULL;
  while (!tavi__list_empty(&d->given_up)) question_free(question_at(d->given_up.next));
  while (!tavi__list_empty(&waiters)) {
    struct tavi__lookup *l = pop(d, &waiters);
    l->on_failed(l, TAVI_E_CLOSED, tavi_err_text(TAVI_E_CLOSED));
  }
}

static void on_clock_lost(struct tavi__watch *w) { shut(w->owner); }

static const struct tavi__watch_ops clock_ops = {
    .on_ready = on_clock_ready, .on_deadline = on_clock_deadline, .on_lost = on_clock_lost};

static void end(struct tavi__part *part, struct tavi_manager *m) {
  struct dns *d = TAVI__CONTAINER(part, struct dns, part);
  (void) m;
  tavi__dns_cache_free(&d->cache);
  free(d);
}

/* ==== the hook ==== */

static struct dns *dns_of(struct tavi_manager *m) {
  struct tavi__part *part = tavi__manager_part(m, &part_key);
  return part != NULL ? TAVI__CONTAINER(part, struct dns, part) : NULL;
}

static struct dns *dns_new(struct tavi_manager *m) {
  struct dns *d = calloc(1, sizeof(*d));
  if (d == NULL) return NULL;

  if (tavi__dns_cache_init(&d->cache, (uint32_t) ((uintptr_t) d >> 4) ^ (uint32_t) tavi__manager_now(m)) < 0) {
    free(d);
    return NULL;
  }
  d->part = (struct tavi__part){.key = &part_key, .end = end};
  d->m = m;
  tavi__list_init(&d->waiting);
  tavi__list_init(&d->asked);
  tavi__list_init(&d->given_up);
  tavi__list_init(&d->changed);
  tavi__list_init(&d->delayed);
  tavi__manager_add_part(m, &d->part);
  return d;
}

/* NULL, or why this is no host name (RFC 1123 section 2.1, and '_', which many use), or one that is known not to exist
 * (RFC 6761 section 6.4). */
static const char *fault_of(const char *host) {
  static const char invalid[] = ".invalid";
  size_t len = strlen(host), label = 0;
  if (len > 0 && host[len - 1] == '.') len--;
  if (len > 253) return "the name is too long";
  size_t tail = sizeof(invalid) - 1;
  if (len > tail && strncasecmp(host + len - tail, invalid, tail) == 0) return "no such name (.invalid)";
  for (size_t i = 0; i < len; i++, label++) {
    if ((unsigned char) host[i] >= 0x80) return "the name is not ASCII; its xn-- form is needed";
    if (host[i] != '.') continue;
    if (label == 0) return "not a host name";
    if (label > 63) return "a label of the name is too long";
    label = (size_t) -1;
  }
  return label == 0 ? "not a host name" : label > 63 ? "a label of the name is too long" : NULL;
}

static int ask(struct dns *d, struct tavi__lookup *l, const char *host) {
  int err = d->clock != NULL ? 0 : tavi__watch_new(d->m, -1, &clock_ops, d, &d->clock);
  struct tavi__dns_question *q = err < 0 ? NULL : question_new(d, host);
  if (q == NULL) return err < 0 ? err : TAVI_E_NOMEM;

  l->asked = q;
  tavi__list_append(&q->waiters, &l->node);
  d->waiter_count++;
  tavi__source_again(&d->clock->src);
  return 0;
}

/* Another one who waits; it hears at once what the others have heard. */
static void join(struct dns *d, struct tavi__lookup *l, struct tavi__dns_question *q) {
  l->asked = q;
  tavi__list_append(&q->waiters, &l->node);
  d->waiter_count++;
  for (int i = V6; i <= V4; i++) {
    if (!q->families[i].is_told) continue;
    struct tavi__dns_result r = q->families[i].r;
    l->on_found(l, r.addrs, r.count, false);
    return;
  }
}

static int start(struct tavi_manager *m, struct tavi__lookup *l, const char *host, const char **ret_why) {
  struct dns *d = dns_of(m);
  int err = 0;
  l->node = (struct tavi__node){NULL, NULL};
  *ret_why = fault_of(host);
  if (*ret_why != NULL) return TAVI_E_RESOLVE;
  if (d == NULL) d = dns_new(m);
  struct tavi__dns_name *name = d == NULL ? NULL : tavi__dns_cache_find(&d->cache, host, tavi__manager_now(m));
  if (name != NULL && name->question != NULL) {
    join(d, l, name->question);
  } else if (name != NULL) {
    struct tavi__dns_answer a = name->answer;
    *ret_why = a.why;
    err = a.err;
    if (err == 0) l->on_found(l, a.addrs, a.count, true);
  } else {
    err = d == NULL ? TAVI_E_NOMEM : ask(d, l, host);
    if (err < 0) *ret_why = tavi_err_text(err);
  }
  return err;
}

static void cancel(struct tavi_manager *m, struct tavi__lookup *l) {
  if (!is_linked(&l->node)) return;
  struct dns *d = dns_of(m);
  struct tavi__dns_question *q = l->asked;
  tavi__list_remove(&l->node);
  d->waiter_count--;
  if (q != NULL && !q->is_asked && tavi__list_empty(&q->waiters)) {
    drop_name(q);
    give_up(q);
  }
  if (d->waiter_count == 0 && d->asked_count > 0 && d->clock != NULL) tavi__source_again(&d->clock->src);
}

static const struct tavi__resolver resolver = {.start = start, .cancel = cancel};

int tavi__dns_install(struct tavi_manager *m) {
  if (m->opts.dns_servers != NULL && tavi__dns_servers(m->opts.dns_servers, NULL) < 0) return TAVI_E_ARG;
  if (m->opts.dns_timeout_ms == 0) return TAVI_E_ARG;
  m->resolver = &resolver;
  return 0;
}
