/* SPDX-License-Identifier: MIT
 *
 * Looking things up in a message: headers, their parameters. Pure functions over slices. */
#include <string.h>

#include "base/ascii.h"
#include "http/http.h"

const struct tavi_slice *tavi_http_header(const struct tavi_http_msg *msg, const char *name) {
  struct tavi_slice s = {name, strlen(name)};
  const struct tavi_http_header *f = tavi__http1_find(msg->headers, msg->header_count, s);
  return f == NULL ? NULL : &f->value;
}

/* The end of a value that begins at p: behind the closing quote, or at the next separator. */
static const char *skip_value(const char *p, const char *end) {
  if (p < end && *p == '"') {
    for (p++; p < end && *p != '"'; p++)
      if (*p == '\\' && p + 1 < end) p++;
    return p < end ? p + 1 : end;
  }
  while (p < end && *p != ';' && *p != ',' && !tavi__is_space(*p)) p++;
  return p;
}

int tavi_http_header_param(struct tavi_slice value, struct tavi_slice name, struct tavi_slice *ret_value) {
  const char *p = value.ptr, *end = value.ptr + value.len;
  while (p < end) {
    while (p < end && (tavi__is_space(*p) || *p == ';' || *p == ',')) p++;
    const char *start = p;
    while (p < end && *p != '=' && *p != ';' && *p != ',' && !tavi__is_space(*p) && *p != '"') p++;
    struct tavi_slice found = {start, (size_t) (p - start)};
    if (p == end || *p != '=') {
      if (p < end && *p == '"') p = skip_value(p, end);
      continue;
    }
    const char *from = ++p;
    p = skip_value(p, end);
    if (!tavi__slice_is(found, name.ptr, name.len)) continue;
    bool is_quoted = from < p && *from == '"';
    size_t len = (size_t) (p - from);
    if (is_quoted) len -= len >= 2 && p[-1] == '"' ? 2 : 1;
    *ret_value = (struct tavi_slice){from + is_quoted, len};
    return 0;
  }
  return TAVI_E_NOT_FOUND;
}
