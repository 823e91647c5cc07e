/* SPDX-License-Identifier: MIT
 *
 * What the tests of forms share: a server that receives each POST as a form and answers with what was in it, requests with
 * forms, and a disk that is slow, full or strange when a test says so (pwrite and openat of the program are ours). */
#ifndef TAVI_TESTS_E2E_FORM_RIG_H
#define TAVI_TESTS_E2E_FORM_RIG_H

#include <dirent.h>
#include <pthread.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "e2e/http_rig.h"

/* ==== a disk that obeys ==== */

static struct {
  pthread_mutex_t lock;
  pthread_cond_t opened;
  bool is_closed;   /* pwrite waits */
  unsigned waiting; /* ... and so many do */
  int error;        /* pwrite fails with it; 0: not */
  bool no_nameless; /* O_TMPFILE is not understood */
} disk = {.lock = PTHREAD_MUTEX_INITIALIZER, .opened = PTHREAD_COND_INITIALIZER};

ssize_t pwrite(int fd, const void *data, size_t len, off_t offset) {
  pthread_mutex_lock(&disk.lock);
  disk.waiting++;
  while (disk.is_closed) pthread_cond_wait(&disk.opened, &disk.lock);
  disk.waiting--;
  errno = disk.error;
  pthread_mutex_unlock(&disk.lock);
  return errno != 0 ? -1 : (ssize_t) syscall(SYS_pwrite64, fd, data, len, offset);
}

int openat(int directory, const char *path, int flags, ...) {
  va_list args;
  va_start(args, flags);
  unsigned mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, unsigned) : 0;
  va_end(args);
  if (disk.no_nameless && (flags & O_TMPFILE) == O_TMPFILE) {
    errno = EOPNOTSUPP;
    return -1;
  }
  return (int) syscall(SYS_openat, directory, path, flags, mode);
}

UNUSED void disk_close(void) {
  pthread_mutex_lock(&disk.lock);
  disk.is_closed = true;
  pthread_mutex_unlock(&disk.lock);
}

UNUSED void disk_open(void) {
  pthread_mutex_lock(&disk.lock);
  disk.is_closed = false;
  pthread_cond_broadcast(&disk.opened);
  pthread_mutex_unlock(&disk.lock);
}

UNUSED unsigned disk_waiting(void) {
  pthread_mutex_lock(&disk.lock);
  unsigned n = disk.waiting;
  pthread_mutex_unlock(&disk.lock);
  return n;
}

static char directory[64];

UNUSED void make_directory(void) {
  memcpy(directory, "/tmp/tavi-form-XXXXXX", 22);
  if (mkdtemp(directory) == NULL) abort();
}

/* The number of files in the directory; `remove` them. */
UNUSED unsigned files_left(bool remove) {
  unsigned count = 0;
  DIR *d = opendir(directory);
  if (d == NULL) return 0;
  for (struct dirent *e; (e = readdir(d)) != NULL;) {
    if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
    count++;
    if (remove) unlinkat(dirfd(d), e->d_name, 0);
  }
  closedir(d);
  return count;
}

UNUSED unsigned descriptors(void) {
  unsigned count = 0;
  DIR *d = opendir("/proc/self/fd");
  if (d == NULL) abort();
  while (readdir(d) != NULL) count++;
  closedir(d);
  return count;
}

/* ==== the server ==== */

static struct tavi_form_opts opts;
static int receive_err;      /* of the newest tavi_http_receive_form() */
static unsigned forms;       /* on_form was called */
static int form_err, form_status;
static char form_text[128];
static char seen[8192];      /* what the newest form held */
static bool closed_before;   /* on_close came before on_form */
static bool answers, answers_first, is_receiving;
static void (*and_then)(struct tavi_conn *c, const struct tavi_form *form);

UNUSED void see(const char *format, ...) __attribute__((format(printf, 1, 2)));
UNUSED void see(const char *format, ...) {
  size_t at = strlen(seen);
  va_list args;
  va_start(args, format);
  vsnprintf(seen + at, sizeof(seen) - at, format, args);
  va_end(args);
}

UNUSED void see_file(struct tavi_form_file *file, uint64_t size) {
  static char piece[65536];
  uint64_t sum = 0, got = 0;
  ssize_t n;
  while ((n = pread(tavi_form_fd(file), piece, sizeof(piece), (off_t) got)) > 0) {
    if (got == 0 && n < 100) see("%.*s", (int) n, piece);
    for (ssize_t i = 0; i < n; i++) sum = sum * 31 + (unsigned char) piece[i];
    got += (uint64_t) n;
  }
  CHECK_INT(got, size);
  if (size >= 100) see("%llu:%016llx", (unsigned long long) size, (unsigned long long) sum);
}

/* "name=value;" and "name@filename=content;" or "...=size:sum;", and "(type)" behind the name when there is one. */
UNUSED void on_form(struct tavi_conn *c, const struct tavi_form *form, void *arg) {
  CHECK(arg == &opts);
  forms++;
  is_receiving = false;
  form_err = form->err;
  form_status = form->status;
  snprintf(form_text, sizeof(form_text), "%s", form->text);
  closed_before = rig.closed > 0;
  seen[0] = '\0';
  for (size_t i = 0; i < form->part_count; i++) {
    const struct tavi_form_part *part = &form->parts[i];
    see("%.*s", (int) part->name.len, part->name.ptr);
    if (part->file != NULL) see("@%.*s", (int) part->filename.len, part->filename.ptr);
    if (part->content_type.len > 0) see("(%.*s)", (int) part->content_type.len, part->content_type.ptr);
    see("=");
    if (part->file != NULL) see_file(part->file, part->size);
    CHECK(part->file != NULL || part->size == part->value.len);
    see("%.*s;", (int) part->value.len, part->value.ptr);
  }
  if (and_then != NULL) and_then(c, form);
  if (form->err == 0 && answers) reply_text(c, 200, seen);
}

UNUSED void receive(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  if (msg->method.len != 4) return;
  if (answers_first) reply_text(c, 200, "first");
  receive_err = tavi_http_receive_form(c, msg, &opts, on_form, &opts);
  is_receiving = receive_err == 0;
  if (receive_err < 0 && tavi_http_is_waiting(c)) tavi_http_refuse(c, 415);
}

UNUSED void see_nothing(struct tavi_conn *c) {
  if (is_receiving) CHECK_INT(tavi_conn_peek(c).len, 0);
}

UNUSED void serve_with(const struct tavi_http_opts *http_opts) {
  if (directory[0] == '\0') make_directory();
  CHECK_INT(files_left(true), 0);
  tavi_form_opts_init(&opts);
  opts.directory = directory;
  forms = 0;
  and_then = NULL;
  answers = true;
  answers_first = is_receiving = false;
  disk.error = 0;
  disk.no_nameless = false;
  rig_serve(http_opts);
  rig.on_headers = receive;
  rig.on_read = see_nothing;
}

UNUSED void serve(void) { serve_with(NULL); }

/* Nothing is left: no memory, no file. */
UNUSED void stop(void) {
  UNTIL(tavi_manager_buffered(rig.m) == 0);
  rig_stop();
  CHECK_INT(files_left(true), 0);
}

/* ==== requests ==== */

#define CD "Content-Disposition: form-data; "
#define TYPE "multipart/form-data; boundary=xy"
#define FILE_PART(name) "--xy\r\n" CD "name=\"f\"; filename=\"" name "\"\r\nContent-Type: text/plain\r\n\r\n"
#define VALUE_PART(name, value) "--xy\r\n" CD "name=\"" name "\"\r\n\r\n" value "\r\n"

struct text {
  char *bytes;
  size_t len;
};

/* A request with that body; chunk: its size, 0 for Content-Length. Free it. */
UNUSED struct text request(const char *type, const char *body, size_t len, size_t chunk) {
  struct text r = {malloc(len * 2 + 1000), 0};
  char length[64];
  if (r.bytes == NULL) abort();
  snprintf(length, sizeof(length), chunk == 0 ? "Content-Length: %zu" : "Transfer-Encoding: chunked", len);
  r.len = (size_t) sprintf(r.bytes, /* allow: sprintf, there is room */
                           "POST /form HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\n%s\r\n\r\n", type, length);
  if (chunk == 0) {
    memcpy(r.bytes + r.len, body, len);
    r.len += len;
    return r;
  }
  for (size_t at = 0; at < len; at += chunk) {
    size_t n = len - at < chunk ? len - at : chunk;
    r.len += (size_t) sprintf(r.bytes + r.len, "%zx\r\n", n); /* allow: sprintf, there is room */
    memcpy(r.bytes + r.len, body + at, n);
    memcpy(r.bytes + r.len + n, "\r\n", 2);
    r.len += n + 2;
  }
  memcpy(r.bytes + r.len, "0\r\n\r\n", 5);
  r.len += 5;
  return r;
}

UNUSED void post_bytes(struct peer *p, const char *type, const char *body, size_t len, size_t chunk) {
  struct text r = request(type, body, len, chunk);
  peer_send_bytes(p, r.bytes, r.len);
  free(r.bytes);
}

UNUSED void post(struct peer *p, const char *type, const char *body) { post_bytes(p, type, body, strlen(body), 0); }

/* A form with one file of `size` bytes that no pattern repeats, full of what looks like delimiters. */
UNUSED struct text file_form(size_t size) {
  static const char head[] = FILE_PART("big"), tail[] = "\r\n--xy--\r\n";
  static const char *const nearly[] = {"\r\n--xz", "\r\n-z", "\r\r", "\r\n\r", "-xy", "\n--xz", "\r\r\n--xx"};
  struct text t = {malloc(size + sizeof(head) + sizeof(tail)), sizeof(head) - 1};
  if (t.bytes == NULL) abort();
  memcpy(t.bytes, head, t.len);
  for (size_t i = 0; i < size; i++) t.bytes[t.len + i] = (char) (i * 7 + i / 251 + i / 65537);
  for (size_t i = 0; i + 10 < size; i += 1021) memcpy(t.bytes + t.len + i, nearly[i % 7], strlen(nearly[i % 7]));
  t.len += size;
  memcpy(t.bytes + t.len, tail, sizeof(tail));
  t.len += sizeof(tail) - 1;
  return t;
}

/* What on_form sees of it. */
UNUSED const char *file_seen(struct text form, size_t size) {
  static char text[200];
  uint64_t sum = 0;
  const char *p = form.bytes + sizeof(FILE_PART("big")) - 1;
  for (size_t i = 0; i < size; i++) sum = sum * 31 + (unsigned char) p[i];
  if (size >= 100)
    snprintf(text, sizeof(text), "f@big(text/plain)=%zu:%016llx;", size, (unsigned long long) sum);
  else
    snprintf(text, sizeof(text), "f@big(text/plain)=%.*s;", (int) size, p);
  return text;
}

/* A form with everything in it. */
UNUSED const char mixed[] =
    "preamble\r\n" VALUE_PART("a", "1") VALUE_PART("b%22\\\"", "two\r\nlines\r\n--x") FILE_PART("n%22.txt")
    "content\r\n--x\r\n-\r\n" FILE_PART("empty") "\r\n" "--xy\r\n" CD "name=none; filename=\"\"\r\n"
    "Content-Type: application/octet-stream\r\n\r\n\r\n" VALUE_PART("", "") "--xy-- \r\nepilogue\r\n--xy\r\n";
UNUSED const char mixed_seen[] =
    "a=1;b\"\"=two\r\nlines\r\n--x;f@n\".txt(text/plain)=content\r\n--x\r\n-;f@empty(text/plain)=;"
    "none(application/octet-stream)=;=;";

#endif
