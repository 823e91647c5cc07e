/* SPDX-License-Identifier: MIT
 *
 * See endpoint.h. The syntax is that of RFC 3986 as far as an authority needs it; what cannot be a host is refused
 * here, so that it does not go to a resolver. */
#include "net/endpoint.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/ascii.h"

/* Decimal digits up to max; false for anything else. */
static bool number(const char *p, size_t len, long max, long *ret_n) {
  long n = 0;
  if (len == 0 || len > 9) return false;
  for (size_t i = 0; i < len; i++) {
    if (!tavi__is_digit(p[i])) return false;
    n = n * 10 + (p[i] - '0');
  }
  if (n > max) return false;
  *ret_n = n;
  return true;
}

static bool copy_host(struct tavi__endpoint *ep, const char *p, size_t len) {
  if (len >= sizeof(ep->host)) return false;
  for (size_t i = 0; i < len; i++)
    if ((unsigned char) p[i] <= ' ' || p[i] == 0x7f || strchr("<>\"\\^`{|}[]@/?#", p[i]) != NULL) return false;
  memcpy(ep->host, p, len);
  ep->host[len] = 0;
  return true;
}

/* Inside brackets: a zone may be written as RFC 6874 wants it, "fe80::1%25eth0", or as people do, "fe80::1%eth0". */
static bool copy_ip6(struct tavi__endpoint *ep, const char *p, size_t len) {
  struct tavi__sockaddr unused;
  if (!copy_host(ep, p, len) || strchr(ep->host, ':') == NULL) return false;
  char *zone = strchr(ep->host, '%');
  if (zone != NULL && strncmp(zone, "%25", 3) == 0 && zone[3] != 0) memmove(zone + 1, zone + 3, strlen(zone + 3) + 1);
  return tavi__sockaddr_ip(ep->host, 0, &unused);
}

static bool starts_with(const char *s, const char *prefix) { return strncasecmp(s, prefix, strlen(prefix)) == 0; }

static int parse_fd(const char *rest, struct tavi__endpoint *ep) {
  long fd;
  if (starts_with(rest, "systemd") && (rest[7] == 0 || rest[7] == ':')) {
    ep->kind = TAVI__EP_SYSTEMD;
    return rest[7] == 0 || copy_host(ep, rest + 8, strlen(rest + 8)) ? 0 : TAVI_E_ADDRESS;
  }
  size_t len = strcspn(rest, "/");
  if (!number(rest, len, 1 << 20, &fd) || (rest[len] == '/' && rest[len + 1] != 0)) return TAVI_E_ADDRESS;
  ep->kind = TAVI__EP_FD;
  ep->fd = (int) fd;
  return 0;
}

static int parse_unix(const char *path, struct tavi__endpoint *ep) {
  if (starts_with(path, "//")) path += 2;
  size_t len = strlen(path);
  if (len == 0 || len >= sizeof(ep->host)) return TAVI_E_ADDRESS;
  memcpy(ep->host, path, len + 1);
  ep->kind = TAVI__EP_UNIX;
  return 0;
}

/* [user@]host[:port] up to p[len] */
static int parse_authority(const char *p, size_t len, const char *default_port, struct tavi__endpoint *ep) {
  const char *at = memchr(p, '@', len);
  if (at != NULL) {
    len -= (size_t) (at + 1 - p);
    p = at + 1;
  }

  const char *host = p, *colon;
  size_t host_len;
  if (len > 0 && p[0] == '[') {
    const char *close = memchr(p, ']', len);
    if (close == NULL) return TAVI_E_ADDRESS;
    host = p + 1;
    host_len = (size_t) (close - host);
    colon = close + 1 < p + len ? close + 1 : NULL;
    if (!copy_ip6(ep, host, host_len) || (colon != NULL && *colon != ':')) return TAVI_E_ADDRESS;
  } else {
    colon = memchr(p, ':', len);
    host_len = colon == NULL ? len : (size_t) (colon - p);
    if (!copy_host(ep, host, host_len)) return TAVI_E_ADDRESS;
  }

  const char *port = colon == NULL ? default_port : colon + 1;
  size_t port_len = colon == NULL ? strlen(default_port) : (size_t) (p + len - port);
  long n = 0;
  if (port_len > 0 && !number(port, port_len, 65535, &n)) return TAVI_E_ADDRESS;
  ep->port = (uint16_t) n;
  return 0;
}

int tavi__endpoint_parse(const char *url, const char *default_port, struct tavi__endpoint *ret_ep) {
  struct tavi__endpoint ep = {.fd = -1};
  int err;
  if (starts_with(url, "unix:")) {
    err = parse_unix(url + 5, &ep);
  } else if (starts_with(url, "fd://")) {
    err = parse_fd(url + 5, &ep);
  } else {
    const char *rest = url + strcspn(url, ":/?#"); /* the scheme, not one that is part of a query */
    if (starts_with(rest, "://")) {
      if (!starts_with(url, "tcp://") && !starts_with(url, "udp://") && !starts_with(url, "http://"))
        return TAVI_E_ADDRESS;
      ep.is_udp = starts_with(url, "udp://");
      rest += 3;
    } else {
      rest = url;
    }
    err = parse_authority(rest, strcspn(rest, "/?#"), default_port, &ep);
  }
  if (err == 0) *ret_ep = ep;
  return err;
}

bool tavi__endpoint_bind_address(const struct tavi__endpoint *ep, struct tavi__sockaddr *ret_addr) {
  if (ep->kind == TAVI__EP_UNIX) return tavi__sockaddr_unix(ep->host, ret_addr);
  const char *host = ep->host;
  if (host[0] == 0) host = "0.0.0.0";
  if (strcasecmp(host, "localhost") == 0) host = "127.0.0.1";
  return tavi__sockaddr_ip(host, ep->port, ret_addr);
}

static bool is_localhost(const char *host) {
  size_t len = strlen(host);
  if (strcasecmp(host, "localhost") == 0) return true;
  return len > 10 && strcasecmp(host + len - 10, ".localhost") == 0;
}

int tavi__endpoint_peers(const struct tavi__endpoint *ep, struct tavi__sockaddr ret_addrs[2]) {
  switch (ep->kind) {
    case TAVI__EP_UNIX: return tavi__sockaddr_unix(ep->host, &ret_addrs[0]) ? 1 : TAVI_E_ADDRESS;
    case TAVI__EP_HOST: break;
    case TAVI__EP_FD:
    case TAVI__EP_SYSTEMD: return TAVI_E_ADDRESS;
  }
  if (ep->host[0] == 0 || ep->port == 0) return TAVI_E_ADDRESS;
  if (tavi__sockaddr_ip(ep->host, ep->port, &ret_addrs[0])) return 1;
  if (!is_localhost(ep->host)) return 0;

  tavi__sockaddr_ip("127.0.0.1", ep->port, &ret_addrs[0]);
  tavi__sockaddr_ip("::1", ep->port, &ret_addrs[1]);
  return ep->is_udp ? 1 : 2; /* a datagram socket cannot tell that nobody is there */
}

int tavi_addr_parse(const char *text, struct tavi_addr *ret_addr) {
  struct tavi__endpoint ep;
  struct tavi__sockaddr a;
  if (text == NULL || tavi__endpoint_parse(text, "", &ep) < 0) return TAVI_E_ADDRESS;
  bool is_whole = ep.kind == TAVI__EP_HOST && ep.host[0] != 0 && ep.port != 0;
  if (!is_whole || !tavi__endpoint_bind_address(&ep, &a)) return TAVI_E_ADDRESS;
  tavi__sockaddr_text(&a, ret_addr);
  return 0;
}
