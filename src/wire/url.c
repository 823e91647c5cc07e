/* SPDX-License-Identifier: MIT
 *
 * See tavi/url.h. The text is cut from the left, as the regular expression of RFC 3986 appendix B cuts it: the scheme
 * at "://", the authority at the next '/', '?' or '#', then the user's part off the authority. The last '@' ends that
 * part: "http://bank.example@evil.example/" is at evil.example for everybody. */
#include <string.h>

#include "tavi/url.h"

static const struct scheme {
  const char *name;
  int32_t port; /* 0: none */
  bool is_tls;
} schemes[] = {
    {"http", 80, false}, {"https", 443, true}, {"ws", 80, false}, {"wss", 443, true}, {"mqtt", 1883, false},
    {"mqtts", 8883, true}, {"ssl", 0, true}, {"tls", 0, true}, {"tcps", 0, true},
};

/* Small letters may come as capitals. */
static bool is_scheme(struct tavi_slice s, const char *name) {
  if (s.len != strlen(name)) return false;
  for (size_t i = 0; i < s.len; i++)
    if (s.ptr[i] != name[i] && (s.ptr[i] < 'A' || s.ptr[i] > 'Z' || (s.ptr[i] | 0x20) != name[i])) return false;
  return true;
}

static const struct scheme *find_scheme(struct tavi_slice name) {
  for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
    if (is_scheme(name, schemes[i].name)) return &schemes[i];
  return NULL;
}

/* The first of these characters, or the end. */
static const char *find_any(const char *p, const char *end, const char *chars, size_t count) {
  while (p < end && memchr(chars, *p, count) == NULL) p++;
  return p;
}

static struct tavi_slice between(const char *from, const char *to) {
  return (struct tavi_slice){from, (size_t) (to - from)};
}

/* Digits up to 65535, or -1. */
static int32_t port_number(const char *p, const char *end) {
  int32_t n = 0;
  for (; p < end; p++) {
    if (*p < '0' || *p > '9') return -1;
    n = n * 10 + (*p - '0');
    if (n > 65535) return -1;
  }
  return n;
}

/* "host:port", "[::1]:port"; what stands behind a ']' and is no port makes none. */
static void split_host(const char *p, const char *end, struct tavi_url *u) {
  const char *close = p < end && *p == '[' ? memchr(p, ']', (size_t) (end - p)) : NULL;
  const char *host_end = close != NULL ? close + 1 : p < end && *p == '[' ? end : find_any(p, end, ":", 1);
  u->host = between(p, host_end);
  if (host_end == end) return;
  if (*host_end != ':') u->port = -1;
  else if (host_end + 1 < end) u->port = port_number(host_end + 1, end);
}

void tavi_url_split(struct tavi_slice url, struct tavi_url *ret_url) {
  const char *p = url.ptr != NULL ? url.ptr : "", *end = p + url.len;
  struct tavi_url u = {.port = 0};

  const char *colon = find_any(p, end, ":/?#", 4);
  if (end - colon >= 3 && memcmp(colon, "://", 3) == 0) {
    u.scheme = between(p, colon);
    p = colon + 3;
  } else if (end - p >= 2 && p[0] == '/' && p[1] == '/') {
    p += 2;
  }
  const struct scheme *scheme = find_scheme(u.scheme);
  if (scheme != NULL) {
    u.port = scheme->port;
    u.is_tls = scheme->is_tls;
  }

  const char *authority_end = find_any(p, end, "/?#", 3), *at = authority_end;
  while (at > p && at[-1] != '@') at--;
  if (at > p) {
    const char *user_end = find_any(p, at - 1, ":", 1);
    u.user = between(p, user_end);
    if (user_end < at - 1) u.pass = between(user_end + 1, at - 1);
    p = at;
  }
  split_host(p, authority_end, &u);
  u.uri = between(authority_end, end);
  *ret_url = u;
}
