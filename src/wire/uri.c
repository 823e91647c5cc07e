/* SPDX-License-Identifier: MIT
 *
 * See uri.h. A URI is cut as the regular expression of RFC 3986 appendix B cuts it, so everything has its five parts;
 * one that is missing is told apart from one that is empty, because that decides what is taken from the base. */
#include "wire/uri.h"

#include <stdbool.h>
#include <string.h>

struct parts {
  struct tavi_slice scheme, authority, path, query, fragment; /* ptr NULL: there is none */
};

static const struct tavi_slice none = {NULL, 0};

static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

static bool is_scheme(const char *p, const char *end) {
  if (p == end || !is_letter(*p)) return false;
  while (p < end && (is_letter(*p) || (*p >= '0' && *p <= '9') || *p == '+' || *p == '-' || *p == '.')) p++;
  return p == end;
}

static struct tavi_slice between(const char *from, const char *to) {
  return (struct tavi_slice){from, (size_t) (to - from)};
}

static const char *find_any(const char *p, const char *end, const char *chars, size_t count) {
  while (p < end && memchr(chars, *p, count) == NULL) p++;
  return p;
}

static struct parts split(struct tavi_slice uri) {
  const char *p = uri.len > 0 ? uri.ptr : "", *end = p + uri.len;
  struct parts u = {none, none, none, none, none};
  const char *colon = find_any(p, end, ":/?#", 4);
  if (colon < end && *colon == ':' && is_scheme(p, colon)) {
    u.scheme = between(p, colon);
    p = colon + 1;
  }
  if (end - p >= 2 && p[0] == '/' && p[1] == '/') {
    const char *authority_end = find_any(p + 2, end, "/?#", 3);
    u.authority = between(p + 2, authority_end);
    p = authority_end;
  }
  const char *path_end = find_any(p, end, "?#", 2);
  u.path = between(p, path_end);
  p = path_end;
  if (p < end && *p == '?') {
    const char *query_end = find_any(p + 1, end, "#", 1);
    u.query = between(p + 1, query_end);
    p = query_end;
  }
  if (p < end) u.fragment = between(p + 1, end);
  return u;
}

static char *put(char *to, struct tavi_slice s) {
  if (s.len > 0) memcpy(to, s.ptr, s.len);
  return to + s.len;
}

static bool begins(const char *p, const char *end, const char *what) {
  size_t len = strlen(what);
  return (size_t) (end - p) >= len && memcmp(p, what, len) == 0;
}

/* Section 5.2.4, in place: what is written never overtakes what is read. Returns the end. */
static char *remove_dots(char *start, char *end) {
  char *in = start, *out = start;
  while (in < end) {
    size_t left = (size_t) (end - in);
    if (begins(in, end, "../")) {
      in += 3;
    } else if (begins(in, end, "./")) {
      in += 2;
    } else if (begins(in, end, "/./")) {
      in += 2;
    } else if (left == 2 && begins(in, end, "/.")) {
      *++in = '/';
    } else if (begins(in, end, "/../") || (left == 3 && begins(in, end, "/.."))) {
      in += left == 3 ? 2 : 3;
      *in = '/';
      while (out > start && *--out != '/') continue;
    } else if ((left == 1 && *in == '.') || (left == 2 && begins(in, end, ".."))) {
      in = end;
    } else {
      do *out++ = *in++;
      while (in < end && *in != '/');
    }
  }
  return out;
}

/* Section 5.2.3. */
static char *put_merged(char *to, const struct parts *base, struct tavi_slice path) {
  size_t folder = base->path.len;
  while (folder > 0 && base->path.ptr[folder - 1] != '/') folder--;
  if (folder > 0)
    to = put(to, (struct tavi_slice){base->path.ptr, folder});
  else if (base->authority.ptr != NULL)
    *to++ = '/';
  return put(to, path);
}

static char *put_path(char *to, const struct parts *base, const struct parts *r) {
  char *start = to;
  bool is_own = r->scheme.ptr != NULL || r->authority.ptr != NULL;
  if (!is_own && r->path.len == 0) return put(to, base->path);
  to = is_own || r->path.ptr[0] == '/' ? put(to, r->path) : put_merged(to, base, r->path);
  return remove_dots(start, to);
}

size_t tavi__uri_resolve(struct tavi_slice base, struct tavi_slice reference, char *out) {
  struct parts b = split(base), r = split(reference);
  bool has_scheme = r.scheme.ptr != NULL, has_authority = has_scheme || r.authority.ptr != NULL;
  struct tavi_slice authority = has_authority ? r.authority : b.authority, query = r.query;
  if (!has_authority && r.path.len == 0 && r.query.ptr == NULL) query = b.query;

  char *to = put(out, has_scheme ? r.scheme : b.scheme);
  *to++ = ':';
  if (authority.ptr != NULL) {
    to = put(to, (struct tavi_slice){"//", 2});
    to = put(to, authority);
  }
  to = put_path(to, &b, &r);
  if (query.ptr != NULL) {
    *to++ = '?';
    to = put(to, query);
  }
  if (r.fragment.ptr != NULL) {
    *to++ = '#';
    to = put(to, r.fragment);
  }
  return (size_t) (to - out);
}
