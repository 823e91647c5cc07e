/* SPDX-License-Identifier: MIT
 *
 * Forms: values in "a=1&b=2", multipart bodies that are in memory, and forms of any size received to disk.
 *
 * Spec: the WHATWG form encoding (application/x-www-form-urlencoded), RFC 7578 and RFC 2046 section 5.1
 * (multipart/form-data).
 */
#ifndef TAVI_HTTP_FORM_H
#define TAVI_HTTP_FORM_H

#include "tavi/http.h"

TAVI_BEGIN_DECLS

/* ==== values in "a=1&b=2" ==== */

/* The raw value of the first `name` in "a=1&b=2" (names are compared as they stand after decoding, case-sensitive).
 * Returns 0 and the slice, borrowed from form; empty for "a=" and a bare "a". TAVI_E_NOT_FOUND otherwise.
 * tavi_percent_decode() with plus_is_space makes it text. */
TAVI_API int tavi_form_find(struct tavi_slice form, struct tavi_slice name, struct tavi_slice *ret_value);

/* ==== a multipart body that is in memory ==== */

/* One part, as slices of the body. */
struct tavi_multipart_part {
  struct tavi_slice name;         /* of the field, as it stands in Content-Disposition, without quotes; browsers write a
                                   * quote in it as %22 */
  struct tavi_slice filename;     /* as sent: a hint, never a path to write to; empty when there is none */
  struct tavi_slice content_type; /* empty when there is none */
  struct tavi_slice head;         /* the part's raw header lines */
  struct tavi_slice body;
  bool has_filename;              /* it is a file, even when filename is empty */
};

/* The boundary in a Content-Type ("multipart/form-data; boundary=x"), borrowed from it. Returns 0, or
 * TAVI_E_NOT_FOUND when it is not multipart or has no good boundary (1 to 70 characters). */
TAVI_API int tavi_multipart_boundary(struct tavi_slice content_type, struct tavi_slice *ret_boundary);

/* The next part of a whole body.
 *
 * boundary: as above; an empty one is taken from the first line of the body, which then has to be a delimiter.
 * *offset:  0 at first; moved behind the part.
 * Returns:  0 and the part, borrowed from body; TAVI_E_NOT_FOUND behind the last one; TAVI_E_PROTOCOL when the body is
 *           no multipart body, or a part has no end, no name, or more than 8 KiB of header lines. */
TAVI_API int tavi_multipart_next(struct tavi_slice body, struct tavi_slice boundary, size_t *offset,
                                 struct tavi_multipart_part *ret_part);

/* ==== forms of any size ==== */

/* Fill with tavi_form_opts_init(); copied at the call. */
struct tavi_form_opts {
  const char *directory;     /* where files are written, under no name until they are saved (a hidden one where the file
                              * system knows no nameless files). NULL, the default: a part that is a file is refused */
  size_t field_bytes_max;    /* of one value that is no file; default 64 KiB */
  size_t memory_bytes_max;   /* of all values and names together; default 1 MiB */
  uint64_t file_bytes_max;   /* of one file; default 1 GiB */
  uint64_t body_bytes_max;   /* of everything; default 4 GiB. (tavi_http_opts.body_bytes_max does not count) */
  size_t part_count_max;     /* default 1000 */
  size_t file_count_max;     /* each holds a descriptor until on_form returns; default 64 */
};

TAVI_API void tavi_form_opts_init(struct tavi_form_opts *opts);

struct tavi_form_file; /* a file that was received and has no name yet */

struct tavi_form_part {
  struct tavi_slice name;         /* decoded: what the page calls the field, UTF-8 unless it says otherwise */
  struct tavi_slice filename;     /* decoded: a hint, never a path; empty for values */
  struct tavi_slice content_type; /* empty when there is none */
  struct tavi_slice value;        /* decoded; empty for files */
  uint64_t size;                  /* bytes of the value or the file */
  struct tavi_form_file *file;    /* NULL for values, and for an input in which no file was chosen; borrowed */
};

struct tavi_form {
  const struct tavi_form_part *parts; /* in their order; with an error: those that were complete */
  size_t part_count;
  int err;            /* 0: complete. TAVI_E_PROTOCOL, TAVI_E_LIMIT, TAVI_E_TIMEOUT, TAVI_E_ACCESS, TAVI_E_NOT_FOUND
                       * (the directory has gone), TAVI_E_DESCRIPTORS, TAVI_E_SYSTEM (disk full and others),
                       * TAVI_E_NOMEM; TAVI_E_CLOSED: the connection has gone, nothing can be answered */
  int status;         /* what the client is told unless on_form answers: 400, 408, 413, 431, 500, 503 or 507; 0 without
                       * an error and with TAVI_E_CLOSED */
  const char *text;   /* what was wrong, for people; static; "" without an error */
};

/* Called exactly once for each form that tavi_http_receive_form() has accepted, before on_close. Everything is borrowed
 * until it returns; files that were not saved by then are gone. It answers, or something later does; with form->err,
 * and no answer begun when it returns, the client is told form->status and the connection closes. (It closes after any
 * answer when the body was not read to its end.) */
typedef void (*tavi_form_fn)(struct tavi_conn *c, const struct tavi_form *form, void *arg);

/* Inside on_headers: receive the body of this request as a form (multipart/form-data or
 * application/x-www-form-urlencoded); files go to disk piece by piece, written by another thread, and the peer is held
 * back while the disk is slower than it. At most 512 KiB are in memory besides the values. on_form takes the place of
 * on_message; what on_read would see of the body is empty.
 *
 * opts:    NULL for defaults.
 * Returns: 0; TAVI_E_ARG when the request is not such a form (nothing has happened; the caller may answer 415);
 *          TAVI_E_STATE outside of on_headers, or after an answer; TAVI_E_NOMEM, TAVI_E_LIMIT (buffered_bytes_max),
 *          TAVI_E_DESCRIPTORS; TAVI_E_NOT_FOUND when there is no such directory, TAVI_E_ACCESS. */
TAVI_API int tavi_http_receive_form(struct tavi_conn *c, const struct tavi_http_msg *msg,
                                    const struct tavi_form_opts *opts, tavi_form_fn on_form, void *arg);

/* Inside on_form: give a received file a name, with mode 0666 less the process's umask; an existing file is replaced at
 * once (rename(2)). `path` is the caller's own and trusted, on the same file system as opts.directory. What the system
 * has not written to the disk yet it writes when it likes: fsync(tavi_form_fd(file)) first if that matters.
 *
 * Returns: 0; TAVI_E_NOT_FOUND, TAVI_E_ACCESS, TAVI_E_UNSUPPORTED (another file system), TAVI_E_ARG (too long, or a
 *          directory), TAVI_E_SYSTEM; TAVI_E_STATE when it was saved before. */
TAVI_API int tavi_form_save(struct tavi_form_file *file, const char *path);

/* Inside on_form: the file, open for reading and writing, its offset anywhere. Borrowed. */
TAVI_API int tavi_form_fd(const struct tavi_form_file *file);

TAVI_END_DECLS

#endif
