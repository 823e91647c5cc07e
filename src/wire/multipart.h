/* SPDX-License-Identifier: MIT
 *
 * multipart/form-data as a resumable machine (RFC 7578, RFC 2046 section 5.1). Bytes in, parts out; nothing is kept. */
#ifndef TAVI_WIRE_MULTIPART_H
#define TAVI_WIRE_MULTIPART_H

#include <stdbool.h>
#include <stdint.h>

#include "tavi/base.h"
#include "wire/wire.h"

enum { TAVI__MULTIPART_BOUNDARY_MAX = 70 }; /* RFC 2046 section 5.1.1 */

struct tavi__multipart {
  size_t head_bytes_max;  /* of one part's header lines */
  uint32_t seen;          /* internal: bytes of the preamble, or bytes of a head that were looked at in vain */
  uint8_t boundary_len;
  uint8_t state;          /* internal */
  char delimiter[4 + TAVI__MULTIPART_BOUNDARY_MAX]; /* "\r\n--" and the boundary */
};

enum tavi__multipart_event {
  TAVI__MULTIPART_PART, /* data is the raw header lines of a part that begins, each with its CRLF */
  TAVI__MULTIPART_DATA, /* data is a run of its body, not empty */
  TAVI__MULTIPART_ENDED,/* the part has ended; data is empty */
  TAVI__MULTIPART_LAST  /* the close delimiter: no more parts; data is empty. What follows (epilogue) is ignored */
};

/* A fresh machine. boundary: copied. False when it is no boundary (length, characters). */
bool tavi__multipart_init(struct tavi__multipart *mp, struct tavi_slice boundary, size_t head_bytes_max);

/* Read the next event from p[0..len).
 *
 * Returns: TAVI_WIRE_EVENT: *consumed bytes were used (perhaps 0), data is borrowed from p. DATA may be taken in part:
 *          give what was not taken again. TAVI_WIRE_MORE: *consumed bytes were used, give the rest again with more
 *          behind it: less than the delimiter, or than head_bytes_max + 2 bytes, is held back. TAVI_E_PROTOCOL: such as
 *          a delimiter line with other bytes on it (RFC 2046: a line that begins like a delimiter is one), or no
 *          delimiter within the first 64 KiB of preamble; TAVI_E_LIMIT: header lines beyond head_bytes_max. After an
 *          error every call returns TAVI_E_PROTOCOL. White space behind a delimiter is allowed (RFC 2046), a bare LF is
 *          not a line end. The end of input before TAVI__MULTIPART_LAST is for the caller to notice. */
int tavi__multipart_read(struct tavi__multipart *mp, const char *p, size_t len, size_t *consumed,
                         enum tavi__multipart_event *ret_event, struct tavi_slice *ret_data);

/* What the header lines of a part say. Slices are borrowed from head; names as in struct tavi_multipart_part: quoted
 * values without their quotes and with their escapes still in (a backslash quotes '"' and '\' alone: browsers send
 * Windows paths as they are). filename* (RFC 5987) is not understood, as RFC 7578 section 4.2 demands. */
struct tavi__multipart_head {
  struct tavi_slice name, filename, content_type;
  bool has_filename;
};

/* Returns 0 or TAVI_E_PROTOCOL: a line that is no header field, no Content-Disposition: form-data, no name in it, or
 * one of these twice. */
int tavi__multipart_head(struct tavi_slice head, struct tavi__multipart_head *ret_head);

/* Decode a name or filename as browsers write it (%22, %0D, %0A for '"', CR, LF; and \" and \\) to out, room for in.len
 * bytes, which may be in.ptr itself. Returns its length. */
size_t tavi__multipart_decode(struct tavi_slice in, char *out);

#endif
