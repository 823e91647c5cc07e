/* SPDX-License-Identifier: MIT
 *
 * Forms of any size: a sink that takes the body of a request apart as it arrives. Values are collected in memory; bytes
 * of files are copied to a buffer, and each full buffer is a job that another thread writes to the disk.
 *
 *   input --> multipart machine --> filling ---> writing (the job) ---> file
 *                         |              \_ full or last, and nothing is being written
 *                         +--> text (values, names)
 *
 * There are two buffers at most. When one is being written and the other one is full, nothing is taken from the input
 * and the peer is held: it is as fast as the disk. One job at a time also keeps the writes in order.
 *
 * The form is the job's memory, so it may outlive its connection: whoever ends first, the request (on_form was told) or
 * the job, leaves the rest to the other. In the end all files are closed by a job, too: giving back the blocks of a
 * large file that nobody saved takes a while. */
#include <stdlib.h>
#include <string.h>

#include "http/http.h"
#include "loop/work.h"
#include "os/spool.h"
#include "tavi/http_form.h"
#include "wire/multipart.h"

struct tavi_form_file {
  struct tavi__spool spool; /* opened by the first job that writes to it */
  bool is_complete;         /* the loop's: all of it is on disk */
};

struct buffer {
  struct tavi_form_file *file;
  uint64_t offset;
  size_t len;
  bool is_last; /* the loop's: its file ends here */
  char bytes[TAVI__FORM_BUFFER_BYTES];
};

struct form {
  struct tavi__http_sink sink;
  struct tavi__job job;    /* writes `writing`, or closes all files */
  int job_err;             /* its result */
  struct tavi_manager *manager;
  struct tavi_conn *conn;  /* NULL: on_form was told, only the disk is still at work */
  struct tavi_form_opts opts;
  tavi_form_fn on_form;
  void *arg;
  size_t held;             /* bytes counted for the manager's maximum */

  /* ==== the body ==== */
  bool is_urlencoded;
  bool is_complete;        /* the last delimiter was seen */
  bool is_file;            /* the current part is one, or would be if it had bytes */
  bool is_in_part;         /* its end was not seen */
  bool is_part_ending;     /* it was, and perhaps that has to wait for a buffer */
  bool is_waiting;         /* for the job, and the peer is held */
  uint64_t body_bytes;
  struct tavi__multipart multipart;

  /* ==== what was found ==== */
  char *text;              /* names and values */
  size_t text_len, text_cap;
  struct tavi_form_part *parts; /* until they are told their slices are offsets in `text` */
  size_t part_count, part_cap, file_count;
  int err, status;
  const char *why;

  /* ==== on the way to the disk ==== */
  int directory;           /* -1: none */
  struct buffer *filling, *writing, *spare;
};

/* ==== errors ==== */

static void fail(struct form *f, int err, int status, const char *why) {
  if (f->err < 0) return;
  f->err = err;
  f->status = status;
  f->why = why;
}

static void fail_limit(struct form *f, const char *why) { fail(f, TAVI_E_LIMIT, 413, why); }

static void fail_memory(struct form *f) { fail(f, TAVI_E_NOMEM, 503, "out of memory"); }

/* The job could not do it. */
static void fail_disk(struct form *f, int err) {
  switch (err) {
    case TAVI__SPOOL_FULL: fail(f, TAVI_E_SYSTEM, 507, "no room on the disk"); break;
    case TAVI_E_ACCESS: fail(f, err, 500, "the directory for files must not be written to"); break;
    case TAVI_E_NOT_FOUND: fail(f, err, 500, "the directory for files has gone"); break;
    case TAVI_E_DESCRIPTORS: fail(f, err, 503, "out of descriptors"); break;
    case TAVI_E_NOMEM: fail_memory(f); break;
    default: fail(f, TAVI_E_SYSTEM, 500, "a file could not be written"); break;
  }
}

/* The request that carries the form. status: as in struct tavi__http_sink. */
static void fail_request(struct form *f, int status) {
  switch (status) {
    case -1: fail(f, TAVI_E_CLOSED, 0, "the connection has gone"); break;
    case 408: fail(f, TAVI_E_TIMEOUT, status, "the client stopped sending"); break;
    case 431: fail(f, TAVI_E_LIMIT, status, "trailers are too long"); break;
    case 500: fail(f, TAVI_E_NOMEM, status, "out of memory"); break;
    default: fail(f, TAVI_E_PROTOCOL, status, "bad framing of the body"); break;
  }
}

/* ==== memory ==== */

static bool hold(struct form *f, size_t bytes) {
  if (!tavi__manager_take(f->manager, bytes)) {
    fail(f, TAVI_E_LIMIT, 503, "too much is being received at once");
    return false;
  }
  f->held += bytes;
  return true;
}

/* Room for `need` bytes in all at *at, of which there are *cap. */
static bool grow(struct form *f, void **at, size_t *cap, size_t need, size_t unit, size_t cap_max) {
  size_t wanted = *cap * 2 > need ? *cap * 2 : need;
  if (need <= *cap) return true;
  if (wanted > cap_max) wanted = cap_max > need ? cap_max : need;
  if (!hold(f, (wanted - *cap) * unit)) return false;
  void *bigger = realloc(*at, wanted * unit);
  if (bigger == NULL) {
    fail_memory(f);
    return false;
  }
  *at = bigger;
  *cap = wanted;
  return true;
}

/* Room for len bytes more of text; NULL when there is none. */
static char *text_room(struct form *f, size_t len) {
  size_t max = f->opts.memory_bytes_max, need = f->text_len + len;
  if (len > max - f->text_len) {
    fail_limit(f, "the values of the form are too long together");
    return NULL;
  }
  if (need < TAVI__FORM_TEXT_STEP && max >= TAVI__FORM_TEXT_STEP) need = TAVI__FORM_TEXT_STEP;
  void *text = f->text;
  if (!grow(f, &text, &f->text_cap, need, 1, max)) return NULL;
  f->text = text;
  return f->text + f->text_len;
}

/* A slice of `text` as long as that may still move. */
static struct tavi_slice offset_slice(size_t at, size_t len) {
  return (struct tavi_slice){(const char *) (uintptr_t) at, len};
}

static struct tavi_slice real_slice(const struct form *f, struct tavi_slice s) {
  return (struct tavi_slice){s.len == 0 ? "" : f->text + (uintptr_t) s.ptr, s.len};
}

static struct tavi_slice add_text(struct form *f, struct tavi_slice s) {
  size_t at = f->text_len;
  char *to = s.len == 0 ? NULL : text_room(f, s.len);
  if (to == NULL) return offset_slice(at, 0);
  memcpy(to, s.ptr, s.len);
  f->text_len += s.len;
  return offset_slice(at, s.len);
}

/* The same for a name, decoded. */
static struct tavi_slice add_name(struct form *f, struct tavi_slice s) {
  size_t at = f->text_len;
  char *to = s.len == 0 ? NULL : text_room(f, s.len);
  if (to == NULL) return offset_slice(at, 0);
  size_t len = tavi__multipart_decode(s, to);
  f->text_len += len;
  return offset_slice(at, len);
}

static struct tavi_form_part *add_part(struct form *f) {
  if (f->part_count >= f->opts.part_count_max) {
    fail_limit(f, "the form has too many parts");
    return NULL;
  }
  void *parts = f->parts;
  size_t need = f->part_cap == 0 ? 8 : f->part_count + 1;
  if (!grow(f, &parts, &f->part_cap, need, sizeof(*f->parts), SIZE_MAX / sizeof(*f->parts))) return NULL;
  f->parts = parts;
  f->parts[f->part_count] = (struct tavi_form_part){0};
  return &f->parts[f->part_count++];
}

static struct tavi_form_part *current(struct form *f) { return &f->parts[f->part_count - 1]; }

/* ==== the end ==== */

static void destroy(struct form *f) {
  for (size_t i = 0; i < f->part_count; i++) {
    if (f->parts[i].file != NULL) tavi__spool_close(&f->parts[i].file->spool);
    free(f->parts[i].file);
  }
  tavi__fd_close(f->directory);
  tavi__manager_give(f->manager, f->held);
  free(f->parts);
  free(f->text);
  free(f->filling);
  free(f->spare);
  free(f);
}

static void run_close(struct tavi__job *job) {
  struct form *f = TAVI__CONTAINER(job, struct form, job);
  for (size_t i = 0; i < f->part_count; i++)
    if (f->parts[i].file != NULL) tavi__spool_close(&f->parts[i].file->spool);
}

static void done_close(struct tavi__job *job, struct tavi_manager *m) {
  (void) m;
  destroy(TAVI__CONTAINER(job, struct form, job));
}

/* on_form was told, and no job is at work. */
static void dispose(struct form *f) {
  for (size_t i = 0; i < f->part_count && f->manager->is_forked; i++) /* their names are the parent's */
    if (f->parts[i].file != NULL) tavi__spool_forget(&f->parts[i].file->spool);
  if (f->file_count == 0) {
    destroy(f);
    return;
  }
  f->job.run = run_close;
  f->job.done = done_close;
  tavi__work_add(f->manager, &f->job);
}

/* ==== writing ==== */

static void run_write(struct tavi__job *job) {
  struct form *f = TAVI__CONTAINER(job, struct form, job);
  struct buffer *b = f->writing;
  struct tavi__spool *spool = &b->file->spool;
  int err = spool->fd < 0 ? tavi__spool_open(spool, f->directory) : 0;
  if (err == 0) err = tavi__spool_write(spool, b->bytes, b->len, b->offset);
  f->job_err = err;
}

static bool is_due(const struct buffer *b) { return b != NULL && (b->is_last || b->len == sizeof(b->bytes)); }

static void done_write(struct tavi__job *job, struct tavi_manager *m);

/* Begin to write what is due, if nothing is being written. */
static void write_due(struct form *f) {
  if (f->writing != NULL || !is_due(f->filling)) return;
  f->writing = f->filling;
  f->filling = NULL;
  f->job.run = run_write;
  f->job.done = done_write;
  tavi__work_add(f->manager, &f->job);
}

/* A buffer was written. One is kept for what comes next. */
static void keep_spare(struct form *f, struct buffer *b) {
  if (f->spare != NULL) {
    tavi__manager_give(f->manager, sizeof(*b));
    f->held -= sizeof(*b);
    free(f->spare);
  }
  f->spare = b;
}

static void done_write(struct tavi__job *job, struct tavi_manager *m) {
  struct form *f = TAVI__CONTAINER(job, struct form, job);
  struct buffer *b = f->writing;
  (void) m;
  f->writing = NULL;
  keep_spare(f, b);
  if (f->conn == NULL) {
    dispose(f);
    return;
  }
  if (f->job_err < 0)
    fail_disk(f, f->job_err);
  else if (b->is_last)
    b->file->is_complete = true;
  if (f->err == 0) write_due(f);
  if (!f->is_waiting && f->err == 0) return;
  f->is_waiting = false;
  tavi__http_sink_ready(f->conn);
}

/* A buffer for the current file, with room in it or not; NULL: there is none yet, or f->err. */
static struct buffer *filling_for(struct form *f, struct tavi_form_file *file) {
  write_due(f);
  if (f->filling != NULL) return f->filling->file == file ? f->filling : NULL;

  struct buffer *b = f->spare;
  f->spare = NULL;
  if (b == NULL) {
    if (!hold(f, sizeof(*b))) return NULL;
    b = malloc(sizeof(*b));
    if (b == NULL) {
      fail_memory(f);
      return NULL;
    }
  }
  b->file = file;
  b->offset = current(f)->size;
  b->len = 0;
  b->is_last = false;
  f->filling = b;
  return b;
}

/* ==== parts ==== */

static struct tavi_form_file *new_file(struct form *f) {
  if (f->directory < 0) {
    fail_limit(f, "files are not taken here");
    return NULL;
  }
  if (f->file_count == f->opts.file_count_max) {
    fail_limit(f, "the form has too many files");
    return NULL;
  }
  struct tavi_form_file *file = calloc(1, sizeof(*file));
  if (file == NULL) {
    fail_memory(f);
    return NULL;
  }
  file->spool.fd = -1;
  f->file_count++;
  return file;
}

static void begin_part(struct form *f, struct tavi_slice head) {
  struct tavi__multipart_head said;
  if (tavi__multipart_head(head, &said) < 0) {
    fail(f, TAVI_E_PROTOCOL, 400, "a part of the form has a bad head, or no name");
    return;
  }
  struct tavi_form_part *part = add_part(f);
  if (part == NULL) return;
  f->is_in_part = true;
  part->name = add_name(f, said.name);
  part->filename = add_name(f, said.filename);
  part->content_type = add_text(f, said.content_type);
  part->value = offset_slice(f->text_len, 0);
  f->is_file = said.has_filename;
  /* Browsers send an input in which no file was chosen as a file without name and bytes. */
  if (f->err == 0 && said.filename.len > 0) part->file = new_file(f);
}

/* Returns the bytes that were taken: fewer when the disk is behind, or f->err. */
static size_t add_to_file(struct form *f, struct tavi_slice data) {
  struct tavi_form_part *part = current(f);
  size_t taken = 0;
  if (part->file == NULL) part->file = new_file(f);
  if (f->err == 0 && data.len > f->opts.file_bytes_max - part->size) fail_limit(f, "a file is too long");
  while (f->err == 0 && taken < data.len) {
    struct buffer *b = filling_for(f, part->file);
    if (b == NULL || is_due(b)) break;
    size_t room = sizeof(b->bytes) - b->len, n = data.len - taken < room ? data.len - taken : room;
    memcpy(b->bytes + b->len, data.ptr + taken, n);
    b->len += n;
    taken += n;
    part->size += n;
  }
  write_due(f);
  return taken;
}

static size_t add_to_value(struct form *f, struct tavi_slice data) {
  struct tavi_form_part *part = current(f);
  if (data.len > f->opts.field_bytes_max - part->value.len) {
    fail_limit(f, "a value of the form is too long");
    return 0;
  }
  add_text(f, data);
  if (f->err < 0) return 0;
  part->value.len += data.len;
  part->size += data.len;
  return data.len;
}

/* False when that has to wait for a buffer, or f->err. */
static bool end_part(struct form *f) {
  struct tavi_form_file *file = current(f)->file;
  bool is_here = f->filling != NULL && f->filling->file == file;
  if (file == NULL) return true;
  if (!is_here && current(f)->size > 0) { /* exactly as long as some buffers */
    if (f->writing != NULL && f->writing->file == file)
      f->writing->is_last = true;
    else
      file->is_complete = true;
    return true;
  }
  struct buffer *b = filling_for(f, file); /* an empty file is made by writing nothing */
  if (b == NULL) return false;
  b->is_last = true;
  write_due(f);
  return true;
}

/* ==== taking ==== */

/* Returns the bytes that were taken. *ret_is_busy: the disk is behind. */
static size_t take_multipart(struct form *f, struct tavi_slice data, bool *ret_is_busy) {
  size_t at = 0;
  while (f->err == 0) {
    if (f->is_part_ending && !end_part(f)) {
      *ret_is_busy = true;
      break;
    }
    f->is_part_ending = false;

    enum tavi__multipart_event event = TAVI__MULTIPART_DATA;
    struct tavi_slice piece = {NULL, 0};
    size_t used = 0, taken;
    int r = tavi__multipart_read(&f->multipart, data.ptr + at, data.len - at, &used, &event, &piece);
    at += used;
    if (r == TAVI_E_LIMIT) fail(f, TAVI_E_LIMIT, 413, "the head of a part is too long");
    if (r < 0) fail(f, TAVI_E_PROTOCOL, 400, "the body is no multipart body with this boundary");
    if (r != TAVI_WIRE_EVENT) break;
    switch (event) {
      case TAVI__MULTIPART_PART: begin_part(f, piece); break;
      case TAVI__MULTIPART_DATA:
        taken = f->is_file ? add_to_file(f, piece) : add_to_value(f, piece);
        at -= piece.len - taken;
        if (taken == piece.len) break;
        *ret_is_busy = true;
        return at;
      case TAVI__MULTIPART_ENDED:
        f->is_in_part = false;
        f->is_part_ending = true;
        break;
      case TAVI__MULTIPART_LAST: f->is_complete = true; break;
    }
  }
  return at;
}

/* One of the strings between '&'. from and to: in `text`. */
static void add_pair(struct form *f, size_t from, size_t to) {
  char *p = f->text + from, *eq = memchr(p, '=', to - from);
  size_t name_len = eq == NULL ? to - from : (size_t) (eq - p), value_at = eq == NULL ? to : from + name_len + 1;
  int64_t n = tavi_percent_decode((struct tavi_slice){p, name_len}, true, p);
  int64_t v = tavi_percent_decode((struct tavi_slice){f->text + value_at, to - value_at}, true, f->text + value_at);
  if (n < 0 || v < 0) {
    fail(f, TAVI_E_PROTOCOL, 400, "a bad escape in the form");
    return;
  }
  if ((uint64_t) v > f->opts.field_bytes_max) {
    fail_limit(f, "a value of the form is too long");
    return;
  }
  struct tavi_form_part *part = add_part(f);
  if (part == NULL) return;
  part->name = offset_slice(from, (size_t) n);
  part->value = offset_slice(value_at, (size_t) v);
  part->size = (uint64_t) v;
}

/* "a=1&b=2" is complete. */
static void split_pairs(struct form *f) {
  for (size_t from = 0; from < f->text_len && f->err == 0;) {
    const char *amp = memchr(f->text + from, '&', f->text_len - from);
    size_t to = amp == NULL ? f->text_len : (size_t) (amp - f->text);
    if (to > from) add_pair(f, from, to);
    from = to + 1;
  }
}

/* All of the body was taken. */
static enum tavi__sink_state finish(struct form *f) {
  if (f->is_urlencoded) {
    split_pairs(f);
  } else if (!f->is_complete) {
    fail(f, TAVI_E_PROTOCOL, 400, "the body ends before its last delimiter");
  } else if (f->writing != NULL || f->filling != NULL) {
    f->is_waiting = true;
    return TAVI__SINK_BUSY;
  }
  return TAVI__SINK_OVER;
}

static enum tavi__sink_state take(struct tavi__http_sink *s, struct tavi_slice data, bool is_last, size_t *ret_taken) {
  struct form *f = TAVI__CONTAINER(s, struct form, sink);
  bool is_busy = false;
  if (f->err < 0) return TAVI__SINK_OVER;
  if (data.len > f->opts.body_bytes_max - f->body_bytes) {
    fail_limit(f, "the form is too long");
    return TAVI__SINK_OVER;
  }
  *ret_taken = f->is_urlencoded ? add_text(f, data).len : take_multipart(f, data, &is_busy);
  f->body_bytes += *ret_taken;
  if (f->err < 0) return TAVI__SINK_OVER;
  f->is_waiting = is_busy;
  if (is_busy) return TAVI__SINK_BUSY;
  return is_last ? finish(f) : TAVI__SINK_MORE;
}

/* ==== telling ==== */

static void settle_slices(struct form *f) {
  for (size_t i = 0; i < f->part_count; i++) {
    struct tavi_form_part *part = &f->parts[i];
    part->name = real_slice(f, part->name);
    part->filename = real_slice(f, part->filename);
    part->content_type = real_slice(f, part->content_type);
    part->value = real_slice(f, part->value);
  }
}

/* After an error: complete parts to the front, and the number of them. */
static size_t sort_out(struct form *f) {
  size_t count = 0, ended = f->part_count - (f->is_in_part ? 1 : 0);
  for (size_t i = 0; i < ended; i++) {
    struct tavi_form_part part = f->parts[i];
    if (part.file != NULL && !part.file->is_complete) continue;
    f->parts[i] = f->parts[count];
    f->parts[count++] = part;
  }
  return count;
}

static void end(struct tavi__http_sink *s, struct tavi_conn *c, int status) {
  struct form *f = TAVI__CONTAINER(s, struct form, sink);
  if (status == -1) f->err = 0; /* whatever it was, it cannot be told any more */
  if (status != 0) fail_request(f, status);
  settle_slices(f);
  size_t count = f->err == 0 ? f->part_count : sort_out(f);
  struct tavi_form form = {f->parts, count, f->err, f->status, f->why};
  f->conn = NULL;
  f->on_form(c, &form, f->arg);
  if (f->err < 0 && tavi_http_is_waiting(c)) tavi_http_refuse(c, f->status);
  if (f->writing == NULL) dispose(f); /* otherwise the job does */
}

/* ==== public ==== */

void tavi_form_opts_init(struct tavi_form_opts *opts) {
  *opts = (struct tavi_form_opts){
      .field_bytes_max = (size_t) 64 << 10,
      .memory_bytes_max = (size_t) 1 << 20,
      .file_bytes_max = (uint64_t) 1 << 30,
      .body_bytes_max = (uint64_t) 4 << 30,
      .part_count_max = 1000,
      .file_count_max = 64,
  };
}

/* A Content-Type without its parameters. */
static bool is_type(struct tavi_slice content_type, const char *type) {
  struct tavi_slice s = {content_type.ptr, 0};
  while (s.len < content_type.len && strchr("; \t", s.ptr[s.len]) == NULL) s.len++;
  return tavi__slice_is(s, type, strlen(type));
}

/* What kind of form it is: 0, or TAVI_E_ARG. */
static int init_kind(struct form *f, const struct tavi_http_msg *msg) {
  const struct tavi_slice *type = tavi_http_header(msg, "Content-Type");
  struct tavi_slice boundary;
  if (type == NULL) return TAVI_E_ARG;
  f->is_urlencoded = is_type(*type, "application/x-www-form-urlencoded");
  if (f->is_urlencoded) return 0;
  if (!is_type(*type, "multipart/form-data") || tavi_multipart_boundary(*type, &boundary) < 0) return TAVI_E_ARG;
  return tavi__multipart_init(&f->multipart, boundary, TAVI__MULTIPART_HEAD_BYTES) ? 0 : TAVI_E_ARG;
}

/* The memory and the directory. */
static int init_means(struct form *f) {
  if (!tavi__manager_take(f->manager, sizeof(*f))) return TAVI_E_LIMIT;
  f->held = sizeof(*f);
  if (f->is_urlencoded || f->opts.directory == NULL) return 0;
  f->directory = tavi__spool_directory(f->opts.directory);
  return f->directory < 0 ? f->directory : 0;
}

int tavi_http_receive_form(struct tavi_conn *c, const struct tavi_http_msg *msg, const struct tavi_form_opts *opts,
                           tavi_form_fn on_form, void *arg) {
  struct tavi__http *h = tavi__http_of(c);
  if (on_form == NULL) return TAVI_E_ARG;
  if (!tavi__is_http_server(c) || h->inside != TAVI__HTTP_IN_HEADERS || !tavi_http_is_waiting(c)) return TAVI_E_STATE;
  struct tavi__http_more *more = tavi__http_more(h);
  struct form *f = more == NULL ? NULL : calloc(1, sizeof(*f));
  if (f == NULL) return TAVI_E_NOMEM;

  f->sink = (struct tavi__http_sink){.take = take, .end = end};
  f->manager = c->src.manager;
  f->conn = c;
  f->on_form = on_form;
  f->arg = arg;
  f->why = "";
  f->directory = -1;
  tavi_form_opts_init(&f->opts);
  if (opts != NULL) f->opts = *opts;
  int err = more->sink != NULL ? TAVI_E_STATE : init_kind(f, msg);
  if (err == 0) err = init_means(f);
  if (err < 0) {
    destroy(f);
    return err;
  }
  if (msg->content_length > f->opts.body_bytes_max) {
    fail_limit(f, "the form is too long");
    f->sink.is_refusing = true;
  }
  more->sink = &f->sink;
  return tavi_http_stream_body(c);
}

int tavi_form_save(struct tavi_form_file *file, const char *path) {
  int err = tavi__spool_save(&file->spool, path);
  return err == TAVI__SPOOL_FULL ? TAVI_E_SYSTEM : err;
}

int tavi_form_fd(const struct tavi_form_file *file) { return file->spool.fd; }
