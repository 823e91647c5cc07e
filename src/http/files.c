/* SPDX-License-Identifier: MIT
 *
 * What the path of a request names: a file below a root, a directory's index or its listing, another path, or nothing.
 * The path is judged (tavi__http_path), the cache is asked (filecache.c), and file_answer.c or listing.c answers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "http/files.h"
#include "loop/work.h"
#include "wire/http_path.h"

enum { NAME_BYTES = 4096, INDEX_BYTES = 256 };

#define SLICE(literal) ((struct tavi_slice){(literal), sizeof(literal) - 1})

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

/* ==== short answers ==== */

static int say(const struct tavi__file_ask *a, int status, const char *words) {
  return tavi__file_say(a, status, words, NULL, SLICE(""));
}

static int say_failed(const struct tavi__file_ask *a, int err) {
  switch (err) {
    case TAVI_E_NOMEM: return err;
    case TAVI_E_ACCESS: return say(a, 403, "Forbidden\n");
    case TAVI_E_DESCRIPTORS: return say(a, 503, "Out of descriptors\n");
    default: return say(a, 500, "The file cannot be read\n");
  }
}

/* ==== directories ==== */

static int say_missing(const struct tavi__file_ask *a) {
  struct tavi__cached *entry;
  if (a->opts->missing != NULL) {
    struct tavi__file_ask own = *a;
    own.root = NULL;
    int err = tavi__filecache_find(a->fc, NULL, a->opts->missing, true, &entry);
    if (err == TAVI_E_NOMEM || err == TAVI_E_DESCRIPTORS) return say_failed(a, err); /* a 404 may be remembered */
    if (err == 0 && entry->stat.kind == TAVI__DISK_FILE) return tavi__file_answer(&own, entry, a->opts->missing_status);
  }
  return say(a, 404, "Not found\n");
}

/* To the same path with '/' behind it. One '/' in front is left: "//host/" would be another host. */
static int redirect(const struct tavi__file_ask *a) {
  struct tavi_slice path = a->msg->path, query = a->msg->query;
  while (path.len > 1 && path.ptr[1] == '/') path = (struct tavi_slice){path.ptr + 1, path.len - 1};
  char *to = malloc(path.len + query.len + 3);
  if (to == NULL) return TAVI_E_NOMEM;
  int len = snprintf(to, path.len + query.len + 3, "%.*s/%s%.*s", (int) path.len, path.ptr, query.len > 0 ? "?" : "",
                     (int) query.len, query.ptr == NULL ? "" : query.ptr);
  int err = tavi__file_say(a, 301, "Moved permanently\n", "Location", (struct tavi_slice){to, (size_t) len});
  free(to);
  return err;
}

/* The first of the index names that is a file there, or an error: TAVI_E_NOT_FOUND when none is. (One that must not be
 * read, say, hides nothing behind it.) name: of the directory, with room behind it. */
static int find_index(const struct tavi__file_ask *a, char *name, struct tavi__cached **ret_entry) {
  size_t len = strlen(name);
  const char *list = a->opts->index == NULL ? "" : a->opts->index;
  while (*list != 0) {
    size_t part = strcspn(list, ",");
    if (part > 0 && part + 2 < INDEX_BYTES) {
      snprintf(name + len, INDEX_BYTES, "%s%.*s", len > 0 ? "/" : "", (int) part, list);
      int err = tavi__filecache_find(a->fc, a->root, name, a->opts->links_out, ret_entry);
      name[len] = 0;
      if (err == 0 && (*ret_entry)->stat.kind == TAVI__DISK_FILE) return 0;
      if (err < 0 && err != TAVI_E_NOT_FOUND) return err;
    }
    list += part + (list[part] == ',');
  }
  return TAVI_E_NOT_FOUND;
}

static int serve_directory(const struct tavi__file_ask *a, char *name) {
  struct tavi__cached *entry;
  int err = find_index(a, name, &entry);
  if (err == 0) return tavi__file_answer(a, entry, 200);
  if (err != TAVI_E_NOT_FOUND) return say_failed(a, err);
  if (!a->opts->listing) return say_missing(a);
  if (tavi__work_patient_count(a->c->src.manager) >= TAVI__LISTINGS_WAITING) return say(a, 503, "Too many listings\n");
  err = tavi__listing_serve(a, name);
  return err < 0 && tavi_http_is_waiting(a->c) ? say_failed(a, err) : err;
}

static int serve_below(const struct tavi__file_ask *a, char *name, bool is_dir) {
  struct tavi__cached *entry;
  int err = tavi__filecache_find(a->fc, a->root, name, a->opts->links_out, &entry);
  if (err == TAVI_E_NOT_FOUND) return say_missing(a);
  if (err < 0) return say_failed(a, err);
  if (entry->stat.kind == TAVI__DISK_FILE) return is_dir ? say_missing(a) : tavi__file_answer(a, entry, 200);
  return is_dir ? serve_directory(a, name) : redirect(a);
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

static int begin(struct tavi__file_ask *a, struct tavi_conn *c, const struct tavi_http_msg *msg, const char *root,
                 const struct tavi_http_files_opts *opts) {
  if (!tavi__is_http_server(c)) return TAVI_E_STATE;
  if (c->src.is_closing || c->is_draining) return TAVI_E_CLOSED;
  if (!tavi_http_is_waiting(c)) return TAVI_E_STATE;
  bool is_head = method_is(msg, SLICE("HEAD"));
  *a = (struct tavi__file_ask){
      .c = c,
      .msg = msg,
      .opts = opts,
      .fc = tavi__filecache_of(c->src.manager),
      .root = root,
      .is_get = is_head || method_is(msg, SLICE("GET")),
      .is_head = is_head,
  };
  tavi__http_forget_coding(c); /* files are compressed beforehand, or not at all */
  return a->fc == NULL ? TAVI_E_NOMEM : 0;
}

/* Nobody may be left waiting for an answer that there was no memory for. */
static int result(struct tavi_conn *c, int err) {
  if (err == TAVI_E_NOMEM) tavi__conn_fail_with(c, err, "cannot answer with a file");
  return err;
}

static int serve_path(const struct tavi__file_ask *a) {
  char name[NAME_BYTES + INDEX_BYTES];
  bool is_dir;
  if (!a->is_get) return tavi__file_say(a, 405, "Method not allowed\n", "Allow", SLICE("GET, HEAD"));
  int len = tavi__http_path(a->msg->path, a->opts->hidden, name, NAME_BYTES, &is_dir);
  if (len == -400) return say(a, 400, "Invalid path\n");
  if (len == -414) return say(a, 414, "Path too long\n");
  return len < 0 || !unmount(a->opts->mount, name) ? say_missing(a) : serve_below(a, name, is_dir);
}

int tavi_http_serve_dir(struct tavi_conn *c, const struct tavi_http_msg *msg, const char *root,
                        const struct tavi_http_files_opts *opts) {
  struct tavi_http_files_opts defaults;
  struct tavi__file_ask a;
  tavi_http_files_opts_init(&defaults);
  if (root == NULL || root[0] == 0) return TAVI_E_ARG;
  int err = begin(&a, c, msg, root, opts != NULL ? opts : &defaults);
  return result(c, err < 0 ? err : serve_path(&a));
}

static int serve_named(const struct tavi__file_ask *a, const char *path) {
  struct tavi__cached *entry;
  int err = tavi__filecache_find(a->fc, NULL, path, true, &entry);
  if (err == TAVI_E_NOT_FOUND || (err == 0 && entry->stat.kind != TAVI__DISK_FILE)) return say_missing(a);
  return err < 0 ? say_failed(a, err) : tavi__file_answer(a, entry, 200);
}

int tavi_http_serve_file(struct tavi_conn *c, const struct tavi_http_msg *msg, const char *path,
                         const struct tavi_http_files_opts *opts) {
  struct tavi_http_files_opts defaults;
  struct tavi__file_ask a;
  tavi_http_files_opts_init(&defaults);
  if (path == NULL) return TAVI_E_ARG;
  int err = begin(&a, c, msg, NULL, opts != NULL ? opts : &defaults);
  return result(c, err < 0 ? err : serve_named(&a, path));
}
