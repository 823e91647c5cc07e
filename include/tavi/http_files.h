/* SPDX-License-Identifier: MIT
 *
 * Answering with files: a directory below a root, or one file.
 *
 * What a client asks for never leaves the root: the path is decoded once; "..", NUL and '\' in it are refused (400);
 * it is opened relative to the root without leaving it on the way (openat2(2); symbolic links that lead out of the root
 * are refused, absolute ones always are); names that begin with '.' are hidden (404), but for "/.well-known"
 * (RFC 8615). Whatever is neither a regular file nor a directory is not there.
 *
 * An answer carries Content-Type, ETag, Last-Modified and Accept-Ranges; If-Match, If-Unmodified-Since, If-None-Match,
 * If-Modified-Since, If-Range and Range are obeyed in that order (RFC 9110 section 13.2.2). A file that is replaced
 * while it is sent is sent as it was; one that shrinks ends the connection, since the length that was promised cannot
 * be kept. Bytes of files that the system does not have in memory are read by another thread, and so are directories
 * that are listed: others do not wait for the disk. (Names are looked up by the loop itself.)
 *
 * Small files are kept in memory and looked at again (stat(2)) once in each turn of the loop that asks for them, so a
 * changed file is seen at once. Two things may be noticed a second later: that a compressed neighbour has appeared, and
 * that a directory was moved out of the root and a link to it left in its place.
 *
 * tavi_http_compress() has no say here: what is worth compressing is compressed once, as a neighbour.
 */
#ifndef TAVI_HTTP_FILES_H
#define TAVI_HTTP_FILES_H

#include "tavi/http.h"

TAVI_BEGIN_DECLS

/* Fill with tavi_http_files_opts_init(). Everything it points to is borrowed for the call. */
struct tavi_http_files_opts {
  const struct tavi_http_header *headers; /* sent with every answer, errors included; such as Cache-Control. What is
                                           * ours to say is left out: framing, ETag, Last-Modified, Content-Range;
                                           * Content-Type is that of files alone, and goes before `types` */
  size_t header_count;
  const char *types;    /* "ext=type,ext2=type2", without '.'; go before our own table and the system's; "*" is any
                         * extension. NULL: none */
  const char *mount;    /* the front of the request's path that is no part of a file's name, such as "/static";
                         * a path that is not below it is 404. NULL: none */
  const char *index;    /* names tried in a directory, "a,b"; default "index.html,index.htm"; "" for none */
  const char *missing;  /* a file that is served in place of a 404; any path, it is trusted. NULL: none */
  int missing_status;   /* the status that goes with it; default 404; 200 suits single-page applications */
  unsigned ranges_max;  /* more ranges than these in one request get the whole file; default 16; 0: no ranges */
  bool listing;         /* a directory without an index is listed; default true; otherwise it is 404 */
  bool hidden;          /* names that begin with '.' are served; default false */
  bool links_out;       /* symbolic links may lead out of the root; default false */
  bool neighbours;      /* FILE.br, FILE.zst, FILE.gz, not older than FILE, are sent in its place to who accepts them
                         * (RFC 9110 section 12.5.3, by weight, then in this order), with Vary; default true */
};

TAVI_API void tavi_http_files_opts_init(struct tavi_http_files_opts *opts);

/* Answer the current request with what its path names below `root`. Inside on_headers or on_message.
 *
 * GET and HEAD; other methods get 405 with Allow. A directory without '/' at its end is 301 to the one with it; with
 * it, its index, or a page that lists it (?C=N|M|S sorts by name, time or size, ;O=D the other way round).
 * root: ends in NUL; need not be there (404). opts: NULL for defaults.
 * Returns: 0 when the answer has begun, or begins when a directory was read; TAVI_E_STATE, TAVI_E_CLOSED and
 *          TAVI_E_ARG as tavi_http_reply(); TAVI_E_NOMEM. Everything about the file is answered, not returned: 404, 403
 *          (no permission), 503 (no descriptors, or many listings wait), 500. Without memory the connection fails.
 * Spec:    RFC 9110 sections 8.8, 13, 14. */
TAVI_API int tavi_http_serve_dir(struct tavi_conn *c, const struct tavi_http_msg *msg, const char *root,
                                 const struct tavi_http_files_opts *opts);

/* Answer the current request with this file, whatever the request's path and method. `path` is the caller's own and
 * trusted; symbolic links are followed. A directory is 404. Otherwise as above; `mount`, `index`, `listing`, `hidden`
 * and `links_out` are not used. */
TAVI_API int tavi_http_serve_file(struct tavi_conn *c, const struct tavi_http_msg *msg, const char *path,
                                  const struct tavi_http_files_opts *opts);

TAVI_END_DECLS

#endif
