/* SPDX-License-Identifier: MIT
 *
 * Forms that are in memory: a value in "a=1&b=2", and the parts of a multipart body. Pure functions over slices. */
#include <string.h>

#include "base/ascii.h"
#include "base/limits.h"
#include "tavi/http_form.h"
#include "wire/http1.h"
#include "wire/multipart.h"

/* ==== values in "a=1&b=2" ==== */

/* Is `raw` the percent-encoded form of `name`? A bad escape never is. */
static bool decodes_to(struct tavi_slice raw, struct tavi_slice name) {
  size_t at = 0;
  for (size_t i = 0; i < raw.len; at++) {
    char c[3];
    struct tavi_slice one = {raw.ptr + i, raw.ptr[i] == '%' && raw.len - i >= 3 ? 3 : 1};
    if (at >= name.len || tavi_percent_decode(one, true, c) != 1 || c[0] != name.ptr[at]) return false;
    i += one.len;
  }
  return at == name.len;
}

int tavi_form_find(struct tavi_slice form, struct tavi_slice name, struct tavi_slice *ret_value) {
  size_t at = 0;
  while (at < form.len) {
    const char *p = form.ptr + at, *amp = memchr(p, '&', form.len - at);
    size_t len = amp == NULL ? form.len - at : (size_t) (amp - p);
    const char *eq = len == 0 ? NULL : memchr(p, '=', len);
    size_t name_len = eq == NULL ? len : (size_t) (eq - p);
    if (len > 0 && decodes_to((struct tavi_slice){p, name_len}, name)) {
      *ret_value = (struct tavi_slice){eq == NULL ? p + len : eq + 1, eq == NULL ? 0 : len - name_len - 1};
      return 0;
    }
    at += len + 1;
  }
  return TAVI_E_NOT_FOUND;
}

/* ==== boundaries ==== */

int tavi_multipart_boundary(struct tavi_slice content_type, struct tavi_slice *ret_boundary) {
  struct tavi_slice found;
  struct tavi__multipart mp;
  if (!tavi__slice_begins(content_type, "multipart/", 10)) return TAVI_E_NOT_FOUND;
  if (content_type.len == 10 || content_type.ptr[10] == ';') return TAVI_E_NOT_FOUND;
  if (tavi_http_header_param(content_type, (struct tavi_slice){"boundary", 8}, &found) < 0) return TAVI_E_NOT_FOUND;
  if (!tavi__multipart_init(&mp, found, 0)) return TAVI_E_NOT_FOUND;
  *ret_boundary = found;
  return 0;
}

/* What stands behind the "--" with which the body begins. (A preamble, which nobody sends, would have to be searched
 * for each part anew.) False when it does not. */
static bool guess_boundary(struct tavi_slice body, struct tavi_slice *ret_boundary) {
  if (body.len < 2 || memcmp(body.ptr, "--", 2) != 0) return false;
  size_t most = 2 + TAVI__MULTIPART_BOUNDARY_MAX + 4; /* the rest of its line may be white space */
  const char *p = body.ptr, *end = p + body.len, *lf = memchr(p, '\n', body.len < most ? body.len : most);
  const char *stop = lf != NULL ? lf : body.len < most ? end : p + most;
  while (stop > p + 2 && (tavi__is_space(stop[-1]) || stop[-1] == '\r')) stop--;
  /* On the only line it is the close delimiter of a form without parts. */
  bool is_close = stop - p > 4 && memcmp(stop - 2, "--", 2) == 0 && (lf == NULL || lf + 1 == end);
  *ret_boundary = (struct tavi_slice){p + 2, (size_t) (stop - p) - (is_close ? 4 : 2)};
  return true;
}

/* ==== a multipart body that is in memory ==== */

/* The part that begins at *offset: its head and its body. */
static int next_part(struct tavi__multipart *mp, struct tavi_slice all, size_t *offset, struct tavi_slice *ret_head,
                     struct tavi_slice *ret_body) {
  for (;;) {
    enum tavi__multipart_event event;
    struct tavi_slice data;
    size_t used = 0;
    int r = tavi__multipart_read(mp, all.ptr + *offset, all.len - *offset, &used, &event, &data);
    if (r != TAVI_WIRE_EVENT) return TAVI_E_PROTOCOL;
    *offset += used;
    switch (event) {
      case TAVI__MULTIPART_PART:
        *ret_head = data;
        *ret_body = (struct tavi_slice){all.ptr + *offset + 2, 0};
        break;
      case TAVI__MULTIPART_DATA: *ret_body = data; break;
      case TAVI__MULTIPART_ENDED: *offset -= 4u + mp->boundary_len; return 0; /* with it the next call begins */
      case TAVI__MULTIPART_LAST:
        r = tavi__multipart_read(mp, all.ptr + *offset, all.len - *offset, &used, &event, &data);
        *offset = all.len;
        return r < 0 ? r : TAVI_E_NOT_FOUND;
    }
  }
}

int tavi_multipart_next(struct tavi_slice body, struct tavi_slice boundary, size_t *offset,
                        struct tavi_multipart_part *ret_part) {
  struct tavi__multipart mp;
  struct tavi__multipart_head said;
  struct tavi_slice head, content;
  size_t at = *offset;
  if (boundary.len == 0 && !guess_boundary(body, &boundary)) return TAVI_E_PROTOCOL;
  if (!tavi__multipart_init(&mp, boundary, TAVI__MULTIPART_HEAD_BYTES)) return TAVI_E_PROTOCOL;
  if (at >= body.len) return at == 0 ? TAVI_E_PROTOCOL : TAVI_E_NOT_FOUND;

  int r = next_part(&mp, body, &at, &head, &content);
  if (r < 0) return r;
  r = tavi__multipart_head(head, &said);
  if (r < 0) return r;
  *offset = at;
  *ret_part = (struct tavi_multipart_part){said.name, said.filename, said.content_type, head, content,
                                           said.has_filename};
  return 0;
}
