/* SPDX-License-Identifier: MIT
 *
 * See ip.h. inet_pton() would need a NUL behind its text, belongs to the system's headers, and cannot tell "not yet"
 * from "never". What inet_aton() would read as octal is refused. */
#include "wire/ip.h"

#include <string.h>

#include "base/ascii.h"

int tavi__decimal_read(const char **p, const char *end, unsigned max, unsigned *ret_number) {
  const char *at = *p;
  unsigned n = 0;
  for (; at < end && tavi__is_digit(*at); at++) {
    unsigned digit = (unsigned) (*at - '0');
    bool is_leading_zero = at > *p && n == 0;
    if (is_leading_zero || n > max / 10 || n * 10 + digit > max) return TAVI_E_PROTOCOL;
    n = n * 10 + digit;
  }
  if (at == end) return TAVI_WIRE_MORE;
  if (at == *p) return TAVI_E_PROTOCOL;
  *p = at;
  *ret_number = n;
  return TAVI_WIRE_EVENT;
}

int tavi__ip4_read(const char **p, const char *end, uint8_t ret_ip[4]) {
  const char *at = *p;
  for (int i = 0; i < 4; i++) {
    unsigned number;
    if (i > 0 && *at++ != '.') return TAVI_E_PROTOCOL; /* a number ends before `end` */
    int status = tavi__decimal_read(&at, end, 255, &number);
    if (status != TAVI_WIRE_EVENT) return status;
    ret_ip[i] = (uint8_t) number;
  }
  *p = at;
  return TAVI_WIRE_EVENT;
}

/* ==== IPv6 ==== */

enum { GROUPS = 8 };

/* The groups so far; what follows `gap` of them goes to the end, with zeros between. */
struct groups {
  uint16_t group[GROUPS];
  int count;
  int gap; /* groups before "::"; -1: there was none */
};

/* "::" stands for one group at least. */
static int groups_max(const struct groups *g) { return g->gap >= 0 ? GROUPS - 1 : GROUPS; }

/* Read "::"; *p is at a ':'. */
static int read_gap(const char **p, const char *end, struct groups *g) {
  if (end - *p < 2) return TAVI_WIRE_MORE;
  if ((*p)[1] != ':' || g->gap >= 0) return TAVI_E_PROTOCOL;
  g->gap = g->count;
  *p += 2;
  return TAVI_WIRE_EVENT;
}

/* Read up to four digits, and no more than that: another one behind them is nobody's. */
static int read_group(const char **p, const char *end, struct groups *g) {
  const char *at = *p;
  unsigned n = 0;
  if (g->count == groups_max(g)) return TAVI_E_PROTOCOL;
  for (; at < end && at - *p < 4 && tavi__hex_value(*at) >= 0; at++) n = n * 16 + (unsigned) tavi__hex_value(*at);
  if (at == end) return TAVI_WIRE_MORE;
  if (at == *p || tavi__hex_value(*at) >= 0) return TAVI_E_PROTOCOL;
  g->group[g->count++] = (uint16_t) n;
  *p = at;
  return TAVI_WIRE_EVENT;
}

/* The group that was read last turned out to be the first number of an IPv4 literal, which begins at *p. */
static int read_tail4(const char **p, const char *end, struct groups *g) {
  uint8_t ip[4];
  g->count--;
  bool fits = g->gap >= 0 ? g->count + 2 < GROUPS : g->count + 2 == GROUPS;
  if (!fits) return TAVI_E_PROTOCOL;
  int status = tavi__ip4_read(p, end, ip);
  if (status != TAVI_WIRE_EVENT) return status;
  g->group[g->count++] = (uint16_t) (ip[0] << 8 | ip[1]);
  g->group[g->count++] = (uint16_t) (ip[2] << 8 | ip[3]);
  return TAVI_WIRE_EVENT;
}

/* Read ':' and what it must be followed by; *p is there then. */
static int read_colon(const char **p, const char *end, struct groups *g) {
  if (g->count == groups_max(g)) return TAVI_E_PROTOCOL;
  if (end - *p < 2) return TAVI_WIRE_MORE;
  if ((*p)[1] == ':') return read_gap(p, end, g);
  ++*p;
  return tavi__hex_value(**p) >= 0 ? TAVI_WIRE_EVENT : TAVI_E_PROTOCOL;
}

static int read_groups(const char **p, const char *end, struct groups *g) {
  int status = *p < end && **p == ':' ? read_gap(p, end, g) : TAVI_WIRE_EVENT;
  while (status == TAVI_WIRE_EVENT) {
    if (*p == end) return TAVI_WIRE_MORE;
    if (g->gap == g->count && tavi__hex_value(**p) < 0) break; /* "::" may be the last */
    const char *first = *p;
    status = read_group(p, end, g);
    if (status != TAVI_WIRE_EVENT) break;
    if (**p == '.') {
      *p = first;
      return read_tail4(p, end, g);
    }
    if (**p != ':') break;
    status = read_colon(p, end, g);
  }
  bool is_short = g->gap < 0 && g->count < GROUPS;
  return status == TAVI_WIRE_EVENT && is_short ? TAVI_E_PROTOCOL : status;
}

int tavi__ip6_read(const char **p, const char *end, uint8_t ret_ip[16]) {
  struct groups g = {.gap = -1};
  const char *at = *p;
  int status = read_groups(&at, end, &g);
  if (status != TAVI_WIRE_EVENT) return status;

  memset(ret_ip, 0, 16);
  for (int i = 0; i < g.count; i++) {
    int to = g.gap >= 0 && i >= g.gap ? GROUPS - g.count + i : i;
    ret_ip[2 * to] = (uint8_t) (g.group[i] >> 8);
    ret_ip[2 * to + 1] = (uint8_t) g.group[i];
  }
  *p = at;
  return TAVI_WIRE_EVENT;
}

/* ==== either ==== */

/* The literal must end in front of something: a NUL, which is in neither. */
int tavi__ip_parse(struct tavi_slice s, uint8_t ret_ip[16]) {
  char text[TAVI__IP_TEXT_BYTES + 1] = {0};
  if (s.len == 0 || s.len > TAVI__IP_TEXT_BYTES) return 0;
  memcpy(text, s.ptr, s.len);
  const char *p = text, *end = text + s.len + 1;
  if (tavi__ip4_read(&p, end, ret_ip) == TAVI_WIRE_EVENT && p == end - 1) return 4;
  p = text;
  return tavi__ip6_read(&p, end, ret_ip) == TAVI_WIRE_EVENT && p == end - 1 ? 6 : 0;
}
