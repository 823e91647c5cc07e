/* SPDX-License-Identifier: MIT
 *
 * Addresses: literals, text, and the small form that is kept with each connection. */
#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "os/sock.h"

_Static_assert(sizeof(struct sockaddr_un) <= sizeof(((struct tavi__sockaddr *) 0)->u), "a Unix address fits");

static const uint8_t v4_mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}; /* ::ffff:a.b.c.d, RFC 4291 2.5.5.2 */

unsigned tavi__interface(const char *name) {
  char unused[IF_NAMESIZE];
  if (name[0] < '0' || name[0] > '9') return if_nametoindex(name);
  char *end;
  unsigned long index = strtoul(name, &end, 10);
  bool is_one = *end == 0 && index <= INT32_MAX && if_indextoname((unsigned) index, unused) != NULL;
  return is_one ? (unsigned) index : if_nametoindex(name); /* names may begin with a digit */
}

/* Those that mean something on one link only, so that a zone belongs to them. */
static bool is_on_a_link(const struct in6_addr *a) {
  return IN6_IS_ADDR_LINKLOCAL(a) || IN6_IS_ADDR_MC_LINKLOCAL(a) || IN6_IS_ADDR_MC_NODELOCAL(a);
}

static bool ip6(const char *host, struct sockaddr_in6 *v6) {
  char literal[INET6_ADDRSTRLEN];
  size_t len = strcspn(host, "%");
  if (host[len] == 0) return inet_pton(AF_INET6, host, &v6->sin6_addr) == 1;

  if (len >= sizeof(literal)) return false;
  memcpy(literal, host, len);
  literal[len] = 0;
  if (inet_pton(AF_INET6, literal, &v6->sin6_addr) != 1 || !is_on_a_link(&v6->sin6_addr)) return false;
  v6->sin6_scope_id = tavi__interface(host + len + 1);
  return v6->sin6_scope_id != 0;
}

bool tavi__sockaddr_ip(const char *host, uint16_t port, struct tavi__sockaddr *ret_addr) {
  struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
  struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
  if (inet_pton(AF_INET, host, &v4.sin_addr) == 1) {
    ret_addr->len = sizeof(v4);
    memcpy(ret_addr->u.bytes, &v4, sizeof(v4));
    return true;
  }
  if (ip6(host, &v6)) {
    ret_addr->len = sizeof(v6);
    memcpy(ret_addr->u.bytes, &v6, sizeof(v6));
    return true;
  }
  return false;
}

bool tavi__sockaddr_unix(const char *path, struct tavi__sockaddr *ret_addr) {
  struct sockaddr_un un = {.sun_family = AF_UNIX};
  size_t len = strlen(path);
  if (len == 0 || len >= sizeof(un.sun_path)) return false;

  memcpy(un.sun_path, path, len);
  if (path[0] == '@') un.sun_path[0] = 0;
  memcpy(ret_addr->u.bytes, &un, sizeof(un));
  ret_addr->len = (socklen_t) (offsetof(struct sockaddr_un, sun_path) + len + (path[0] != '@'));
  return true;
}

bool tavi__sockaddr_is_group(const struct tavi__sockaddr *a) {
  struct tavi__peer p;
  tavi__sockaddr_to_peer(a, &p);
  return (p.family == 4 && p.ip[0] >> 4 == 0xe) || (p.family == 6 && p.ip[0] == 0xff);
}

bool tavi__sockaddr_is_unix(const struct tavi__sockaddr *a) { return a->len != 0 && a->u.sa.sa_family == AF_UNIX; }

void tavi__sockaddr_to_peer(const struct tavi__sockaddr *a, struct tavi__peer *ret_peer) {
  struct sockaddr_in v4;
  struct sockaddr_in6 v6;
  memset(ret_peer, 0, sizeof(*ret_peer));
  if (a->len == 0) return;

  if (a->u.sa.sa_family == AF_INET) {
    memcpy(&v4, a->u.bytes, sizeof(v4));
    memcpy(ret_peer->ip, &v4.sin_addr, 4);
    ret_peer->port = ntohs(v4.sin_port);
    ret_peer->family = 4;
  } else if (a->u.sa.sa_family == AF_INET6) {
    memcpy(&v6, a->u.bytes, sizeof(v6));
    bool is_mapped = memcmp(&v6.sin6_addr, v4_mapped, sizeof(v4_mapped)) == 0;
    memcpy(ret_peer->ip, (const char *) &v6.sin6_addr + (is_mapped ? 12 : 0), is_mapped ? 4 : 16);
    ret_peer->port = ntohs(v6.sin6_port);
    ret_peer->family = is_mapped ? 4 : 6;
    ret_peer->scope = v6.sin6_scope_id;
  } else if (a->u.sa.sa_family == AF_UNIX) {
    ret_peer->family = 1;
  }
}

void tavi__peer_to_sockaddr(const struct tavi__peer *p, bool is_v6_socket, struct tavi__sockaddr *ret_addr) {
  if (p->family == 4 && !is_v6_socket) {
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(p->port)};
    memcpy(&v4.sin_addr, p->ip, 4);
    memcpy(ret_addr->u.bytes, &v4, sizeof(v4));
    ret_addr->len = sizeof(v4);
  } else if (p->family == 4 || p->family == 6) {
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(p->port), .sin6_scope_id = p->scope};
    if (p->family == 4) memcpy(&v6.sin6_addr, v4_mapped, sizeof(v4_mapped));
    memcpy((char *) &v6.sin6_addr + (p->family == 4 ? 12 : 0), p->ip, p->family == 4 ? 4 : 16);
    memcpy(ret_addr->u.bytes, &v6, sizeof(v6));
    ret_addr->len = sizeof(v6);
  } else {
    ret_addr->len = 0;
  }
}

/* Behind an address: "%eth0", or the number of an interface that has gone. */
static void zone_text(uint32_t scope, char *text, size_t cap) {
  char name[IF_NAMESIZE];
  if (if_indextoname(scope, name) != NULL)
    snprintf(text, cap, "%%%s", name);
  else
    snprintf(text, cap, "%%%u", (unsigned) scope);
}

void tavi__peer_text(const struct tavi__peer *p, struct tavi_addr *ret_addr) {
  memset(ret_addr, 0, sizeof(*ret_addr));
  if (p->family == 4 || p->family == 6)
    inet_ntop(p->family == 4 ? AF_INET : AF_INET6, p->ip, ret_addr->host, sizeof(ret_addr->host));
  size_t len = strlen(ret_addr->host);
  if (p->scope != 0) zone_text(p->scope, ret_addr->host + len, sizeof(ret_addr->host) - len);
  ret_addr->port = p->port;
  ret_addr->is_ipv6 = p->family == 6;
  ret_addr->is_unix = p->family == 1;
}

void tavi__sockaddr_text(const struct tavi__sockaddr *a, struct tavi_addr *ret_addr) {
  struct tavi__peer p;
  tavi__sockaddr_to_peer(a, &p);
  tavi__peer_text(&p, ret_addr);
  size_t at = offsetof(struct sockaddr_un, sun_path);
  if (p.family != 1 || a->len <= at) return;

  size_t len = a->len - at < sizeof(ret_addr->host) - 1 ? a->len - at : sizeof(ret_addr->host) - 1;
  memcpy(ret_addr->host, a->u.bytes + at, len);
  if (ret_addr->host[0] == 0) ret_addr->host[0] = '@';
}
