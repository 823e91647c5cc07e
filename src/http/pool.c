/* SPDX-License-Identifier: MIT
 *
 * Links by the place they lead to: a scheme, host and port, or a proxy, behind which all hosts share them.
 *
 * The idle link that was used last is used next, since its server is the least likely to have closed it. A link that
 * has just told its response counts as idle a moment later, when what lies behind the response is known to be nothing;
 * calls that its on_done begins wait for that and do not open another. Hosts without links and calls are forgotten. */
#include <stdlib.h>
#include <string.h>

#include "http/request.h"

enum { HOSTS_CAP_MIN = 64 };

static const char part_key;

/* ==== options ==== */

void tavi_http_client_opts_init(struct tavi_http_client_opts *opts) {
  *opts = (struct tavi_http_client_opts){
      .conns_per_host_max = 64,
      .idle_per_host_max = 64,
      .idle_max = 256,
      .idle_timeout_ms = 30000,
      .head_bytes_max = (size_t) 64 << 10,
      .header_count_max = 128,
  };
}

/* ==== the pool ==== */

static void end_pool(struct tavi__part *part, struct tavi_manager *m) {
  struct tavi__http_pool *pool = TAVI__CONTAINER(part, struct tavi__http_pool, part);
  (void) m;
  free(pool->hosts); /* the hosts went with their links */
  free(pool->scratch);
  free(pool);
}

static void on_watch_ready(struct tavi__watch *w, unsigned events) {
  (void) events;
  tavi__http_tell_failed(w->owner);
}

static void on_watch_lost(struct tavi__watch *w) {
  struct tavi__http_pool *pool = w->owner;
  pool->watch = NULL; /* from here on failures are told at once */
  tavi__http_tell_failed(pool);
}

static const struct tavi__watch_ops watch_ops = {.on_ready = on_watch_ready, .on_lost = on_watch_lost};

static struct tavi__http_pool *find_pool(const struct tavi_manager *m) {
  struct tavi__part *part = tavi__manager_part(m, &part_key);
  return part == NULL ? NULL : TAVI__CONTAINER(part, struct tavi__http_pool, part);
}

struct tavi__http_pool *tavi__http_pool_of(struct tavi_manager *m) {
  struct tavi__http_pool *pool = find_pool(m);
  if (pool != NULL) return pool;

  pool = calloc(1, sizeof(*pool));
  if (pool == NULL) return NULL;
  pool->hosts = calloc(HOSTS_CAP_MIN, sizeof(struct tavi__http_host *));
  pool->scratch = malloc(TAVI__DECODE_PIECE_BYTES);
  if (pool->hosts == NULL || pool->scratch == NULL) {
    end_pool(&pool->part, m);
    return NULL;
  }
  pool->part = (struct tavi__part){NULL, &part_key, end_pool};
  pool->m = m;
  pool->host_cap = HOSTS_CAP_MIN;
  tavi__list_init(&pool->failed);
  tavi__list_init(&pool->idle);
  tavi_http_client_opts_init(&pool->opts);
  tavi__manager_add_part(m, &pool->part);
  return pool;
}

bool tavi__http_pool_wake(struct tavi__http_pool *pool) {
  return pool->watch != NULL || tavi__watch_new(pool->m, -1, &watch_ops, pool, &pool->watch) == 0;
}

void tavi_http_client_stats(const struct tavi_manager *m, struct tavi_http_client_stats *ret_stats) {
  const struct tavi__http_pool *pool = find_pool(m);
  *ret_stats = (struct tavi_http_client_stats){0};
  if (pool == NULL) return;
  *ret_stats = (struct tavi_http_client_stats){pool->call_count, pool->waiting_count, pool->conn_count,
                                               pool->idle_count, pool->conns_opened};
}

/* ==== hosts ==== */

static uint32_t hash_of(const char *url, size_t len, bool is_proxy) { /* FNV-1a */
  uint32_t hash = is_proxy ? 1 : 2166136261u;
  for (size_t i = 0; i < len; i++) hash = (hash ^ (unsigned char) url[i]) * 16777619u;
  return hash;
}

/* A fuller table is slower, and that is all: so it does not matter when there is no memory for a larger one. */
static void grow(struct tavi__http_pool *pool) {
  size_t cap = pool->host_cap * 2;
  struct tavi__http_host **hosts = calloc(cap, sizeof(struct tavi__http_host *));
  if (hosts == NULL) return;
  for (size_t i = 0; i < pool->host_cap; i++) {
    while (pool->hosts[i] != NULL) {
      struct tavi__http_host *host = pool->hosts[i];
      pool->hosts[i] = host->next;
      host->next = hosts[host->hash & (cap - 1)];
      hosts[host->hash & (cap - 1)] = host;
    }
  }
  free(pool->hosts);
  pool->hosts = hosts;
  pool->host_cap = cap;
}

static struct tavi__http_host *host_of(struct tavi__http_pool *pool, const char *url, size_t len, bool is_proxy) {
  uint32_t hash = hash_of(url, len, is_proxy);
  struct tavi__http_host *host = pool->hosts[hash & (pool->host_cap - 1)];
  for (; host != NULL; host = host->next)
    if (host->hash == hash && host->is_proxy == is_proxy && strncmp(host->url, url, len) == 0 && host->url[len] == '\0')
      return host;

  host = calloc(1, sizeof(*host) + len + 1);
  if (host == NULL) return NULL;
  if (pool->host_count >= pool->host_cap) grow(pool);
  host->pool = pool;
  host->hash = hash;
  host->is_proxy = is_proxy;
  memcpy(host->url, url, len);
  tavi__list_init(&host->waiting);
  tavi__list_init(&host->idle);
  host->next = pool->hosts[hash & (pool->host_cap - 1)];
  pool->hosts[hash & (pool->host_cap - 1)] = host;
  pool->host_count++;
  return host;
}

static void forget_unused(struct tavi__http_host *host) {
  struct tavi__http_pool *pool = host->pool;
  if (host->conn_count > 0 || host->busy > 0 || !tavi__list_empty(&host->waiting)) return;
  struct tavi__http_host **at = &pool->hosts[host->hash & (pool->host_cap - 1)];
  while (*at != host) at = &(*at)->next;
  *at = host->next;
  pool->host_count--;
  free(host);
}

/* ==== links ==== */

static void take_from_idle(struct tavi__http_link *link) {
  if (link->by_host.next == NULL) return;
  tavi__list_remove(&link->by_host);
  tavi__list_remove(&link->by_age);
  link->host->idle_count--;
  link->host->pool->idle_count--;
}

void tavi__http_link_retire(struct tavi__http_link *link) {
  take_from_idle(link);
  tavi__http_link_drop(link);
}

static void enforce_limits(struct tavi__http_host *host) {
  struct tavi__http_pool *pool = host->pool;
  while (host->idle_count > pool->opts.idle_per_host_max)
    tavi__http_link_retire(TAVI__CONTAINER(host->idle.prev, struct tavi__http_link, by_host));
  while (pool->idle_count > pool->opts.idle_max)
    tavi__http_link_retire(TAVI__CONTAINER(pool->idle.next, struct tavi__http_link, by_age));
}

void tavi__http_link_keep(struct tavi__http_link *link) {
  struct tavi__http_host *host = link->host;
  struct tavi__http_pool *pool = host->pool;
  tavi__list_append(host->idle.next, &link->by_host); /* before the first */
  tavi__list_append(&pool->idle, &link->by_age);
  host->idle_count++;
  pool->idle_count++;
  uint32_t limit_ms = pool->opts.idle_timeout_ms;
  tavi__conn_read_deadline(link->c, limit_ms != 0 ? tavi__manager_now(pool->m) + limit_ms : 0);
}

void tavi__http_link_gone(struct tavi__http_link *link) {
  struct tavi__http_host *host = link->host;
  take_from_idle(link);
  host->conn_count--;
  host->pool->conn_count--;
  if (link->is_finishing) host->finishing--;
  free(link);
  tavi__http_dispatch(host);
}

static int open_link(struct tavi__http_host *host, const struct tavi_http_call *call,
                     struct tavi__http_link **ret_link) {
  struct tavi__http_pool *pool = host->pool;
  struct tavi_http_opts opts;
  tavi_http_opts_init(&opts);
  opts.listen.conn.connect_timeout_ms = call->req.connect_timeout_ms;
  opts.head_bytes_max = pool->opts.head_bytes_max;
  opts.header_count_max = pool->opts.header_count_max;
  opts.body_bytes_max = SIZE_MAX; /* the call has one of its own */

  struct tavi__http_link *link = calloc(1, sizeof(*link));
  if (link == NULL) return TAVI_E_NOMEM;
  struct tavi__http_conf *conf = tavi__http_conf_new(&tavi__http_link, &opts, &tavi__http_link_handlers);
  int err = TAVI_E_NOMEM;
  link->host = host;
  if (conf != NULL)
    err = tavi__connect(pool->m, host->url, "80", &conf->base, &tavi__http_link_handlers.conn, link, &link->c);
  if (err < 0) {
    free(link);
    return err;
  }
  link->c->src.ops = &tavi__stream_untold_ops;
  host->conn_count++;
  pool->conn_count++;
  pool->conns_opened++;
  *ret_link = link;
  return 0;
}

/* ==== calls that wait ==== */

int tavi__http_enqueue(struct tavi_http_call *call, bool is_first) {
  struct tavi__http_pool *pool = call->pool;
  const char *url = call->proxy != NULL ? call->proxy : call->url;
  size_t len = call->proxy != NULL ? strlen(call->proxy) : call->origin_len;
  struct tavi__http_host *host = host_of(pool, url, len, call->proxy != NULL);
  if (host == NULL) return TAVI_E_NOMEM;

  call->host = host;
  call->is_waiting = true;
  pool->waiting_count++;
  tavi__list_append(is_first ? host->waiting.next : &host->waiting, &call->node);
  tavi__http_dispatch(host);
  return 0;
}

static void unlink_waiting(struct tavi_http_call *call) {
  tavi__list_remove(&call->node);
  call->is_waiting = false;
  call->pool->waiting_count--;
}

void tavi__http_dequeue(struct tavi_http_call *call) {
  struct tavi__http_host *host = call->host;
  if (call->is_waiting) {
    unlink_waiting(call);
    forget_unused(host);
  }
  call->host = NULL;
}

/* An idle link, or a new one. Returns 0 and *ret_link NULL when none is to be had now. */
static int take_link(struct tavi__http_host *host, const struct tavi_http_call *call,
                     struct tavi__http_link **ret_link) {
  bool wants_new = call->req.uses_new_connection || call->was_retried;
  *ret_link = NULL;
  if (!wants_new && !tavi__list_empty(&host->idle)) {
    *ret_link = TAVI__CONTAINER(host->idle.next, struct tavi__http_link, by_host);
    take_from_idle(*ret_link);
    return 0;
  }
  if (host->conn_count < host->pool->opts.conns_per_host_max) return open_link(host, call, ret_link);
  if (!tavi__list_empty(&host->idle)) /* its end makes room */
    tavi__http_link_retire(TAVI__CONTAINER(host->idle.prev, struct tavi__http_link, by_host));
  return 0;
}

void tavi__http_dispatch(struct tavi__http_host *host) {
  host->busy++;
  while (!tavi__list_empty(&host->waiting) && host->finishing == 0) {
    struct tavi_http_call *call = TAVI__CONTAINER(host->waiting.next, struct tavi_http_call, node);
    struct tavi__http_link *link;
    int err = take_link(host, call, &link);
    if (err == 0 && link == NULL) break;
    unlink_waiting(call);
    if (err < 0)
      tavi__http_call_fail(call, err, tavi_err_text(err));
    else
      tavi__http_exchange(link, call);
  }
  host->busy--;
  enforce_limits(host);
  forget_unused(host);
}

int tavi_http_client_set(struct tavi_manager *m, const struct tavi_http_client_opts *opts) {
  if (opts == NULL || opts->conns_per_host_max == 0 || opts->header_count_max == 0 ||
      opts->header_count_max > TAVI_HTTP_HEADERS_MAX || opts->head_bytes_max > UINT32_MAX / 2)
    return TAVI_E_ARG;
  struct tavi__http_pool *pool = tavi__http_pool_of(m);
  if (pool == NULL) return TAVI_E_NOMEM;
  pool->opts = *opts;
  for (size_t i = 0; i < pool->host_cap; i++)
    for (struct tavi__http_host *host = pool->hosts[i]; host != NULL; host = host->next) enforce_limits(host);
  return 0;
}
