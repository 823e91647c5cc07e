/* SPDX-License-Identifier: MIT
 *
 * What files.c and listing.c share. */
#ifndef TAVI_HTTP_FILES_INTERNAL_H
#define TAVI_HTTP_FILES_INTERNAL_H

#include "http/http.h"
#include "tavi/http_files.h"

/* The headers of an answer: the caller's, and behind them ours, but for those that the caller has given. */
enum { TAVI__FILE_HEADERS = 24 };
struct tavi__file_headers {
  struct tavi_http_header *list; /* `room`, or memory of its own when there are many */
  size_t count, own_count;       /* the first own_count are the caller's */
  struct tavi_http_header room[TAVI__FILE_HEADERS];
};

int tavi__file_headers_begin(struct tavi__file_headers *h, const struct tavi_http_files_opts *opts);
void tavi__file_headers_add(struct tavi__file_headers *h, const char *name, struct tavi_slice value);
void tavi__file_headers_end(struct tavi__file_headers *h);

/* Answer with a page that lists the directory `name` below `root`. Returns as tavi_http_serve_dir(). */
int tavi__listing_serve(struct tavi_conn *c, const struct tavi_http_msg *msg, const char *root, const char *name,
                        const struct tavi_http_files_opts *opts);

#endif
