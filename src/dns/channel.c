/* SPDX-License-Identifier: MIT
 *
 * See channel.h. There are two c-ares channels: one that reads the hosts file and the configuration, and one that asks
 * name servers and knows neither the hosts file nor a search list.
 *
 * Addresses come in the order of the answer (ARES_AI_NOSORT): sorting costs a socket per address, of which an answer
 * may have thousands, and undoes the rotation by which servers spread load. */
#include "dns/channel.h"

#include <ares.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/endpoint.h"
#include "net/watch.h"

enum {
  TRIES = 2,       /* of each server; the second one waits twice as long, */
  WAITS = 1 + 2,   /* so that all of it is as many times the first wait */
  WAIT_MS_MIN = 50
};

struct tavi__dns_channel {
  ares_channel files, servers; /* NULL: not open */
  struct ares_options config;  /* of the system: domains, ndots */
  bool has_config;
  struct tavi_manager *m;
  void (*on_progress)(void *owner);
  void *owner;
  struct tavi__node sockets;   /* struct watched */
};

struct watched {
  struct tavi__node node;
  struct tavi__dns_channel *ch;
  struct tavi__watch *watch;
  ares_socket_t fd;
};

/* ==== the sockets of c-ares ==== */

static void forget(struct watched *s) {
  tavi__list_remove(&s->node);
  free(s);
}

static void on_ready(struct tavi__watch *w, unsigned events) {
  struct watched *s = w->owner;
  struct tavi__dns_channel *ch = s->ch;
  bool is_over = events & TAVI__HUP; /* c-ares finds out why */
  ares_process_fd(ch->servers, events & TAVI__IN || is_over ? s->fd : ARES_SOCKET_BAD,
                  events & TAVI__OUT || is_over ? s->fd : ARES_SOCKET_BAD);
  ch->on_progress(ch->owner); /* s may be gone */
}

/* Queries on it will time out. */
static void on_lost(struct tavi__watch *w) { forget(w->owner); }

static const struct tavi__watch_ops watch_ops = {.on_ready = on_ready, .on_lost = on_lost};

static struct watched *watch(struct tavi__dns_channel *ch, ares_socket_t fd) {
  struct watched *s = malloc(sizeof(*s));
  if (s == NULL) return NULL;

  *s = (struct watched){.ch = ch, .fd = fd};
  if (tavi__watch_new(ch->m, fd, &watch_ops, s, &s->watch) < 0) {
    free(s);
    return NULL;
  }
  tavi__list_append(&ch->sockets, &s->node);
  return s;
}

/* c-ares has opened a socket, waits for something else, or is about to close it (neither readable nor writable). */
static void on_socket(void *data, ares_socket_t fd, int readable, int writable) {
  struct tavi__dns_channel *ch = data;
  struct watched *s = NULL;
  for (struct tavi__node *n = ch->sockets.next; n != &ch->sockets && s == NULL; n = n->next) {
    struct watched *each = TAVI__CONTAINER(n, struct watched, node);
    if (each->fd == fd) s = each;
  }
  if (!readable && !writable) {
    if (s == NULL) return;
    tavi__watch_end(s->watch);
    forget(s);
    return;
  }
  if (s == NULL) s = watch(ch, fd);
  if (s != NULL) tavi__source_want(&s->watch->src, (readable ? TAVI__IN : 0u) | (writable ? TAVI__OUT : 0u));
}

/* ==== configuration ==== */

static bool parse_server(const char *text, size_t len, struct tavi__peer *ret_server) {
  char server[64];
  struct tavi__endpoint ep;
  struct tavi__sockaddr a;
  while (len > 0 && *text == ' ') text++, len--;
  while (len > 0 && text[len - 1] == ' ') len--;
  if (len >= sizeof(server)) return false;
  memcpy(server, text, len);
  server[len] = 0;
  if (!tavi__sockaddr_ip(server, 53, &a)) {
    if (tavi__endpoint_parse(server, "53", &ep) < 0 || ep.kind != TAVI__EP_HOST || ep.port == 0) return false;
    if (!tavi__sockaddr_ip(ep.host, ep.port, &a)) return false;
  }
  tavi__sockaddr_to_peer(&a, ret_server);
  return true;
}

int tavi__dns_servers(const char *text, struct tavi__peer ret_servers[TAVI__DNS_SERVERS_MAX]) {
  struct tavi__peer server;
  for (int count = 0; count < TAVI__DNS_SERVERS_MAX; count++) {
    size_t len = strcspn(text, ",");
    if (!parse_server(text, len, &server)) return TAVI_E_ARG;
    if (ret_servers != NULL) ret_servers[count] = server;
    if (text[len] == 0) return count + 1;
    text += len + 1;
  }
  return TAVI_E_ARG;
}

static int set_servers(ares_channel channel, const struct tavi__peer *servers, int count) {
  struct ares_addr_port_node nodes[TAVI__DNS_SERVERS_MAX];
  for (int i = 0; i < count; i++) {
    const struct tavi__peer *s = &servers[i];
    nodes[i] = (struct ares_addr_port_node){
        .next = i + 1 < count ? &nodes[i + 1] : NULL, .udp_port = s->port, .tcp_port = s->port};
    nodes[i].family = s->family == 4 ? AF_INET : AF_INET6;
    memcpy(&nodes[i].addr, s->ip, s->family == 4 ? 4 : 16);
  }
  return ares_set_servers_ports(channel, nodes);
}

static int count_servers(ares_channel channel) {
  struct ares_addr_port_node *servers = NULL;
  int count = 0;
  if (ares_get_servers_ports(channel, &servers) != ARES_SUCCESS) return 1;
  for (const struct ares_addr_port_node *s = servers; s != NULL; s = s->next) count++;
  ares_free_data(servers);
  return count > 0 ? count : 1;
}

/* The channel that reads files, and what it has read of the configuration. */
static int open_files(struct tavi__dns_channel *ch) {
  char lookups[] = "f";
  struct ares_options opts = {.lookups = lookups};
  int mask = 0, status = ares_init_options(&ch->files, &opts, ARES_OPT_LOOKUPS);
  if (status != ARES_SUCCESS) ch->files = NULL;
  if (status == ARES_SUCCESS) status = ares_save_options(ch->files, &ch->config, &mask);
  ch->has_config = status == ARES_SUCCESS;
  return status;
}

/* The whole of the time goes to two rounds through all servers. One server alone is believed when it says that it has
 * failed; of several, another one is asked first. */
static int open_servers(struct tavi__dns_channel *ch) {
  struct tavi__peer own[TAVI__DNS_SERVERS_MAX];
  const char *text = ch->m->opts.dns_servers;
  int own_count = text != NULL ? tavi__dns_servers(text, own) : 0;
  int count = own_count > 0 ? own_count : count_servers(ch->files);
  char lookups[] = "b";
  struct ares_options opts = {
      .flags = count == 1 ? ARES_FLAG_NOCHECKRESP : 0,
      .timeout = (int) (ch->m->opts.dns_timeout_ms / (unsigned) (WAITS * count)),
      .tries = TRIES,
      .lookups = lookups,
      .ndomains = 0,
      .sock_state_cb = on_socket,
      .sock_state_cb_data = ch,
  };
  if (opts.timeout < WAIT_MS_MIN) opts.timeout = WAIT_MS_MIN;
  int status = ares_init_options(&ch->servers, &opts,
                                 ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_LOOKUPS |
                                     ARES_OPT_DOMAINS | ARES_OPT_SOCK_STATE_CB);
  if (status != ARES_SUCCESS) ch->servers = NULL;
  if (status == ARES_SUCCESS && own_count > 0) status = set_servers(ch->servers, own, own_count);
  return status;
}

int tavi__dns_channel_open(struct tavi_manager *m, void (*on_progress)(void *owner), void *owner,
                           struct tavi__dns_channel **ret_channel) {
  struct tavi__dns_channel *ch = calloc(1, sizeof(*ch));
  if (ch == NULL) return TAVI_E_NOMEM;

  ch->m = m;
  ch->on_progress = on_progress;
  ch->owner = owner;
  tavi__list_init(&ch->sockets);
  int status = open_files(ch);
  if (status == ARES_SUCCESS) status = open_servers(ch);
  if (status != ARES_SUCCESS) {
    tavi__dns_channel_close(ch);
    return status == ARES_ENOMEM ? TAVI_E_NOMEM : TAVI_E_RESOLVE;
  }
  *ret_channel = ch;
  return 0;
}

void tavi__dns_channel_close(struct tavi__dns_channel *ch) {
  if (ch == NULL) return;
  if (ch->servers != NULL) ares_destroy(ch->servers); /* closes its sockets, through on_socket() */
  if (ch->files != NULL) ares_destroy(ch->files);
  if (ch->has_config) ares_destroy_options(&ch->config);
  free(ch);
}

/* ==== the search list (resolv.conf(5)) ==== */

/* name "." domain; false when that is too long for a name. */
static bool join(const char *host, const char *domain, char ret_name[TAVI__DNS_NAME_BYTES]) {
  bool has_domain = domain[0] != 0 && strcmp(domain, ".") != 0;
  int n = snprintf(ret_name, TAVI__DNS_NAME_BYTES, "%s%s%s", host, has_domain ? "." : "", has_domain ? domain : "");
  return n > 0 && n < TAVI__DNS_NAME_BYTES;
}

bool tavi__dns_channel_candidate(const struct tavi__dns_channel *ch, const char *host, int n,
                                 char ret_name[TAVI__DNS_NAME_BYTES]) {
  size_t len = strlen(host);
  int dots = 0;
  for (size_t i = 0; i < len; i++) dots += host[i] == '.';
  bool is_absolute = host[len - 1] == '.';
  int domain_count = is_absolute ? 0 : ch->config.ndomains;
  int own_place = is_absolute || dots >= ch->config.ndots ? 0 : domain_count; /* few dots: the domains come first */
  if (n > domain_count) return false;
  return n == own_place ? join(host, "", ret_name) : join(host, ch->config.domains[n - (own_place == 0)], ret_name);
}

/* ==== results ==== */

static void fail(struct tavi__dns_result *r, enum tavi__dns_outcome outcome, int err, const char *why) {
  *r = (struct tavi__dns_result){.outcome = outcome, .err = err, .why = why, .ttl_ms = TAVI__DNS_FAILURE_MS};
}

static void set_failure(struct tavi__dns_result *r, int status) {
  switch (status) {
    case ARES_ENOTFOUND: fail(r, TAVI__DNS_NO_NAME, TAVI_E_RESOLVE, "no such name (NXDOMAIN)"); return;
    case ARES_ENODATA: fail(r, TAVI__DNS_NO_ADDRESS, TAVI_E_RESOLVE, "the name has no address"); return;
    case ARES_ESERVFAIL: fail(r, TAVI__DNS_REFUSED, TAVI_E_RESOLVE, "the name server failed (SERVFAIL)"); return;
    case ARES_EREFUSED: fail(r, TAVI__DNS_REFUSED, TAVI_E_RESOLVE, "the name server refuses (REFUSED)"); return;
    case ARES_EFORMERR:
    case ARES_ENOTIMP: fail(r, TAVI__DNS_REFUSED, TAVI_E_RESOLVE, "the name server does not take the question"); return;
    case ARES_EBADRESP: fail(r, TAVI__DNS_REFUSED, TAVI_E_RESOLVE, "the name server's answer is malformed"); return;
    case ARES_ETIMEOUT: fail(r, TAVI__DNS_FAILED, TAVI_E_TIMEOUT, "no name server answers"); return;
    case ARES_ECONNREFUSED: fail(r, TAVI__DNS_FAILED, TAVI_E_RESOLVE, "no name server can be reached"); return;
    case ARES_EBADNAME: fail(r, TAVI__DNS_FAILED, TAVI_E_RESOLVE, "not a host name"); return;
    case ARES_ENOMEM: fail(r, TAVI__DNS_FAILED, TAVI_E_NOMEM, tavi_err_text(TAVI_E_NOMEM)); break;
    case ARES_ECANCELLED:
    case ARES_EDESTRUCTION: fail(r, TAVI__DNS_FAILED, TAVI_E_CLOSED, "cancelled"); break;
    default: fail(r, TAVI__DNS_FAILED, TAVI_E_RESOLVE, "the name cannot be looked up"); break;
  }
  r->ttl_ms = 0;
}

/* RFC 2181 section 8: a negative one is none. */
static void cap_ttl(struct tavi__dns_result *r, int ttl_s) {
  uint64_t ms = ttl_s > 0 ? (uint64_t) ttl_s * 1000 : 0;
  if (ms < r->ttl_ms) r->ttl_ms = (uint32_t) ms;
}

/* The first addresses, and the shortest of all times. */
static void set_found(struct tavi__dns_result *r, const struct ares_addrinfo *res) {
  *r = (struct tavi__dns_result){.outcome = TAVI__DNS_FOUND, .ttl_ms = TAVI__DNS_TTL_MS_MAX};
  for (const struct ares_addrinfo_cname *c = res->cnames; c != NULL; c = c->next) cap_ttl(r, c->ttl);
  for (const struct ares_addrinfo_node *n = res->nodes; n != NULL && r->count < TAVI__ADDRS_MAX; n = n->ai_next) {
    struct tavi__sockaddr a = {.len = n->ai_addrlen};
    if (n->ai_addrlen > sizeof(a.u)) continue;
    memcpy(a.u.bytes, n->ai_addr, n->ai_addrlen);
    tavi__sockaddr_to_peer(&a, &r->addrs[r->count]);
    cap_ttl(r, n->ai_ttl);
    if (r->addrs[r->count].family != 0) r->count++;
  }
  if (r->count == 0) set_failure(r, ARES_ENODATA);
}

static void take(struct tavi__dns_result *r, int status, struct ares_addrinfo *res) {
  if (status == ARES_SUCCESS && res != NULL)
    set_found(r, res);
  else
    set_failure(r, status == ARES_SUCCESS ? ARES_ENODATA : status);
  ares_freeaddrinfo(res);
}

/* ==== asking ==== */

struct query {
  tavi__dns_result_fn fn;
  void *arg;
};

static void on_answer(void *arg, int status, int timeouts, struct ares_addrinfo *res) {
  struct query q = *(struct query *) arg;
  struct tavi__dns_result r;
  (void) timeouts;
  free(arg);
  take(&r, status, res);
  q.fn(q.arg, &r);
}

void tavi__dns_channel_ask(struct tavi__dns_channel *ch, const char *name, int family, tavi__dns_result_fn fn,
                           void *arg) {
  struct ares_addrinfo_hints hints = {.ai_flags = ARES_AI_NOSORT, .ai_family = family == 6 ? AF_INET6 : AF_INET};
  struct query *q = malloc(sizeof(*q));
  if (q == NULL) {
    struct tavi__dns_result r;
    set_failure(&r, ARES_ENOMEM);
    fn(arg, &r);
    return;
  }
  *q = (struct query){fn, arg};
  ares_getaddrinfo(ch->servers, name, NULL, &hints, on_answer, q);
}

static void on_file_read(void *arg, int status, int timeouts, struct ares_addrinfo *res) {
  (void) timeouts;
  take(arg, status, res);
}

bool tavi__dns_channel_hosts(struct tavi__dns_channel *ch, const char *host, struct tavi__dns_result *ret_result) {
  struct ares_addrinfo_hints hints = {.ai_flags = ARES_AI_NOSORT | ARES_AI_ENVHOSTS, .ai_family = AF_UNSPEC};
  ares_getaddrinfo(ch->files, host, NULL, &hints, on_file_read, ret_result); /* a file: done when it returns */
  ret_result->ttl_ms = TAVI__DNS_HOSTS_MS; /* files have no times */
  return ret_result->outcome == TAVI__DNS_FOUND;
}

void tavi__dns_channel_cancel(struct tavi__dns_channel *ch) { ares_cancel(ch->servers); }

void tavi__dns_channel_process(struct tavi__dns_channel *ch) {
  ares_process_fd(ch->servers, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
}

uint64_t tavi__dns_channel_due_ms(struct tavi__dns_channel *ch, uint64_t now_ms) {
  struct timeval tv, *next = ares_timeout(ch->servers, NULL, &tv);
  if (next == NULL) return 0;
  return now_ms + (uint64_t) next->tv_sec * 1000 + (uint64_t) next->tv_usec / 1000 + 1; /* rounded down: one more */
}
