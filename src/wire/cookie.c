/* SPDX-License-Identifier: MIT
 *
 * See cookie.h. What browsers send is cut at each ';' and at the first '=', as they themselves cut it: a ';' inside of
 * quotes ends a cookie all the same. Nothing but the white space before and behind a pair is trimmed, because a server
 * that trims more lets "a =b" pass for "a=b", which a prefix like __Host- is to prevent.
 *
 * What we write obeys the stricter grammar for servers (section 4.1.1), and is refused when a browser would ignore it
 * or take it for something else, for it would do so silently. */
#include "wire/cookie.h"

#include <stdio.h>
#include <string.h>

#include "base/ascii.h"
#include "base/limits.h"
#include "wire/http1_field.h"

/* ==== reading ==== */

bool tavi__cookie_find(struct tavi_slice header_value, struct tavi_slice name, struct tavi_slice *ret_value) {
  const char *p = header_value.ptr, *end = p + header_value.len;
  while (p < end && name.len > 0) {
    const char *semicolon = memchr(p, ';', (size_t) (end - p)), *last = semicolon != NULL ? semicolon : end;
    const char *next = semicolon != NULL ? semicolon + 1 : end;
    struct tavi_slice pair = tavi__trim(p, last);
    if (pair.len > name.len && pair.ptr[name.len] == '=' && memcmp(pair.ptr, name.ptr, name.len) == 0) {
      struct tavi_slice value = {pair.ptr + name.len + 1, pair.len - name.len - 1};
      bool is_quoted = value.len >= 2 && value.ptr[0] == '"' && value.ptr[value.len - 1] == '"';
      *ret_value = is_quoted ? (struct tavi_slice){value.ptr + 1, value.len - 2} : value;
      return true;
    }
    p = next;
  }
  return false;
}

/* ==== judging ==== */

static bool is_name(struct tavi_slice s) {
  for (size_t i = 0; i < s.len; i++)
    if (!tavi__http1_is(s.ptr[i], TAVI__HTTP1_TOKEN)) return false;
  return s.len > 0;
}

static bool is_value(struct tavi_slice s) {
  for (size_t i = 0; i < s.len; i++)
    if (s.ptr[i] <= ' ' || s.ptr[i] > '~' || strchr("\",;\\", s.ptr[i]) != NULL) return false;
  return true;
}

/* A path that does not begin with '/' is not taken, and spaces at its end are cut off. */
static bool is_path(struct tavi_slice s) {
  if (s.len == 0) return true;
  for (size_t i = 0; i < s.len; i++)
    if (s.ptr[i] < ' ' || s.ptr[i] > '~' || s.ptr[i] == ';') return false;
  return s.ptr[0] == '/' && s.ptr[s.len - 1] != ' ' && s.len <= TAVI__COOKIE_ATTRIBUTE_BYTES;
}

/* Labels of letters, digits and '-', with a '.' between them. */
static bool is_domain(struct tavi_slice s) {
  char before = '.';
  for (size_t i = 0; i < s.len; before = s.ptr[i++]) {
    char c = s.ptr[i];
    if (c == '.' ? before == '.' || before == '-' : !tavi__is_letter(c) && !tavi__is_digit(c) && c != '-') return false;
    if (c == '-' && before == '.') return false;
  }
  return s.len == 0 || (before != '.' && before != '-' && s.len <= TAVI__COOKIE_DOMAIN_BYTES);
}

/* The names that bind a browser to more (section 4.1.3; those with "Http" came later). It compares without case, so
 * that no server can be told "__HOST-" where it would take it for "__Host-". */
static const struct prefix {
  const char *lower_case;
  size_t len;
  bool is_host, is_http_only;
} prefixes[] = {
    {"__host-http-", 12, true, true},
    {"__host-", 7, true, false},
    {"__http-", 7, false, true},
    {"__secure-", 9, false, false},
};

static const struct prefix *prefix_of(struct tavi_slice name) {
  for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
    const struct prefix *p = &prefixes[i];
    if (tavi__slice_begins(name, p->lower_case, p->len)) return p;
  }
  return NULL;
}

/* What the prefix demands is there, or can be given: a host's cookie with the browser's choice of path gets "/". */
static bool suits_prefix(const struct prefix *p, const struct tavi_cookie *c) {
  if (p == NULL) return true;
  if (!c->is_secure || (p->is_http_only && !c->is_http_only)) return false;
  if (!p->is_host) return true;
  return c->domain.len == 0 && (c->path.len == 0 || (c->path.len == 1 && c->path.ptr[0] == '/'));
}

static bool is_good(const struct tavi_cookie *c, const struct prefix *prefix) {
  if (!is_name(c->name) || !is_value(c->value) || !is_path(c->path) || !is_domain(c->domain)) return false;
  if (c->max_age_s < -1 || !suits_prefix(prefix, c)) return false;
  switch (c->same_site) {
    case TAVI_SAME_SITE_LAX:
    case TAVI_SAME_SITE_STRICT: return true;
    case TAVI_SAME_SITE_NONE: return c->is_secure;
  }
  return false;
}

/* ==== writing ==== */

/* What fits is written, all is counted. */
struct out {
  char *to;
  size_t cap, len;
};

static void put(struct out *o, const char *p, size_t len) {
  if (len > 0 && o->len <= o->cap && len <= o->cap - o->len) memcpy(o->to + o->len, p, len);
  o->len += len;
}

static void put_text(struct out *o, const char *text) { put(o, text, strlen(text)); }

static void put_attribute(struct out *o, const char *name, struct tavi_slice value) {
  if (value.len == 0) return;
  put_text(o, name);
  put(o, value.ptr, value.len);
}

static const char *same_site_text(enum tavi_same_site same_site) {
  switch (same_site) {
    case TAVI_SAME_SITE_LAX: return "; SameSite=Lax";
    case TAVI_SAME_SITE_STRICT: return "; SameSite=Strict";
    case TAVI_SAME_SITE_NONE: break;
  }
  return "; SameSite=None";
}

int64_t tavi__cookie_format(const struct tavi_cookie *cookie, char *out, size_t cap) {
  struct tavi_slice path = cookie->path;
  const struct prefix *prefix = prefix_of(cookie->name);
  if (!is_good(cookie, prefix)) return TAVI_E_ARG;
  if (cookie->name.len > TAVI__COOKIE_BYTES || cookie->value.len > TAVI__COOKIE_BYTES - cookie->name.len)
    return TAVI_E_LIMIT;

  struct out o = {out, cap, 0};
  char seconds[24];
  int digits = snprintf(seconds, sizeof(seconds), "%lld", (long long) cookie->max_age_s);
  if (prefix != NULL && prefix->is_host) path = (struct tavi_slice){"/", 1};
  put(&o, cookie->name.ptr, cookie->name.len);
  put_text(&o, "=");
  put(&o, cookie->value.ptr, cookie->value.len);
  put_attribute(&o, "; Path=", path);
  put_attribute(&o, "; Domain=", cookie->domain);
  if (cookie->max_age_s >= 0) put_attribute(&o, "; Max-Age=", (struct tavi_slice){seconds, (size_t) digits});
  if (cookie->is_secure) put_text(&o, "; Secure");
  if (cookie->is_http_only) put_text(&o, "; HttpOnly");
  put_text(&o, same_site_text(cookie->same_site));
  return o.len <= cap ? (int64_t) o.len : TAVI_E_LIMIT;
}
