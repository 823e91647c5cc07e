/* SPDX-License-Identifier: MIT
 *
 * A request's fields out of text, "Name: value\nName: value", so that a case in a table reads as what was sent. The
 * text lies where memory ends or begins (guard.h): reading past the last value, or before the first name, crashes. */
#ifndef TAVI_TESTS_UNIT_FIELDS_H
#define TAVI_TESTS_UNIT_FIELDS_H

#include "guard.h"
#include "tavi/http_msg.h"

enum { FIELDS_MAX = 16 };

/* The slices are valid until the next call of this or of guard.h. */
__attribute__((unused)) static const struct tavi_http_msg *fields_of(const char *text, size_t len, bool at_end) {
  static struct tavi_http_header fields[FIELDS_MAX];
  static struct tavi_http_msg msg;
  const char *p = at_end ? guard_at_end(text, len) : guard_at_start(text, len);
  const char *end = p + len;
  msg = (struct tavi_http_msg){.headers = fields};
  while (p < end) {
    if (msg.header_count == FIELDS_MAX) abort();
    const char *stop = memchr(p, '\n', (size_t)(end - p));
    if (stop == NULL) stop = end;
    const char *colon = memchr(p, ':', (size_t)(stop - p));
    if (colon == NULL) abort();
    const char *value = colon + 1;
    while (value < stop && *value == ' ') value++;
    fields[msg.header_count++] = (struct tavi_http_header){
        .name = {p, (size_t)(colon - p)},
        .value = {value < stop ? value : NULL, (size_t)(stop - value)}, /* an empty slice may be NULL */
    };
    p = stop < end ? stop + 1 : end;
  }
  return &msg;
}

#endif
