/* SPDX-License-Identifier: MIT
 *
 * A page that lists a directory. Reading it may take long (many entries, a slow disk), so another thread does that and
 * writes the page; the answer is begun before as a stream, and gets the page when it is ready.
 *
 * Names are hostile: in text they are escaped and set apart from the direction of the text around them (<bdi>), in
 * links everything is percent-encoded that is not a plain letter, and the page may run and load nothing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ascii.h"
#include "base/limits.h"
#include "http/files.h"
#include "loop/work.h"
#include "os/disk.h"
#include "wire/http1.h"

enum sort_by { BY_NAME, BY_TIME, BY_SIZE };

struct entry {
  char *name;
  uint64_t size;
  int64_t modified_s;
  bool is_dir;
};

/* A text that grows. After a failed allocation it stays as it is. */
struct text {
  char *bytes;
  size_t len, cap;
  bool is_failed;
};

struct listing {
  struct tavi__job job; /* first */
  uint64_t conn_id;
  char *root, *name;    /* of the directory */
  int fd;               /* of it, open for reading */
  bool hidden, links_out;
  bool is_top;          /* it is what "/" of the site names */
  enum sort_by sort;
  bool is_descending;
  struct entry *entries;
  size_t count, cap;
  bool is_cut;          /* there are more than are shown */
  bool is_failed;       /* it could not be read to its end */
  struct text page;
};

/* ==== text ==== */

static void put(struct text *t, const char *bytes, size_t len) {
  if (t->cap - t->len < len && !t->is_failed) {
    size_t cap = t->cap == 0 ? 16384 : t->cap * 2;
    while (cap - t->len < len) cap *= 2;
    char *bigger = realloc(t->bytes, cap);
    t->is_failed = bigger == NULL;
    if (!t->is_failed) {
      t->bytes = bigger;
      t->cap = cap;
    }
  }
  if (t->is_failed) return;
  memcpy(t->bytes + t->len, bytes, len);
  t->len += len;
}

static void put_text(struct text *t, const char *s) { put(t, s, strlen(s)); }

/* Length of the UTF-8 character at s, 0 when there is none (RFC 3629). */
static size_t utf8_len(const unsigned char *s) {
  if (s[0] < 0x80) return 1;
  size_t len = s[0] >= 0xF0 ? 4 : s[0] >= 0xE0 ? 3 : 2;
  if (s[0] < 0xC2 || s[0] > 0xF4) return 0;
  for (size_t i = 1; i < len; i++)
    if ((s[i] & 0xC0) != 0x80) return 0; /* stops at the NUL, too */
  if ((s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xED && s[1] > 0x9F)) return 0;
  if ((s[0] == 0xF0 && s[1] < 0x90) || (s[0] == 0xF4 && s[1] > 0x8F)) return 0;
  return len;
}

/* As text of the page: what means something to HTML escaped, controls and what is no UTF-8 replaced. */
static void put_escaped(struct text *t, const char *s) {
  while (*s != 0) {
    size_t len = utf8_len((const unsigned char *) s);
    bool is_control = (unsigned char) *s < 0x20 || *s == 0x7F;
    switch (*s) {
      case '&': put_text(t, "&amp;"); break;
      case '<': put_text(t, "&lt;"); break;
      case '>': put_text(t, "&gt;"); break;
      case '"': put_text(t, "&quot;"); break;
      case '\'': put_text(t, "&#39;"); break;
      default:
        if (len == 0 || is_control)
          put_text(t, "\xEF\xBF\xBD");
        else
          put(t, s, len);
        break;
    }
    s += len == 0 ? 1 : len;
  }
}

/* As one segment of a relative reference: nothing in it can be taken for a scheme, a host or a query. */
static void put_href(struct text *t, const char *s) {
  for (; *s != 0; s++) {
    bool is_plain = tavi__is_letter(*s) || tavi__is_digit(*s) || strchr("-._~", *s) != NULL;
    char escape[4];
    snprintf(escape, sizeof(escape), "%%%02X", (unsigned char) *s);
    put(t, is_plain ? s : escape, is_plain ? 1 : 3);
  }
}

static void put_size(struct text *t, uint64_t bytes) {
  static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  double n = (double) bytes;
  char out[32];
  size_t unit = 0;
  for (; n >= 1024 && unit < 6; unit++) n /= 1024;
  snprintf(out, sizeof(out), unit == 0 || n >= 100 ? "%.0f %s" : "%.1f %s", n, units[unit]);
  put_text(t, out);
}

/* "22 Nov 2026 19:30" is in the middle of a date of HTTP. */
static void put_time(struct text *t, int64_t unix_s) {
  char date[29];
  tavi__http1_date(unix_s, date);
  put(t, date + 5, 17);
}

/* ==== reading ==== */

/* Would tavi__http_path() refuse it? */
static bool is_refused(const struct listing *l, const char *name) {
  if (strchr(name, '\\') != NULL) return true;
  return name[0] == '.' && !l->hidden && !(l->is_top && strcmp(name, ".well-known") == 0);
}

/* What is behind a symbolic link counts only where a request for it would be answered. Returns as
 * tavi__disk_stat_below(). */
static int look(const struct listing *l, const char *name, struct tavi__disk_stat *ret_stat) {
  size_t len = strlen(l->name) + strlen(name) + 2;
  char *below = malloc(len);
  if (below == NULL) return TAVI_E_NOMEM;
  snprintf(below, len, "%s%s%s", l->name, l->name[0] != 0 ? "/" : "", name);
  int err = tavi__disk_stat_below(l->root, below, l->links_out, ret_stat);
  free(below);
  return err;
}

static bool keep(struct listing *l, const char *name, const struct tavi__disk_stat *st) {
  if (l->count == l->cap) {
    size_t cap = l->cap == 0 ? 64 : l->cap * 2;
    struct entry *bigger = realloc(l->entries, cap * sizeof(*bigger));
    if (bigger == NULL) return false;
    l->entries = bigger;
    l->cap = cap;
  }
  char *copy = strdup(name);
  if (copy == NULL) return false;
  l->entries[l->count++] = (struct entry){copy, st->size, st->modified_ns / 1000000000, st->kind == TAVI__DISK_DIR};
  return true;
}

static bool add(const char *name, const struct tavi__disk_stat *stat, void *arg) {
  struct listing *l = arg;
  struct tavi__disk_stat behind;
  if (is_refused(l, name)) return true;
  int err = stat != NULL ? 0 : look(l, name, &behind);
  l->is_failed = err == TAVI_E_NOMEM || err == TAVI_E_DESCRIPTORS; /* otherwise it is not for the client, or gone */
  if (l->is_failed) return false;
  if (stat == NULL) stat = &behind;
  if (err < 0 || stat->kind == TAVI__DISK_OTHER) return true;
  l->is_cut = l->count == TAVI__LISTING_ENTRIES;
  if (l->is_cut) return false;
  l->is_failed = !keep(l, name, stat);
  return !l->is_failed;
}

/* Directories first; names decide where the rest is equal. */
static int compare(const struct entry *a, const struct entry *b, enum sort_by sort, bool is_descending) {
  if (a->is_dir != b->is_dir) return a->is_dir ? -1 : 1;
  int order = 0;
  if (sort == BY_TIME) order = (a->modified_s > b->modified_s) - (a->modified_s < b->modified_s);
  if (sort == BY_SIZE && !a->is_dir) order = (a->size > b->size) - (a->size < b->size);
  if (order == 0) order = strcmp(a->name, b->name);
  return is_descending ? -order : order;
}

#define COMPARE(name, sort, is_descending) \
  static int name(const void *a, const void *b) { return compare(a, b, sort, is_descending); }
COMPARE(by_name, BY_NAME, false)
COMPARE(by_name_down, BY_NAME, true)
COMPARE(by_time, BY_TIME, false)
COMPARE(by_time_down, BY_TIME, true)
COMPARE(by_size, BY_SIZE, false)
COMPARE(by_size_down, BY_SIZE, true)

static void sort_entries(struct listing *l) {
  static int (*const orders[3][2])(const void *, const void *) = {
      [BY_NAME] = {by_name, by_name_down}, [BY_TIME] = {by_time, by_time_down}, [BY_SIZE] = {by_size, by_size_down}};
  if (l->count > 1) qsort(l->entries, l->count, sizeof(*l->entries), orders[l->sort][l->is_descending]);
}

/* ==== the page ==== */

static const char page_head[] =
    "<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<style>\n"
    "body{font:16px/1.5 system-ui,sans-serif;margin:1rem auto;max-width:60rem;padding:0 1rem;color-scheme:light dark}\n"
    "h1{font-size:1.25rem;overflow-wrap:anywhere}\ntable{border-collapse:collapse;width:100%}\n"
    "th,td{padding:.4rem .5rem;text-align:left;border-bottom:1px solid #8884}\n"
    "td:first-child{overflow-wrap:anywhere}\ntd:nth-child(n+2){white-space:nowrap;font-variant-numeric:tabular-nums}\n"
    "th:nth-child(3),td:nth-child(3){text-align:right}\n"
    "@media(max-width:36rem){th:nth-child(2),td:nth-child(2){display:none}}\n</style>\n";

static void put_column(struct listing *l, const char *title, char letter, enum sort_by sort) {
  char link[128];
  bool is_ours = l->sort == sort;
  snprintf(link, sizeof(link), "<th%s><a href=\"?C=%c;O=%c\">%s</a>",
           !is_ours           ? ""
           : l->is_descending ? " aria-sort=\"descending\""
                              : " aria-sort=\"ascending\"",
           letter, is_ours && !l->is_descending ? 'D' : 'A', title);
  put_text(&l->page, link);
}

static void put_entry(struct text *t, const struct entry *e) {
  const char *slash = e->is_dir ? "/" : "";
  put_text(t, "<tr><td><a href=\"./");
  put_href(t, e->name);
  put_text(t, slash);
  put_text(t, "\"><bdi>");
  put_escaped(t, e->name);
  put_text(t, slash);
  put_text(t, "</bdi></a><td>");
  put_time(t, e->modified_s);
  put_text(t, "<td>");
  if (e->is_dir)
    put_text(t, "&mdash;");
  else
    put_size(t, e->size);
  put_text(t, "\n");
}

static void write_page(struct listing *l) {
  struct text *t = &l->page;
  put_text(t, page_head);
  put_text(t, "<title>/");
  put_escaped(t, l->name);
  put_text(t, "</title>\n<h1><bdi>/");
  put_escaped(t, l->name);
  put_text(t, "</bdi></h1>\n<table>\n<tr>");
  put_column(l, "Name", 'N', BY_NAME);
  put_column(l, "Modified (UTC)", 'M', BY_TIME);
  put_column(l, "Size", 'S', BY_SIZE);
  put_text(t, "\n");
  if (l->name[0] != 0) put_text(t, "<tr><td><a href=\"../\">../</a><td><td>\n");
  for (size_t i = 0; i < l->count; i++) put_entry(t, &l->entries[i]);
  put_text(t, "</table>\n");
  if (l->is_cut) put_text(t, "<p>There are more than are shown here.</p>\n");
  if (l->is_failed) put_text(t, "<p>The rest could not be read.</p>\n");
}

/* ==== the job ==== */

static void run(struct tavi__job *job) {
  struct listing *l = (struct listing *) job;
  if (tavi__disk_list(l->fd, add, l) < 0) l->is_failed = true;
  sort_entries(l);
  write_page(l);
}

static void listing_free(struct listing *l) {
  if (l == NULL) return;
  for (size_t i = 0; i < l->count; i++) free(l->entries[i].name);
  tavi__fd_close(l->fd);
  free(l->entries);
  free(l->page.bytes);
  free(l->root);
  free(l->name);
  free(l);
}

static void done(struct tavi__job *job, struct tavi_manager *m) {
  struct listing *l = (struct listing *) job;
  struct tavi_conn *c = tavi_manager_conn(m, l->conn_id);
  if (c != NULL && l->page.is_failed)
    tavi_conn_fail(c, "no memory for the list of a directory");
  else if (c != NULL && tavi_http_chunk(c, l->page.bytes, l->page.len) == 0)
    tavi_http_end(c, NULL, 0);
  listing_free(l);
}

/* "C=M;O=D", as other servers have it; with '&' as well. */
static void read_query(struct listing *l, struct tavi_slice query) {
  for (size_t i = 0; i + 2 < query.len; i++) {
    bool is_start = i == 0 || query.ptr[i - 1] == ';' || query.ptr[i - 1] == '&';
    if (!is_start || query.ptr[i + 1] != '=') continue;
    char value = query.ptr[i + 2];
    if (query.ptr[i] == 'C') l->sort = value == 'M' ? BY_TIME : value == 'S' ? BY_SIZE : BY_NAME;
    if (query.ptr[i] == 'O') l->is_descending = value == 'D';
  }
}

/* fd: taken, also on failure. */
static struct listing *listing_new(const struct tavi__file_ask *a, const char *name, int fd) {
  const struct tavi_http_files_opts *opts = a->opts;
  struct listing *l = calloc(1, sizeof(*l));
  if (l == NULL) {
    tavi__fd_close(fd);
    return NULL;
  }
  l->job = (struct tavi__job){.run = run, .done = done, .is_patient = true};
  l->conn_id = a->c->src.id;
  l->root = strdup(a->root);
  l->name = strdup(name);
  l->fd = fd;
  l->hidden = opts->hidden;
  l->links_out = opts->links_out;
  l->is_top = name[0] == 0 && (opts->mount == NULL || opts->mount[strspn(opts->mount, "/")] == 0);
  read_query(l, a->msg->query);
  if (l->root != NULL && l->name != NULL) return l;
  listing_free(l);
  return NULL;
}

static int begin(struct tavi_conn *c, const struct tavi_http_files_opts *opts) {
  static const char policy[] = "default-src 'none'; style-src 'unsafe-inline'";
  struct tavi__file_headers h;
  int err = tavi__file_headers_begin(&h, opts, false);
  if (err < 0) return err;
  tavi__file_headers_add(&h, "Content-Type", (struct tavi_slice){"text/html; charset=utf-8", 24});
  tavi__file_headers_add(&h, "Content-Security-Policy", (struct tavi_slice){policy, sizeof(policy) - 1});
  tavi__file_headers_add(&h, "Cache-Control", (struct tavi_slice){"no-cache", 8});
  err = tavi_http_begin(c, 200, h.list, h.count, TAVI_HTTP_STREAM);
  tavi__file_headers_end(&h);
  return err;
}

int tavi__listing_serve(const struct tavi__file_ask *a, const char *name) {
  struct tavi__disk_stat st;
  int fd = tavi__disk_open_below(a->root, name, a->opts->links_out, &st);
  if (fd < 0) return fd;
  struct listing *l = listing_new(a, name, fd);
  if (l == NULL) return TAVI_E_NOMEM;

  int err = begin(a->c, a->opts);
  if (err == 0 && a->is_head) err = tavi_http_end(a->c, NULL, 0);
  if (err < 0 || a->is_head)
    listing_free(l);
  else
    tavi__work_add(a->c->src.manager, &l->job);
  return err;
}
