/* SPDX-License-Identifier: MIT
 *
 * Who has asked, when proxies stand between. Each proxy tells of the one before it, so the chain is walked from our
 * side: the connection's peer is known; what it tells of its own peer is believed if it is trusted, and so on.
 *
 * Forwarded and X-Forwarded-For are two such chains. A proxy that writes one hands on the other as its client has sent
 * it, and from here nobody can tell which is which. So when a request has both, only what they agree on is believed:
 * a client may then hide itself, but not pass for another. */
#include "base/limits.h"
#include "http/http.h"
#include "net/trust.h"
#include "tavi/http_auth.h"
#include "wire/forwarded.h"

/* ==== without proxies ==== */

static bool is(struct tavi_slice s, const char *text, size_t len) {
  return s.len == len && memcmp(s.ptr, text, len) == 0;
}

/* The authority that the target itself names, "http://here/path" or "CONNECT here:443"; empty: none. The head was
 * judged: what does not begin with '/' or '*' has one of these forms. */
static struct tavi_slice target_authority(const struct tavi_http_msg *msg) {
  struct tavi_slice target = msg->target, none = {NULL, 0};
  if (target.len == 0 || target.ptr[0] == '/' || target.ptr[0] == '*') return none;
  if (is(msg->method, "CONNECT", 7)) return target;

  const char *end = target.ptr + target.len, *p = memchr(target.ptr, ':', target.len);
  if (p == NULL || end - p < 3) return none;
  p += 3;
  const char *behind = p;
  while (behind < end && *behind != '/' && *behind != '?') behind++;
  return (struct tavi_slice){p, (size_t) (behind - p)};
}

static struct tavi_slice asked_host(const struct tavi_http_msg *msg) {
  const struct tavi_slice *host = tavi_http_header(msg, "Host");
  return host != NULL ? *host : target_authority(msg);
}

static void ask_connection(const struct tavi_conn *c, const struct tavi_http_msg *msg,
                           struct tavi_http_origin *ret_origin) {
  *ret_origin = (struct tavi_http_origin){.scheme = {"http", 4}, .host = asked_host(msg)};
  tavi_conn_remote_addr(c, &ret_origin->client);
}

/* ==== one chain ==== */

/* The client as far as this chain can be believed; family 0: not told. */
struct chain {
  struct tavi__peer client;
  struct tavi__forwarded told; /* scheme and host */
};

static void walk(const struct tavi__trust *trust, const struct tavi__peer *from, const struct tavi_http_msg *msg,
                 enum tavi__forwarded_kind kind, struct chain *ret_chain) {
  static const struct tavi__peer nobody;
  struct tavi__forwarded_at at = {.field = 0};
  struct chain chain = {.client = *from};
  while (tavi__trust_has(trust, &chain.client)) {
    int status = tavi__forwarded_back(msg, kind, &at, &chain.told);
    if (status == TAVI_WIRE_MORE) break;
    bool is_told = status == TAVI_WIRE_EVENT && at.element <= TAVI__FORWARDED_HOPS &&
                   tavi__peer_of_text(chain.told.address, chain.told.port, &chain.client);
    if (!is_told) {
      chain.client = nobody;
      break;
    }
  }
  if (kind == TAVI__X_FORWARDED) tavi__x_forwarded_rest(msg, &at, &chain.told);
  *ret_chain = chain;
}

/* ==== two chains ==== */

static bool same_address(const struct tavi__peer *a, const struct tavi__peer *b) {
  return a->family == b->family && memcmp(a->ip, b->ip, sizeof(a->ip)) == 0;
}

static bool same_text(struct tavi_slice a, struct tavi_slice b) {
  return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* Leave in `a` what `b` says as well. */
static void agree(struct chain *a, const struct chain *b) {
  static const struct tavi_slice nothing;
  if (!same_address(&a->client, &b->client)) a->client.family = 0;
  if (a->client.port != b->client.port) a->client.port = 0;
  if (!same_text(a->told.scheme, b->told.scheme)) a->told.scheme = nothing;
  if (!same_text(a->told.host, b->told.host)) a->told.host = nothing;
}

static void ask_proxies(const struct tavi__trust *trust, const struct tavi__peer *from,
                        const struct tavi_http_msg *msg, struct chain *ret_chain) {
  struct chain other;
  bool has_both = tavi__forwarded_has(msg, TAVI__FORWARDED) && tavi__forwarded_has(msg, TAVI__X_FORWARDED);
  walk(trust, from, msg, tavi__forwarded_has(msg, TAVI__FORWARDED) ? TAVI__FORWARDED : TAVI__X_FORWARDED, ret_chain);
  if (!has_both) return;
  walk(trust, from, msg, TAVI__X_FORWARDED, &other);
  agree(ret_chain, &other);
}

/* ==== the answer ==== */

static void tell(const struct tavi__peer *from, const struct chain *chain, struct tavi_http_origin *origin) {
  const struct tavi_addr unknown = {.port = 0};
  origin->is_forwarded = true;
  if (chain->client.family == 0)
    origin->client = unknown;
  else if (!same_address(&chain->client, from) || chain->client.port != from->port)
    tavi__peer_text(&chain->client, &origin->client);
  if (tavi__slice_is(chain->told.scheme, "https", 5)) origin->scheme = (struct tavi_slice){"https", 5};
  if (chain->told.host.len > 0) origin->host = chain->told.host;
}

void tavi_http_origin(const struct tavi_conn *c, const struct tavi_http_msg *msg, struct tavi_http_origin *ret_origin) {
  ask_connection(c, msg, ret_origin);
  if (c->conf->proto != &tavi__http_server) return;
  const struct tavi__trust *trust = tavi__http_conf_of(c)->forwarders;
  bool is_told = tavi__forwarded_has(msg, TAVI__FORWARDED) || tavi__forwarded_has(msg, TAVI__X_FORWARDED);
  if (!is_told || !tavi__trust_has(trust, &c->peer)) return;

  struct chain chain;
  ask_proxies(trust, &c->peer, msg, &chain);
  tell(&c->peer, &chain, ret_origin);
}
