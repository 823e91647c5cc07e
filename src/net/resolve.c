/* SPDX-License-Identifier: MIT
 *
 * See resolve.h; and tavi_resolve(), which is one lookup whose addresses are collected until the last has come. */
#include "net/resolve.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loop/manager.h"
#include "net/endpoint.h"
#include "tavi/dns.h"

int tavi__lookup_start(struct tavi_manager *m, struct tavi__lookup *l, const char *host, const char **ret_why) {
  if (m->resolver != NULL) return m->resolver->start(m, l, host, ret_why);
  *ret_why = tavi_err_text(TAVI_E_RESOLVE);
  return TAVI_E_RESOLVE;
}

void tavi__lookup_cancel(struct tavi_manager *m, struct tavi__lookup *l) {
  if (m->resolver != NULL) m->resolver->cancel(m, l);
}

/* ==== tavi_resolve() ==== */

struct tavi_lookup {
  struct tavi__lookup lookup;
  struct tavi_manager *m;
  tavi_resolve_fn fn;
  void *user;
  uint16_t port;
  bool is_over; /* fn has been called */
  bool is_held; /* tavi_resolve() still looks at it */
  int count;
  struct tavi__peer addrs[TAVI__ADDRS_MAX];
  char host[];
};

static struct tavi_lookup *lookup_of(struct tavi__lookup *l) { return TAVI__CONTAINER(l, struct tavi_lookup, lookup); }

static void tell(struct tavi_lookup *l, int err, const char *why) {
  char text[320];
  struct tavi_addr addrs[TAVI__ADDRS_MAX];
  if (err < 0) {
    l->count = 0;
    snprintf(text, sizeof(text), "%.200s: %.100s", l->host, why);
  }
  for (int i = 0; i < l->count; i++) {
    l->addrs[i].port = l->port;
    tavi__peer_text(&l->addrs[i], &addrs[i]);
  }
  l->is_over = true;
  l->fn(addrs, (size_t) l->count, err, err < 0 ? text : "", l->user);
  if (!l->is_held) free(l);
}

static void on_found(struct tavi__lookup *lookup, const struct tavi__peer *addrs, int count, bool is_last) {
  struct tavi_lookup *l = lookup_of(lookup);
  for (int i = 0; i < count && l->count < TAVI__ADDRS_MAX; i++) l->addrs[l->count++] = addrs[i];
  if (is_last) tell(l, 0, NULL);
}

static void on_failed(struct tavi__lookup *lookup, int err, const char *why) { tell(lookup_of(lookup), err, why); }

/* What is known without asking; false when somebody has to be asked. A lookup needs no port, a connection does. */
static bool is_known(struct tavi_lookup *l, struct tavi__endpoint ep) {
  struct tavi__sockaddr known[2];
  if (ep.port == 0) ep.port = 1;
  ep.is_udp = false; /* all of them */
  l->count = tavi__endpoint_peers(&ep, known);
  for (int i = 0; i < l->count; i++) tavi__sockaddr_to_peer(&known[i], &l->addrs[i]);
  return l->count > 0;
}

static int begin(struct tavi_lookup *l, const struct tavi__endpoint *ep) {
  const char *why = NULL;
  if (is_known(l, *ep)) {
    tell(l, 0, NULL);
    return 0;
  }
  int err = tavi__lookup_start(l->m, &l->lookup, ep->host, &why);
  if (err == TAVI_E_NOMEM || err == TAVI_E_CLOSED) return err;
  if (err < 0) tell(l, err, why);
  return 0;
}

int tavi_resolve(struct tavi_manager *m, const char *url, tavi_resolve_fn fn, void *user,
                 struct tavi_lookup **ret_lookup) {
  struct tavi__endpoint ep;
  if (url == NULL || fn == NULL) return TAVI_E_ARG;
  if (tavi__endpoint_parse(url, "0", &ep) < 0 || ep.kind != TAVI__EP_HOST || ep.host[0] == 0) return TAVI_E_ADDRESS;
  if (m->is_closing_all) return TAVI_E_CLOSED;

  size_t len = strlen(ep.host);
  struct tavi_lookup *l = calloc(1, sizeof(*l) + len + 1);
  if (l == NULL) return TAVI_E_NOMEM;

  l->lookup.on_found = on_found;
  l->lookup.on_failed = on_failed;
  l->m = m;
  l->fn = fn;
  l->user = user;
  l->port = ep.port;
  memcpy(l->host, ep.host, len + 1);
  l->is_held = true;
  int err = begin(l, &ep);
  l->is_held = false;
  if (err == 0 && ret_lookup != NULL) *ret_lookup = l->is_over ? NULL : l;
  if (err < 0 || l->is_over) free(l);
  return err;
}

void tavi_resolve_cancel(struct tavi_lookup *l) {
  if (l == NULL || l->is_over) return;
  tavi__lookup_cancel(l->m, &l->lookup);
  if (!l->is_held) free(l);
}
