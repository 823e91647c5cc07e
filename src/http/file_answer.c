/* SPDX-License-Identifier: MIT
 *
 * The answer with one file, in the order of RFC 9110: which form of it (a compressed neighbour), the conditions
 * (tavi__http_condition), the ranges, and then the bytes: small files from memory together with the head, others by the
 * kernel from a descriptor that all who ask for it share. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "http/files.h"
#include "os/entropy.h"
#include "wire/http_accept.h"
#include "wire/http_cond.h"
#include "wire/http_range.h"
#include "wire/mime.h"

enum { BOUNDARY_BYTES = 24 };

#define SLICE(literal) ((struct tavi_slice){(literal), sizeof(literal) - 1})

/* What is sent for it. */
struct choice {
  const struct tavi__cached *entry; /* the file, or its neighbour */
  struct tavi_slice type;           /* of the file, whatever its form */
  unsigned coding;
  bool varies;
  struct tavi_slice etag;
  char etag_room[56];
};

static struct tavi_slice text(const char *s) { return (struct tavi_slice){s, strlen(s)}; }

/* ==== headers ==== */

static const struct tavi_http_header *callers(const struct tavi_http_files_opts *opts, const char *name) {
  return tavi__http1_find(opts->headers, opts->header_count, text(name));
}

/* Is it the caller's to say? */
static bool is_callers(const struct tavi_http_header *f, bool is_file) {
  static const char *const ours[] = {"content-type", "content-length", "transfer-encoding", "etag", "last-modified",
                                     "content-range", "content-encoding"};
  for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]) - is_file; i++)
    if (tavi__slice_is(f->name, ours[i], strlen(ours[i]))) return false;
  return true;
}

int tavi__file_headers_begin(struct tavi__file_headers *h, const struct tavi_http_files_opts *opts, bool is_file) {
  enum { OURS = 8 };
  h->list = h->room;
  h->count = 0;
  if (opts->header_count + OURS > TAVI__FILE_HEADERS)
    h->list = malloc((opts->header_count + OURS) * sizeof(*h->list));
  if (h->list == NULL) return TAVI_E_NOMEM;
  for (size_t i = 0; i < opts->header_count; i++)
    if (is_callers(&opts->headers[i], is_file)) h->list[h->count++] = opts->headers[i];
  h->own_count = h->count;
  return 0;
}

void tavi__file_headers_add(struct tavi__file_headers *h, const char *name, struct tavi_slice value) {
  if (h->own_count > 0 && tavi__http1_find(h->list, h->own_count, text(name)) != NULL) return;
  h->list[h->count++] = (struct tavi_http_header){text(name), value};
}

void tavi__file_headers_end(struct tavi__file_headers *h) {
  if (h->list != h->room) free(h->list);
}

/* ==== answers without a file ==== */

int tavi__file_say(const struct tavi__file_ask *a, int status, const char *words, const char *name,
                   struct tavi_slice value) {
  struct tavi__file_headers h;
  int err = tavi__file_headers_begin(&h, a->opts, false);
  if (err < 0) return err;
  tavi__file_headers_add(&h, "Content-Type", SLICE("text/plain; charset=utf-8"));
  if (name != NULL) tavi__file_headers_add(&h, name, value);
  err = tavi_http_reply(a->c, status, h.list, h.count, text(words));
  tavi__file_headers_end(&h);
  return err;
}

/* ==== which form ==== */

/* A compressed form that the client prefers, if there is one. */
static const struct tavi__cached *find_neighbour(const struct tavi__file_ask *a, struct tavi__cached *file,
                                                 unsigned *ret_coding, bool *ret_varies) {
  unsigned there = tavi__filecache_neighbours(a->fc, file);
  *ret_varies = there != 0;
  if (there == 0) return NULL;

  struct tavi__accept accept = tavi__http_accept_encoding(a->msg);
  unsigned coding;
  while ((coding = tavi__http_accept_choose(&accept, there)) != 0) {
    struct tavi__cached *entry;
    char name[TAVI__FILE_PATH_BYTES];
    there &= ~coding;
    if (!tavi__filecache_neighbour(file->path + file->name_at, coding, name)) return NULL;
    if (tavi__filecache_find(a->fc, a->root, name, file->links_out, &entry) < 0) continue;
    if (entry->stat.kind != TAVI__DISK_FILE) return NULL; /* it has just become something else; `file` is borrowed */
    *ret_coding = coding;
    return entry;
  }
  return NULL;
}

static void choose(const struct tavi__file_ask *a, struct tavi__cached *file, struct choice *ch) {
  const struct tavi_http_header *type = callers(a->opts, "Content-Type");
  *ch = (struct choice){.entry = file};
  ch->type = type != NULL ? type->value : tavi__mime_listed(a->opts->types, tavi__mime_extension(file->path));
  if (ch->type.len == 0) ch->type = text(file->type);
  if (a->opts->neighbours) {
    const struct tavi__cached *other = find_neighbour(a, file, &ch->coding, &ch->varies);
    if (other != NULL) ch->entry = other;
  }
  ch->etag = tavi__cached_etag(ch->entry);
  if (ch->coding != 0) { /* the same bytes under another name are another representation */
    int len = snprintf(ch->etag_room, sizeof(ch->etag_room), "%.*s-%s\"", (int) ch->etag.len - 1, ch->etag.ptr,
                       tavi__http_coding_name(ch->coding));
    ch->etag = (struct tavi_slice){ch->etag_room, (size_t) len};
  }
}

/* ==== sending ==== */

/* What all answers about a file tell of it: 200, 206 and 304 (RFC 9110 section 15.4.5). Another Vary of the caller's
 * adds to ours. */
static void add_validators(struct tavi__file_headers *h, const struct choice *ch) {
  if (ch->varies) h->list[h->count++] = (struct tavi_http_header){SLICE("Vary"), SLICE("Accept-Encoding")};
  tavi__file_headers_add(h, "ETag", ch->etag);
  tavi__file_headers_add(h, "Last-Modified", (struct tavi_slice){ch->entry->modified, sizeof(ch->entry->modified)});
}

static void add_content(struct tavi__file_headers *h, const struct choice *ch, struct tavi_slice type) {
  tavi__file_headers_add(h, "Content-Type", type);
  if (ch->coding != 0) tavi__file_headers_add(h, "Content-Encoding", text(tavi__http_coding_name(ch->coding)));
  add_validators(h, ch);
}

static int send_bytes(struct tavi_conn *c, const struct tavi__cached *e, uint64_t first, uint64_t len) {
  if (len == 0) return 0;
  if (e->bytes == NULL) return tavi__conn_send_file(c, e->file, first, len);
  return tavi_conn_send(c, tavi__shared_bytes(e->bytes).ptr + first, (size_t) len);
}

static void unref(void *shared) { tavi_shared_unref(shared); }

static int send_whole(const struct tavi__file_ask *a, int status, const struct choice *ch) {
  const struct tavi__cached *e = ch->entry;
  struct tavi__file_headers h;
  int err = tavi__file_headers_begin(&h, a->opts, true);
  if (err < 0) return err;
  add_content(&h, ch, ch->type);
  if (a->opts->ranges_max > 0) tavi__file_headers_add(&h, "Accept-Ranges", SLICE("bytes"));
  if (e->bytes != NULL) {
    err = tavi_http_reply_foreign(a->c, status, h.list, h.count, tavi__shared_bytes(e->bytes), unref,
                                  tavi__shared_ref(e->bytes));
  } else {
    err = tavi_http_begin(a->c, status, h.list, h.count, e->stat.size);
    if (err == 0) err = send_bytes(a->c, e, 0, e->stat.size);
  }
  tavi__file_headers_end(&h);
  return err;
}

static int send_range(const struct tavi__file_ask *a, const struct choice *ch, const struct tavi__range *r) {
  char where[TAVI__HTTP_CONTENT_RANGE_BYTES];
  uint64_t len = r->last - r->first + 1;
  struct tavi__file_headers h;
  int err = tavi__file_headers_begin(&h, a->opts, true);
  if (err < 0) return err;
  add_content(&h, ch, ch->type);
  size_t where_len = tavi__http_content_range(r, ch->entry->stat.size, where);
  tavi__file_headers_add(&h, "Content-Range", (struct tavi_slice){where, where_len});
  err = tavi_http_begin(a->c, 206, h.list, h.count, len);
  if (err == 0) err = send_bytes(a->c, ch->entry, r->first, len);
  tavi__file_headers_end(&h);
  return err;
}

/* The lines before one part of multipart/byteranges (RFC 9110 section 14.6), at `to`, where there is room for cap
 * bytes. Returns their length, also when there is no room. */
static size_t put_part_head(char *to, size_t cap, const char *boundary, const struct choice *ch,
                            const struct tavi__range *r) {
  char where[TAVI__HTTP_CONTENT_RANGE_BYTES];
  size_t len = tavi__http_content_range(r, ch->entry->stat.size, where);
  return (size_t) snprintf(to, cap, "\r\n--%s\r\nContent-Type: %.*s\r\nContent-Range: %.*s\r\n\r\n", boundary,
                           (int) ch->type.len, ch->type.ptr, (int) len, where);
}

/* Nobody who has written the file can have known it, so no part holds it but by an unbelievable accident. */
static int make_boundary(char boundary[BOUNDARY_BYTES + 1]) {
  unsigned char random[BOUNDARY_BYTES];
  int err = tavi__entropy(random, sizeof(random));
  for (int i = 0; i < BOUNDARY_BYTES; i++) boundary[i] = "0123456789abcdefghijklmnopqrstuv"[random[i] & 31];
  boundary[BOUNDARY_BYTES] = 0;
  return err;
}

static int send_parts(const struct tavi__file_ask *a, const struct choice *ch, const struct tavi__range *ranges,
                      int count, const char *boundary) {
  enum { END_BYTES = 2 + 2 + BOUNDARY_BYTES + 2 + 2 };
  char end[END_BYTES + 1], *head = malloc(ch->type.len + 256);
  int err = head == NULL ? TAVI_E_NOMEM : 0;
  if (err < 0) tavi_conn_fail(a->c, "no memory for a part of a file");
  for (int i = 0; i < count && err == 0; i++) {
    err = tavi_conn_send(a->c, head, put_part_head(head, ch->type.len + 256, boundary, ch, &ranges[i]));
    if (err == 0) err = send_bytes(a->c, ch->entry, ranges[i].first, ranges[i].last - ranges[i].first + 1);
  }
  free(head);
  if (err < 0) return err;
  snprintf(end, sizeof(end), "\r\n--%s--\r\n", boundary);
  return tavi_conn_send(a->c, end, END_BYTES);
}

static int send_ranges(const struct tavi__file_ask *a, const struct choice *ch, const struct tavi__range *ranges,
                       int count) {
  char boundary[BOUNDARY_BYTES + 1], type[64];
  struct tavi__file_headers h;
  uint64_t total = 2 + 2 + BOUNDARY_BYTES + 2 + 2;
  int err = make_boundary(boundary);
  if (err == 0) err = tavi__file_headers_begin(&h, a->opts, true);
  if (err < 0) return err;
  for (int i = 0; i < count; i++)
    total += put_part_head(NULL, 0, boundary, ch, &ranges[i]) + (ranges[i].last - ranges[i].first + 1);
  snprintf(type, sizeof(type), "multipart/byteranges; boundary=%s", boundary);
  add_content(&h, ch, text(type));
  err = tavi_http_begin(a->c, 206, h.list, h.count, total);
  if (err == 0) err = send_parts(a, ch, ranges, count, boundary);
  tavi__file_headers_end(&h);
  return err;
}

static int say_not_modified(const struct tavi__file_ask *a, const struct choice *ch) {
  struct tavi__file_headers h;
  int err = tavi__file_headers_begin(&h, a->opts, true);
  if (err < 0) return err;
  add_validators(&h, ch);
  err = tavi_http_reply(a->c, 304, h.list, h.count, (struct tavi_slice){NULL, 0});
  tavi__file_headers_end(&h);
  return err;
}

/* ==== conditions and ranges ==== */

/* What of the file is wanted: as tavi__http_ranges(). */
static int wanted_ranges(const struct tavi__file_ask *a, const struct choice *ch, const struct tavi__validators *v,
                         struct tavi__range *ranges) {
  unsigned cap = a->opts->ranges_max < TAVI__FILES_RANGES ? a->opts->ranges_max : TAVI__FILES_RANGES;
  if (cap == 0 || a->is_head || !a->is_get) return 0;
  const struct tavi_http_header *field = tavi__http1_find(a->msg->headers, a->msg->header_count, SLICE("Range"));
  if (field == NULL || !tavi__http_if_range(a->msg, v)) return 0;
  size_t behind = (size_t) (a->msg->headers + a->msg->header_count - field) - 1;
  if (tavi__http1_find(field + 1, behind, SLICE("Range")) != NULL) return 0; /* two say nothing */
  return tavi__http_ranges(field->value, ch->entry->stat.size, ranges, (int) cap);
}

/* RFC 9110 section 13.2.1. */
static bool has_conditions(const struct tavi__file_ask *a) {
  struct tavi_slice method = a->msg->method;
  if (a->is_get) return true;
  return !(method.len == 7 && memcmp(method.ptr, "OPTIONS", 7) == 0) &&
         !(method.len == 5 && memcmp(method.ptr, "TRACE", 5) == 0);
}

int tavi__file_answer(const struct tavi__file_ask *a, struct tavi__cached *file, int status) {
  struct choice ch;
  struct tavi__range ranges[TAVI__FILES_RANGES];
  choose(a, file, &ch);
  if (status != 200) return send_whole(a, status, &ch); /* an error page is not what the conditions are about */

  struct tavi__validators v = {ch.etag, ch.entry->modified_s, tavi__manager_unix_ms() / 1000};
  int condition = has_conditions(a) ? tavi__http_condition(a->msg, a->is_get, &v) : 0;
  if (condition == 304) return say_not_modified(a, &ch);
  if (condition == 412) return tavi__file_say(a, 412, "Precondition failed\n", NULL, SLICE(""));

  int count = wanted_ranges(a, &ch, &v, ranges);
  if (count == -416) {
    char where[TAVI__HTTP_CONTENT_RANGE_BYTES];
    size_t len = tavi__http_content_range(NULL, ch.entry->stat.size, where);
    return tavi__file_say(a, 416, "Range not satisfiable\n", "Content-Range", (struct tavi_slice){where, len});
  }
  if (count == 1) return send_range(a, &ch, ranges);
  if (count > 1) return send_ranges(a, &ch, ranges, count);
  return send_whole(a, 200, &ch);
}
