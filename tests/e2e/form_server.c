/* SPDX-License-Identifier: MIT
 *
 * A server of forms, driven by other people's programs: form_server DIRECTORY prints its port, serves until its input ends.
 *
 *   GET /      a page with a form, for browsers
 *   GET /memory  the most memory that the process has had, in KiB (VmHWM)
 *   POST /     receives a form; one line per part: name, file name ("-" for values), size and CRC-32, separated by tabs; tabs
 *              and line ends in names as '?'
 *   POST /save the same; files are also saved in DIRECTORY, as "saved-1", "saved-2", ... in their order */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tavi.h"

#define TEXT(text) ((struct tavi_slice){(text), sizeof(text) - 1})

static const char *directory;

static uint32_t crc_add(uint32_t crc, const char *p, size_t len) {
  static uint32_t table[256];
  for (uint32_t i = 0; i < 256 && table[255] == 0; i++) {
    uint32_t x = i;
    for (int k = 0; k < 8; k++) x = x & 1 ? x >> 1 ^ 0xedb88320u : x >> 1;
    table[i] = x;
  }
  for (size_t i = 0; i < len; i++) crc = crc >> 8 ^ table[(crc ^ (unsigned char) p[i]) & 0xff];
  return crc;
}

static uint32_t crc_of(const struct tavi_form_part *part) {
  static char piece[65536];
  uint32_t crc = 0xffffffffu;
  ssize_t n;
  if (part->file == NULL) return ~crc_add(crc, part->value.ptr, part->value.len);
  for (off_t at = 0; (n = pread(tavi_form_fd(part->file), piece, sizeof(piece), at)) > 0; at += n)
    crc = crc_add(crc, piece, (size_t) n);
  return ~crc;
}

static void put_name(FILE *out, struct tavi_slice name) {
  for (size_t i = 0; i < name.len; i++) fputc(strchr("\t\r\n", name.ptr[i]) != NULL ? '?' : name.ptr[i], out);
}

static void save(struct tavi_form_file *file, unsigned number) {
  char path[512];
  snprintf(path, sizeof(path), "%s/saved-%u", directory, number);
  if (tavi_form_save(file, path) < 0) fprintf(stderr, "cannot save %s\n", path);
}

/* arg: not NULL when files are to be saved. */
static void on_form(struct tavi_conn *c, const struct tavi_form *form, void *arg) {
  static const struct tavi_http_header plain = {{"Content-Type", 12}, {"text/plain; charset=utf-8", 25}};
  char *text = NULL;
  size_t len = 0;
  unsigned files = 0;
  if (form->err < 0) {
    fprintf(stderr, "%s: %s\n", tavi_err_name(form->err), form->text);
    return;
  }
  FILE *out = open_memstream(&text, &len);
  if (out == NULL) return;
  for (size_t i = 0; i < form->part_count; i++) {
    const struct tavi_form_part *part = &form->parts[i];
    put_name(out, part->name);
    fputc('\t', out);
    put_name(out, part->file == NULL ? TEXT("-") : part->filename);
    fprintf(out, "\t%llu\t%08x\n", (unsigned long long) part->size, crc_of(part));
    if (part->file != NULL && arg != NULL) save(part->file, ++files);
  }
  fclose(out);
  tavi_http_reply(c, 200, &plain, 1, (struct tavi_slice){text, len});
  free(text);
}

static bool is(struct tavi_slice s, const char *text) { return s.len == strlen(text) && memcmp(s.ptr, text, s.len) == 0; }

static void on_headers(struct tavi_conn *c, const struct tavi_http_msg *msg, void *user) {
  struct tavi_form_opts opts;
  (void) user;
  if (!is(msg->method, "POST")) return;
  tavi_form_opts_init(&opts);
  opts.directory = directory;
  opts.file_bytes_max = (uint64_t) 8 << 30;
  opts.body_bytes_max = (uint64_t) 16 << 30;
  int err = tavi_http_receive_form(c, msg, &opts, on_form, is(msg->path, "/save") ? user : NULL);
  if (err < 0) tavi_http_refuse(c, err == TAVI_E_ARG ? 415 : 500);
}

static void reply_memory(struct tavi_conn *c) {
  char text[8192];
  int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
  ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
  close(fd);
  text[n < 0 ? 0 : n] = '\0';
  const char *line = strstr(text, "VmHWM:");
  int len = snprintf(text, sizeof(text), "%ld\n", line == NULL ? -1 : strtol(line + 6, NULL, 10));
  tavi_http_reply(c, 200, NULL, 0, (struct tavi_slice){text, (size_t) len});
}

static void on_message(struct tavi_conn *c, const struct tavi_http_msg *msg, void *user) {
  static const struct tavi_http_header html = {{"Content-Type", 12}, {"text/html; charset=utf-8", 24}};
  (void) user;
  if (is(msg->path, "/memory"))
    reply_memory(c);
  else
    tavi_http_reply(c, 200, &html, 1,
                    TEXT("<!DOCTYPE html><title>form</title><form method=post enctype=multipart/form-data>"
                         "<input name=text id=text><input name=file type=file id=file multiple>"
                         "<button id=send>send</button></form>\n"));
}

int main(int argc, char **argv) {
  static const struct tavi_http_handlers handlers = {.on_headers = on_headers, .on_message = on_message};
  struct tavi_manager *m;
  struct tavi_manager_opts opts;
  struct tavi_listener *l;
  struct tavi_addr addr;
  const char *backend = getenv("TAVI_BACKEND");
  char unused;
  if (argc != 2) return 2;
  directory = argv[1];
  tavi_manager_opts_init(&opts);
  if (backend != NULL) opts.backend = strcmp(backend, "poll") == 0 ? TAVI_BACKEND_POLL : TAVI_BACKEND_EPOLL;
  if (tavi_manager_new(&opts, &m) < 0) return 1;
  if (tavi_http_listen(m, "http://127.0.0.1:0", NULL, &handlers, argv, &l) < 0) return 1;
  if (tavi_listener_local_addr(l, &addr) < 0) return 1;
  printf("%u\n", addr.port);
  fflush(stdout);

  fcntl(STDIN_FILENO, F_SETFL, fcntl(STDIN_FILENO, F_GETFL) | O_NONBLOCK);
  while (read(STDIN_FILENO, &unused, 1) != 0) tavi_manager_poll(m, 100);
  tavi_manager_free(m);
  return 0;
}
