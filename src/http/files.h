/* SPDX-License-Identifier: MIT
 *
 * How a request that is answered with files goes through the house: files.c finds what its path names, listing.c lists
 * a directory, file_answer.c sends a file. */
#ifndef TAVI_HTTP_FILES_INTERNAL_H
#define TAVI_HTTP_FILES_INTERNAL_H

#include "http/filecache.h"
#include "http/http.h"
#include "tavi/http_files.h"

/* One request. */
struct tavi__file_ask {
  struct tavi_conn *c;
  const struct tavi_http_msg *msg;
  const struct tavi_http_files_opts *opts;
  struct tavi__filecache *fc;
  const char *root; /* NULL: names are whole paths */
  bool is_get;      /* GET or HEAD */
  bool is_head;
};

/* ==== file_answer.c ==== */

/* The headers of an answer: the caller's, and behind them ours. */
enum { TAVI__FILE_HEADERS = 24 };
struct tavi__file_headers {
  struct tavi_http_header *list; /* `room`, or memory of its own when there are many */
  size_t count, own_count;       /* the first own_count are the caller's */
  struct tavi_http_header room[TAVI__FILE_HEADERS];
};

/* Begin with the caller's, but for what only we know: type, validators, range; and, unless it is about the file itself
 * (is_file), the coding. Returns 0 or TAVI_E_NOMEM. */
int tavi__file_headers_begin(struct tavi__file_headers *h, const struct tavi_http_files_opts *opts, bool is_file);

/* One of ours, unless the caller has given it; at most eight. */
void tavi__file_headers_add(struct tavi__file_headers *h, const char *name, struct tavi_slice value);
void tavi__file_headers_end(struct tavi__file_headers *h);

/* Answer with a file. status: 200, or another with which it is sent whole, whatever the request's conditions say. */
int tavi__file_answer(const struct tavi__file_ask *a, struct tavi__cached *file, int status);

/* Answer with a short text. name, value: one header more, or NULL. */
int tavi__file_say(const struct tavi__file_ask *a, int status, const char *words, const char *name,
                   struct tavi_slice value);

/* ==== listing.c ==== */

/* Answer with a page that lists the directory `name` below the root. Returns as tavi_http_serve_dir(), or, with nothing
 * answered, the error of tavi__disk_open_below(). */
int tavi__listing_serve(const struct tavi__file_ask *a, const char *name);

#endif
