/* SPDX-License-Identifier: MIT
 *
 * Answers from files, in the order of RFC 9110: what the path names (tavi__http_path, filecache.c), which form of it
 * (a compressed neighbour), the conditions (tavi__http_condition), the ranges, and then the bytes: small files from
 * memory together with the head, others by the kernel from a descriptor that all who ask for it share. */
#include "http/files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "http/filecache.h"
#include "loop/work.h"
#include "os/entropy.h"
#include "wire/http_accept.h"
#include "wire/http_cond.h"
#include "wire/http_path.h"
#include "wire/http_range.h"
#include "wire/mime.h"

enum { NAME_BYTES = 4096, INDEX_BYTES = 256, BOUNDARY_BYTES = 24 };

#define SLICE(literal) ((struct tavi_slice){(literal), sizeof(literal) - 1})

/* One request for a file. */
struct ask {
  struct tavi_conn *c;
  const struct tavi_http_msg *msg;
  const struct tavi_http_files_opts *opts;
  struct tavi__filecache *fc;
  const char *root; /* NULL: names are whole paths */
  bool is_get;      /* GET or HEAD */
  bool is_head;
};

/* What is sent for it. */
struct choice {
  const struct tavi__cached *entry; /* the file, or its neighbour */
  struct tavi_slice type;           /* of the file, whatever its form */
  unsigned coding;
  bool varies;
  struct tavi_slice etag;
  char etag_room[56];
};

void tavi_http_files_opts_init(struct tavi_http_files_opts *opts) {
  *opts = (struct tavi_http_files_opts){
      .index = "index.html,index.htm",
      .missing_status = 404,
      .ranges_max = 16,
      .listing = true,
      .neighbours = true,
  };
}

static bool method_is(const struct tavi_http_msg *msg, struct tavi_slice name) {
  return msg->method.len == name.len && memcmp(msg->method.ptr, name.ptr, name.len) == 0;
}

static struct tavi_slice text(const char *s) { return (struct tavi_slice){s, strlen(s)}; }

/* ==== headers ==== */

int tavi__file_headers_begin(struct tavi__file_headers *h, const struct tavi_http_files_opts *opts) {
  enum { OURS = 8 };
  h->list = h->room;
  h->count = h->own_count = opts->header_count;
  if (opts->header_count + OURS > TAVI__FILE_HEADERS)
    h->list = malloc((opts->header_count + OURS) * sizeof(*h->list));
  if (h->list == NULL) return TAVI_E_NOMEM;
  if (opts->header_count > 0) memcpy(h->list, opts->headers, opts->header_count * sizeof(*h->list));
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

/* A short text. name, value: one header more, or NULL. */
static int answer(const struct ask *a, int status, const char *words, const char *name, struct tavi_slice value) {
  struct tavi__file_headers h;
  int err = tavi__file_headers_begin(&h, a->opts);
  if (err < 0) return err;
  tavi__file_headers_add(&h, "Content-Type", SLICE("text/plain; charset=utf-8"));
  if (name != NULL) tavi__file_headers_add(&h, name, value);
  err = tavi_http_reply(a->c, status, h.list, h.count, text(words));
  tavi__file_headers_end(&h);
  return err;
}

static int say(const struct ask *a, int status, const char *words) {
  return answer(a, status, words, NULL, (struct tavi_slice){NULL, 0});
}

static int say_failed(const struct ask *a, int err) {
  switch (err) {
    case TAVI_E_NOMEM: return err;
    case TAVI_E_ACCESS: return say(a, 403, "Forbidden\n");
    case TAVI_E_DESCRIPTORS: return say(a, 503, "Out of descriptors\n");
    default: return say(a, 500, "The file cannot be read\n");
  }
}

/* ==== which form ==== */

/* A compressed form that the client prefers, if there is one. `path`: of the file, with room for an ending. */
static const struct tavi__cached *find_neighbour(const struct ask *a, struct tavi__cached *file, unsigned *ret_coding,
                                                 bool *ret_varies) {
  unsigned there = tavi__filecache_neighbours(a->fc, file);
  *ret_varies = there != 0;
  if (there == 0) return NULL;

  struct tavi__accept accept = tavi__http_accept_encoding(a->msg);
  size_t len = strlen(file->path + file->name_at);
  char *name = malloc(len + 5);
  const struct tavi__cached *found = NULL;
  unsigned coding;
  if (name == NULL) return NULL;
  memcpy(name, file->path + file->name_at, len);
  while (found == NULL && (coding = tavi__http_accept_choose(&accept, there)) != 0) {
    struct tavi__cached *entry;
    memcpy(name + len, tavi__filecache_ending(coding), strlen(tavi__filecache_ending(coding)) + 1);
    there &= ~coding;
    if (tavi__filecache_find(a->fc, a->root, name, file->links_out, &entry) < 0) continue;
    if (entry->stat.kind != TAVI__DISK_FILE) break; /* it has just become something else; `file` is borrowed */
    found = entry;
    *ret_coding = coding;
  }
  free(name);
  return found;
}

static void choose(const struct ask *a, struct tavi__cached *file, struct choice *ch) {
  *ch = (struct choice){.entry = file, .type = tavi__mime_listed(a->opts->types, tavi__mime_extension(file->path))};
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

/* What all answers about a file tell of it: 200, 206 and 304 (RFC 9110 section 15.4.5). */
static void add_validators(struct tavi__file_headers *h, const struct choice *ch) {
  if (ch->varies) tavi__file_headers_add(h, "Vary", SLICE("Accept-Encoding"));
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

static int send_whole(const struct ask *a, int status, const struct choice *ch) {
  const struct tavi__cached *e = ch->entry;
  struct tavi__file_headers h;
  int err = tavi__file_headers_begin(&h, a->opts);
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

static int send_range(const struct ask *a, const struct choice *ch, const struct tavi__range *r) {
  char where[TAVI__HTTP_CONTENT_RANGE_BYTES];
  uint64_t len = r->last - r->first + 1;
  struct tavi__file_headers h;
  int err = tavi__file_headers_begin(&h, a->opts);
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

static int send_parts(const struct ask *a, const struct choice *ch, const struct tavi__range *ranges, int count,
                      const char *boundary) {
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

static int send_ranges(const struct ask *a, const struct choice *ch, const struct tavi__range *ranges, int count) {
  char boundary[BOUNDARY_BYTES + 1], type[64];
  struct tavi__file_headers h;
  uint64_t total = 2 + 2 + BOUNDARY_BYTES + 2 + 2;
  int err = make_boundary(boundary);
  if (err == 0) err = tavi__file_headers_begin(&h, a->opts);
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

static int say_not_modified(const struct ask *a, const struct choice *ch) {
  struct tavi__file_headers h;
  int err = tavi__file_headers_begin(&h, a->opts);
  if (err < 0) return err;
  add_validators(&h, ch);
  err = tavi_http_reply(a->c, 304, h.list, h.count, (struct tavi_slice){NULL, 0});
  tavi__file_headers_end(&h);
  return err;
}

/* ==== conditions and ranges ==== */

/* What of the file is wanted: as tavi__http_ranges(). */
static int wanted_ranges(const struct ask *a, const struct choice *ch, const struct tavi__validators *v,
                         struct tavi__range *ranges) {
  unsigned cap = a->opts->ranges_max < TAVI__FILES_RANGES ? a->opts->ranges_max : TAVI__FILES_RANGES;
  if (cap == 0 || a->is_head || !a->is_get) return 0;
  const struct tavi_http_header *field = tavi__http1_find(a->msg->headers, a->msg->header_count, SLICE("Range"));
  if (field == NULL || !tavi__http_if_range(a->msg, v)) return 0;
  size_t behind = (size_t) (a->msg->headers + a->msg->header_count - field) - 1;
  if (tavi__http1_find(field + 1, behind, SLICE("Range")) != NULL) return 0; /* two say nothing */
  int count = tavi__http_ranges(field->value, ch->entry->stat.size, ranges, (int) cap);
  /* Under a Content-Type of the caller's nobody would find the parts. */
  if (count > 1 && tavi__http1_find(a->opts->headers, a->opts->header_count, SLICE("Content-Type")) != NULL) return 0;
  return count;
}

/* RFC 9110 section 13.2.1. */
static bool has_conditions(const struct ask *a) {
  return a->is_get || !(method_is(a->msg, SLICE("OPTIONS")) || method_is(a->msg, SLICE("TRACE")));
}

static int serve_file(const struct ask *a, struct tavi__cached *file, int status) {
  struct choice ch;
  struct tavi__range ranges[TAVI__FILES_RANGES];
  choose(a, file, &ch);
  if (status != 200) return send_whole(a, status, &ch); /* an error page is not what the conditions are about */

  struct tavi__validators v = {ch.etag, ch.entry->modified_s, tavi__manager_unix_ms() / 1000};
  int condition = has_conditions(a) ? tavi__http_condition(a->msg, a->is_get, &v) : 0;
  if (condition == 304) return say_not_modified(a, &ch);
  if (condition == 412) return say(a, 412, "Precondition failed\n");

  int count = wanted_ranges(a, &ch, &v, ranges);
  if (count == -416) {
    char where[TAVI__HTTP_CONTENT_RANGE_BYTES];
    size_t len = tavi__http_content_range(NULL, ch.entry->stat.size, where);
    return answer(a, 416, "Range not satisfiable\n", "Content-Range", (struct tavi_slice){where, len});
  }
  if (count == 1) return send_range(a, &ch, ranges);
  if (count > 1) return send_ranges(a, &ch, ranges, count);
  return send_whole(a, 200, &ch);
}

/* ==== directories ==== */

static int say_missing(const struct ask *a) {
  struct tavi__cached *entry;
  if (a->opts->missing != NULL) {
    struct ask own = *a;
    own.root = NULL;
    int err = tavi__filecache_find(a->fc, NULL, a->opts->missing, true, &entry);
    if (err == TAVI_E_NOMEM || err == TAVI_E_DESCRIPTORS) return say_failed(a, err); /* a 404 may be remembered */
    if (err == 0 && entry->stat.kind == TAVI__DISK_FILE) return serve_file(&own, entry, a->opts->missing_status);
  }
  return say(a, 404, "Not found\n");
}

/* To the same path with '/' behind it. One '/' in front is left: "//host/" would be another host. */
static int redirect(const struct ask *a) {
  struct tavi_slice path = a->msg->path, query = a->msg->query;
  while (path.len > 1 && path.ptr[1] == '/') path = (struct tavi_slice){path.ptr + 1, path.len - 1};
  char *to = malloc(path.len + query.len + 3);
  if (to == NULL) return TAVI_E_NOMEM;
  int len = snprintf(to, path.len + query.len + 3, "%.*s/%s%.*s", (int) path.len, path.ptr, query.len > 0 ? "?" : "",
                     (int) query.len, query.ptr == NULL ? "" : query.ptr);
  int err = answer(a, 301, "Moved permanently\n", "Location", (struct tavi_slice){to, (size_t) len});
  free(to);
  return err;
}

/* The first of the index names that is a file there; NULL: none. name: of the directory, with room behind it. */
static struct tavi__cached *find_index(const struct ask *a, char *name) {
  size_t len = strlen(name);
  const char *list = a->opts->index == NULL ? "" : a->opts->index;
  while (*list != 0) {
    size_t part = strcspn(list, ",");
    struct tavi__cached *entry;
    if (part > 0 && part + 2 < INDEX_BYTES) {
      snprintf(name + len, INDEX_BYTES, "%s%.*s", len > 0 ? "/" : "", (int) part, list);
      int err = tavi__filecache_find(a->fc, a->root, name, a->opts->links_out, &entry);
      name[len] = 0;
      if (err == 0 && entry->stat.kind == TAVI__DISK_FILE) return entry;
    }
    list += part + (list[part] == ',');
  }
  return NULL;
}

static int serve_below(const struct ask *a, char *name, bool is_dir) {
  struct tavi__cached *entry;
  int err = tavi__filecache_find(a->fc, a->root, name, a->opts->links_out, &entry);
  if (err == TAVI_E_NOT_FOUND) return say_missing(a);
  if (err < 0) return say_failed(a, err);
  if (entry->stat.kind == TAVI__DISK_FILE) return is_dir ? say_missing(a) : serve_file(a, entry, 200);
  if (!is_dir) return redirect(a);

  entry = find_index(a, name);
  if (entry != NULL) return serve_file(a, entry, 200);
  if (!a->opts->listing) return say_missing(a);
  if (tavi__work_waiting(a->c->src.manager) >= TAVI__LISTINGS_WAITING) return say(a, 503, "Too many listings\n");
  return tavi__listing_serve(a->c, a->msg, a->root, name, a->opts);
}

/* Take the mount away from the front of a name. False: the name is not below it. */
static bool unmount(const char *mount, char *name) {
  while (mount != NULL && *mount == '/') mount++;
  size_t len = mount == NULL ? 0 : strlen(mount);
  while (len > 0 && mount[len - 1] == '/') len--;
  if (len == 0) return true;
  if (strncmp(name, mount, len) != 0 || (name[len] != '/' && name[len] != 0)) return false;
  const char *rest = name + len + (name[len] == '/');
  memmove(name, rest, strlen(rest) + 1);
  return true;
}

/* ==== the public calls ==== */

static int begin(struct ask *a, struct tavi_conn *c, const struct tavi_http_msg *msg, const char *root,
                 const struct tavi_http_files_opts *opts) {
  if (!tavi__is_http_server(c)) return TAVI_E_STATE;
  if (c->src.is_closing || c->is_draining) return TAVI_E_CLOSED;
  if (!tavi_http_is_waiting(c)) return TAVI_E_STATE;
  bool is_head = method_is(msg, SLICE("HEAD"));
  *a = (struct ask){c, msg, opts, tavi__filecache_of(c->src.manager), root, is_head || method_is(msg, SLICE("GET")),
                    is_head};
  return a->fc == NULL ? TAVI_E_NOMEM : 0;
}

int tavi_http_serve_dir(struct tavi_conn *c, const struct tavi_http_msg *msg, const char *root,
                        const struct tavi_http_files_opts *opts) {
  struct tavi_http_files_opts defaults;
  struct ask a;
  char name[NAME_BYTES + INDEX_BYTES];
  bool is_dir;
  tavi_http_files_opts_init(&defaults);
  if (root == NULL || root[0] == 0) return TAVI_E_ARG;
  int err = begin(&a, c, msg, root, opts != NULL ? opts : &defaults);
  if (err < 0) return err;

  if (!a.is_get) return answer(&a, 405, "Method not allowed\n", "Allow", SLICE("GET, HEAD"));
  int len = tavi__http_path(msg->path, a.opts->hidden, name, NAME_BYTES, &is_dir);
  if (len == -400) return say(&a, 400, "Invalid path\n");
  if (len == -414) return say(&a, 414, "Path too long\n");
  if (len < 0 || !unmount(a.opts->mount, name)) return say_missing(&a);
  return serve_below(&a, name, is_dir);
}

int tavi_http_serve_file(struct tavi_conn *c, const struct tavi_http_msg *msg, const char *path,
                         const struct tavi_http_files_opts *opts) {
  struct tavi_http_files_opts defaults;
  struct tavi__cached *entry;
  struct ask a;
  tavi_http_files_opts_init(&defaults);
  if (path == NULL) return TAVI_E_ARG;
  int err = begin(&a, c, msg, NULL, opts != NULL ? opts : &defaults);
  if (err < 0) return err;

  err = tavi__filecache_find(a.fc, NULL, path, true, &entry);
  if (err == TAVI_E_NOT_FOUND || (err == 0 && entry->stat.kind != TAVI__DISK_FILE)) return say_missing(&a);
  return err < 0 ? say_failed(&a, err) : serve_file(&a, entry, 200);
}
