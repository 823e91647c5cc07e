/* SPDX-License-Identifier: MIT
 *
 * See forwarded.h. An element is found from its end: it begins behind the last ',' that is not inside a quoted string.
 * In well-formed bytes every '"' inside such a string has an odd number of backslashes before it and the opening one
 * has none, so a string can be walked over backwards, and what a client has put before the element is never looked at.
 * The element itself is then read from left to right.
 *
 * More strict than RFC 7239 in one thing, quoted pairs in addresses, schemes and hosts, where nobody needs them; less
 * in another, white space around ';', which cannot be misread. Empty elements of a list are passed over (RFC 9110
 * section 5.6.1). */
#include "wire/forwarded.h"

#include "base/ascii.h"
#include "wire/http1_field.h"
#include "wire/ip.h"

static const struct tavi_slice forwarded = {"forwarded", 9}, x_for = {"x-forwarded-for", 15},
                               x_proto = {"x-forwarded-proto", 17}, x_host = {"x-forwarded-host", 16};

/* ==== lists, from the back ==== */

/* Where the quoted string begins whose closing '"' is p[close]; SIZE_MAX: nowhere. */
static size_t opening_quote(const char *p, size_t close) {
  for (size_t at = close; at-- > 0;) {
    size_t escapes = 0;
    if (p[at] != '"') continue;
    while (escapes < at && p[at - 1 - escapes] == '\\') escapes++;
    if (escapes % 2 == 0) return at;
    at -= escapes;
  }
  return SIZE_MAX;
}

/* Take the last element off value[0..at->len); the field is done when it was the first one. */
static int cut_last(const char *value, bool may_quote, struct tavi__forwarded_at *at, struct tavi_slice *ret_element) {
  size_t begin = at->len;
  while (begin > 0 && value[begin - 1] != ',') {
    begin--;
    if (may_quote && value[begin] == '"') begin = opening_quote(value, begin);
    if (begin == SIZE_MAX) return TAVI_E_PROTOCOL;
  }
  *ret_element = tavi__trim(value + begin, value + at->len);
  at->is_inside = begin > 0;
  if (begin > 0)
    at->len = begin - 1;
  else
    at->field++;
  return TAVI_WIRE_EVENT;
}

/* The last element that is not empty before `at`, of all fields of that name. */
static int previous(const struct tavi_http_msg *msg, struct tavi_slice name, bool may_quote,
                    struct tavi__forwarded_at *at, struct tavi_slice *ret_element) {
  while (at->field < msg->header_count) {
    const struct tavi_http_header *h = &msg->headers[msg->header_count - 1 - at->field];
    if (!tavi__slice_is(h->name, name.ptr, name.len)) {
      at->field++;
      continue;
    }
    if (!at->is_inside) at->len = h->value.len;
    int status = cut_last(h->value.ptr, may_quote, at, ret_element);
    if (status != TAVI_WIRE_EVENT) return status;
    if (ret_element->len == 0) continue;
    at->element++;
    return TAVI_WIRE_EVENT;
  }
  return TAVI_WIRE_MORE;
}

/* ==== values ==== */

static bool is_obfuscated(struct tavi_slice s) {
  if (s.len < 2 || s.ptr[0] != '_') return false;
  for (size_t i = 1; i < s.len; i++) {
    char c = s.ptr[i];
    if (!tavi__is_letter(c) && !tavi__is_digit(c) && c != '.' && c != '_' && c != '-') return false;
  }
  return true;
}

/* ":port", or nothing. */
static bool read_port(const char *p, const char *end, uint16_t *ret_port) {
  unsigned port = 0;
  *ret_port = 0;
  if (p == end) return true;
  if (*p++ != ':' || p == end) return false;
  if (is_obfuscated((struct tavi_slice){p, (size_t) (end - p)})) return true;
  if (end - p > 5) return false;
  for (; p < end; p++) {
    if (!tavi__is_digit(*p)) return false;
    port = port * 10 + (unsigned) (*p - '0');
  }
  *ret_port = (uint16_t) port;
  return port <= 65535;
}

/* RFC 7239 section 6: an IPv4 address, an IPv6 address in brackets, "unknown" or an obfuscated name; perhaps a port. */
static bool read_node(struct tavi_slice s, struct tavi__forwarded *element) {
  uint8_t ip[16];
  const char *end = s.ptr + s.len, *behind;
  if (s.len > 0 && s.ptr[0] == '[') {
    behind = memchr(s.ptr, ']', s.len);
    if (behind == NULL) return false;
    element->address = (struct tavi_slice){s.ptr + 1, (size_t) (behind - s.ptr - 1)};
    return tavi__ip_parse(element->address, ip) == 6 && read_port(behind + 1, end, &element->port);
  }
  behind = s.len > 0 ? memchr(s.ptr, ':', s.len) : NULL;
  if (behind == NULL) behind = end;
  struct tavi_slice name = {s.ptr, (size_t) (behind - s.ptr)};
  if (tavi__ip_parse(name, ip) == 4)
    element->address = name;
  else if (!tavi__slice_is(name, "unknown", 7) && !is_obfuscated(name))
    return false;
  return read_port(behind, end, &element->port);
}

static bool is_scheme(struct tavi_slice s) {
  if (s.len == 0 || !tavi__is_letter(s.ptr[0])) return false;
  for (size_t i = 0; i < s.len; i++)
    if (!tavi__http1_is(s.ptr[i], TAVI__HTTP1_SCHEME)) return false;
  return true;
}

static bool is_host(struct tavi_slice s) {
  struct tavi__http1_authority ignored;
  return tavi__http1_authority(s, &ignored);
}

/* ==== Forwarded ==== */

enum { SAW_FOR = 1, SAW_BY = 2, SAW_HOST = 4, SAW_PROTO = 8 };

static unsigned parameter(struct tavi_slice name) {
  if (tavi__slice_is(name, "for", 3)) return SAW_FOR;
  if (tavi__slice_is(name, "by", 2)) return SAW_BY;
  if (tavi__slice_is(name, "host", 4)) return SAW_HOST;
  return tavi__slice_is(name, "proto", 5) ? SAW_PROTO : 0;
}

/* Take note of a parameter that matters. False when it is wrong or comes again. */
static bool note(struct tavi_slice name, struct tavi_slice value, unsigned *saw, struct tavi__forwarded *element) {
  unsigned which = parameter(name);
  if ((*saw & which) != 0) return false;
  *saw |= which;
  switch (which) {
    case SAW_FOR: return read_node(value, element);
    case SAW_HOST: element->host = value; return is_host(value);
    case SAW_PROTO: element->scheme = value; return is_scheme(value);
    default: return true;
  }
}

static const char *token_end(const char *p, const char *end) {
  while (p < end && tavi__http1_is(*p, TAVI__HTTP1_TOKEN)) p++;
  return p;
}

/* Read a token or a quoted string; *p moves behind it. */
static bool read_value(const char **p, const char *end, struct tavi_slice *ret_value) {
  const char *first = *p;
  if (first == end || *first != '"') {
    *p = token_end(first, end);
    *ret_value = (struct tavi_slice){first, (size_t) (*p - first)};
    return *p > first;
  }
  const char *at = ++first;
  while (at < end && *at != '"') at += *at == '\\' && end - at > 1 ? 2 : 1;
  if (at == end) return false;
  *ret_value = (struct tavi_slice){first, (size_t) (at - first)};
  *p = at + 1;
  return true;
}

static int read_element(struct tavi_slice s, struct tavi__forwarded *element) {
  const char *p = s.ptr, *end = s.ptr + s.len;
  unsigned saw = 0;
  while (p < end) {
    if (*p == ';' || tavi__is_space(*p)) { /* pairs may be empty, too */
      p++;
      continue;
    }
    struct tavi_slice value, name = {p, (size_t) (token_end(p, end) - p)};
    p += name.len;
    if (name.len == 0 || p == end || *p++ != '=' || !read_value(&p, end, &value)) return TAVI_E_PROTOCOL;
    if (!note(name, value, &saw, element)) return TAVI_E_PROTOCOL;
    while (p < end && tavi__is_space(*p)) p++;
    if (p < end && *p != ';') return TAVI_E_PROTOCOL;
  }
  return TAVI_WIRE_EVENT;
}

/* ==== both ==== */

static bool has(const struct tavi_http_msg *msg, struct tavi_slice name) {
  return tavi__http1_find(msg->headers, msg->header_count, name) != NULL;
}

bool tavi__forwarded_has(const struct tavi_http_msg *msg, enum tavi__forwarded_kind kind) {
  if (kind == TAVI__FORWARDED) return has(msg, forwarded);
  return has(msg, x_for) || has(msg, x_proto) || has(msg, x_host);
}

/* In X-Forwarded-For, IPv6 addresses mostly stand without brackets. */
static int read_x_for(struct tavi_slice s, struct tavi__forwarded *element) {
  uint8_t ip[16];
  if (tavi__ip_parse(s, ip) != 6) return read_node(s, element) ? TAVI_WIRE_EVENT : TAVI_E_PROTOCOL;
  element->address = s;
  return TAVI_WIRE_EVENT;
}

int tavi__forwarded_back(const struct tavi_http_msg *msg, enum tavi__forwarded_kind kind, struct tavi__forwarded_at *at,
                         struct tavi__forwarded *ret_element) {
  struct tavi__forwarded element = {.port = 0};
  struct tavi_slice s;
  int status = previous(msg, kind == TAVI__FORWARDED ? forwarded : x_for, kind == TAVI__FORWARDED, at, &s);
  if (status != TAVI_WIRE_EVENT) return status;
  status = kind == TAVI__FORWARDED ? read_element(s, &element) : read_x_for(s, &element);
  if (status == TAVI_WIRE_EVENT) *ret_element = element;
  return status;
}

static size_t count(const struct tavi_http_msg *msg, struct tavi_slice name) {
  struct tavi__forwarded_at at = {.field = 0};
  struct tavi_slice ignored;
  while (previous(msg, name, false, &at, &ignored) == TAVI_WIRE_EVENT) continue;
  return at.element;
}

/* The element of `name` at the place (1: the last) when there are `like` of them, else the last one; empty: none. */
static struct tavi_slice beside(const struct tavi_http_msg *msg, struct tavi_slice name, size_t place, size_t like) {
  struct tavi__forwarded_at at = {.field = 0};
  struct tavi_slice found = {NULL, 0};
  if (place == 0 || count(msg, name) != like) place = 1;
  while (at.element < place && previous(msg, name, false, &at, &found) == TAVI_WIRE_EVENT) continue;
  return found;
}

void tavi__x_forwarded_rest(const struct tavi_http_msg *msg, const struct tavi__forwarded_at *at,
                            struct tavi__forwarded *element) {
  size_t like = count(msg, x_for);
  struct tavi_slice scheme = beside(msg, x_proto, at->element, like), host = beside(msg, x_host, at->element, like);
  element->scheme = is_scheme(scheme) ? scheme : (struct tavi_slice){NULL, 0};
  element->host = is_host(host) ? host : (struct tavi_slice){NULL, 0};
}
