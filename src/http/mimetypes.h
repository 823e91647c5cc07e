/* SPDX-License-Identifier: MIT
 *
 * The types that the system's mime.types knows, read when they are first asked for. Without such a file, or memory for
 * it, there are none. */
#ifndef TAVI_HTTP_MIMETYPES_H
#define TAVI_HTTP_MIMETYPES_H

#include <stdbool.h>

#include "tavi/base.h"

/* Zeroed it is ready. */
struct tavi__mimetypes {
  char *text;                   /* a copy of the file, cut into strings */
  struct tavi__mimetype *types; /* in the order of their extensions */
  size_t count;
  bool has_looked;
};

/* In any case; NULL: it is not there. Owned by t. */
const char *tavi__mimetypes_find(struct tavi__mimetypes *t, struct tavi_slice extension);

void tavi__mimetypes_free(struct tavi__mimetypes *t);

#endif
