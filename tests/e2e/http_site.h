/* SPDX-License-Identifier: MIT
 *
 * What the tests of files as answers share: a directory of the test's own with a server of it, files whose bytes tell whose
 * they are, and one connection to ask on. The directory lies below the working directory, which is on a disk more often
 * than /tmp is. */
#ifndef TAVI_TESTS_E2E_HTTP_SITE_H
#define TAVI_TESTS_E2E_HTTP_SITE_H

#include <ftw.h>
#include <sys/stat.h>

#include "e2e/http_rig.h"

enum { SMALL = 1000, LARGE = 300 * 1000, HUGE = 10 << 20 }; /* kept in memory; sent from a descriptor; in many turns */

UNUSED const size_t site_sizes[] = {SMALL, LARGE};

#define EACH_SIZE(size) for (size_t i_ = 0, size; i_ < 2 && (size = site_sizes[i_], true); i_++)

/* ==== the site ==== */

static char base[32]; /* the directory of the test; what is served is base/www */
static char root[64];
static struct tavi_http_files_opts opts;
static int serve_err;

UNUSED void serve(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  serve_err = tavi_http_serve_dir(c, msg, root, &opts);
}

UNUSED void site_start(void) {
  strcpy(base, "./tavi-files-XXXXXX"); /* allow: strcpy, a literal */
  if (mkdtemp(base) == NULL || chmod(base, 0755) != 0) abort();
  snprintf(root, sizeof(root), "%s/www", base);
  if (mkdir(root, 0755) != 0) abort();
  tavi_http_files_opts_init(&opts);
  rig_serve(NULL);
  rig.on_message = serve;
}

static int forget(const char *path, const struct stat *st, int type, struct FTW *ftw) {
  (void) st, (void) type, (void) ftw;
  return remove(path);
}

UNUSED void site_remove(void) { nftw(base, forget, 16, FTW_DEPTH | FTW_PHYS); }

UNUSED void site_stop(void) {
  rig_stop();
  site_remove();
}

/* A path below base, in one of a few buffers. */
UNUSED const char *at(const char *name) {
  static char paths[4][512];
  static unsigned next;
  char *path = paths[next++ % 4];
  snprintf(path, sizeof(paths[0]), "%s/%s", base, name);
  return path;
}

/* Bytes that tell where they are and whose they are. Free them. */
UNUSED char *pattern(size_t len, unsigned seed) {
  char *bytes = malloc(len + 1);
  if (bytes == NULL) abort();
  for (size_t i = 0; i < len; i++) bytes[i] = (char) ((i * 31 + (i >> 8) * 7 + (i >> 16) + seed) & 0xFF);
  return bytes;
}

/* flags: O_TRUNC, or 0 to write over what is there. */
UNUSED void put_bytes(const char *name, const char *bytes, size_t len, int flags) {
  int fd = open(at(name), O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0644);
  if (fd < 0) abort();
  for (size_t done = 0; done < len;) {
    ssize_t n = write(fd, bytes + done, len - done);
    if (n <= 0) abort();
    done += (size_t) n;
  }
  close(fd);
}

UNUSED void put_pattern(const char *name, size_t len, unsigned seed, int flags) {
  char *bytes = pattern(len, seed);
  put_bytes(name, bytes, len, flags);
  free(bytes);
}

UNUSED void put_text(const char *name, const char *text) { put_bytes(name, text, strlen(text), O_TRUNC); }

/* ==== asking ==== */

static struct peer ask;
static struct response got;

/* One request on the connection `ask`, which is opened for the first one. Its response is in `got`. */
UNUSED int status_of(const char *method, const char *target, const char *headers) {
  char request[2048];
  if (ask.fd <= 0) ask = peer_open();
  ask.at = ask.len = 0;
  snprintf(request, sizeof(request), "%s %s HTTP/1.1\r\nHost: x\r\n%s\r\n", method, target, headers);
  peer_send(&ask, request);
  return peer_response_to(&ask, &got, strcmp(method, "HEAD") == 0, __FILE__, __LINE__) ? got.status : -1;
}

UNUSED int get(const char *target) { return status_of("GET", target, ""); }

UNUSED void stop_asking(void) {
  response_free(&got);
  peer_close(&ask);
  ask.fd = 0;
}

#define CHECK_PATTERN(slice, size, seed)                        \
  do {                                                          \
    char *wanted_ = pattern((size), (seed));                    \
    CHECK_INT((slice).len, (size));                             \
    CHECK((slice).len == (size) && memcmp((slice).ptr, wanted_, (size)) == 0); \
    free(wanted_);                                              \
  } while (0)

/* Ask until the file's time stamp is old enough to tell changes: from then on it is remembered. */
UNUSED void await_settled(const char *target) {
  UNTIL(get(target) != 200 || strncmp(find_header(&got, "ETag"), "W/", 2) != 0);
}

#endif
