/* SPDX-License-Identifier: MIT
 *
 * The body of a form with files: parts between delimiter lines, each with a few header lines in front.
 *
 *   START --> PREAMBLE --+
 *     |                  v
 *     +------------> DELIMITER ----> PAD --> PAD_LF --> HEAD --> EMPTY_LINE --> BODY --+
 *                      ^   |                                         |                |
 *                      |   +-'-'-> DASH --> CLOSE_PAD --> CLOSE_LF --> EPILOGUE       |
 *                      +---------------------------------------------+----------------+
 *
 * A delimiter is "CRLF--boundary", and the CRLF belongs to it. The first one may stand at the very beginning, without
 * the CRLF; and the empty line behind a part's header lines may be the CRLF of the next delimiter (RFC 2046: a part
 * without a body), which is why that empty line is a state of its own.
 *
 * The search in a body is memchr() for the CR and a comparison there: no table to build for small forms, and as a
 * boundary holds no CR, no byte is compared twice, whatever the peer sends. */
#include "wire/multipart.h"

#include <assert.h>
#include <string.h>

#include "base/ascii.h"
#include "wire/http1.h"
#include "wire/http1_scan.h"

enum { PREAMBLE_BYTES_MAX = 64 << 10 }; /* mail programs write a sentence there; forms have none */

enum state {
  STATE_START, /* nothing was read; 0 */
  STATE_PREAMBLE,
  STATE_DELIMITER, /* directly behind one */
  STATE_DASH,      /* and behind one '-' */
  STATE_PAD,       /* in the white space behind it */
  STATE_PAD_LF,
  STATE_HEAD,
  STATE_EMPTY_LINE, /* at the empty line that ends the head */
  STATE_BODY,
  STATE_CLOSE, /* the close delimiter is complete, and has not been told */
  STATE_CLOSE_PAD,
  STATE_CLOSE_LF,
  STATE_EPILOGUE,
  STATE_BAD
};

/* ==== boundaries ==== */

static bool is_boundary_char(char c) {
  if (tavi__is_digit(c) || tavi__is_letter(c)) return true;
  return c != '\0' && strchr("'()+_,-./:=? ", c) != NULL;
}

bool tavi__multipart_init(struct tavi__multipart *mp, struct tavi_slice boundary, size_t head_bytes_max) {
  if (boundary.len == 0 || boundary.len > TAVI__MULTIPART_BOUNDARY_MAX) return false;
  for (size_t i = 0; i < boundary.len; i++)
    if (!is_boundary_char(boundary.ptr[i])) return false;
  if (boundary.ptr[boundary.len - 1] == ' ') return false;

  *mp = (struct tavi__multipart){.head_bytes_max = head_bytes_max, .boundary_len = (uint8_t) boundary.len};
  memcpy(mp->delimiter, "\r\n--", 4);
  memcpy(mp->delimiter + 4, boundary.ptr, boundary.len);
  return true;
}

static size_t delimiter_len(const struct tavi__multipart *mp) { return 4u + mp->boundary_len; }

/* Is there a delimiter at p, of which the first `skipped` bytes are not expected? MORE: as far as the input goes. */
static int delimiter_at(const struct tavi__multipart *mp, size_t skipped, const char *p, size_t len) {
  size_t wanted = delimiter_len(mp) - skipped, has = len < wanted ? len : wanted;
  if (has > 0 && memcmp(p, mp->delimiter + skipped, has) != 0) return TAVI_E_PROTOCOL;
  return has == wanted ? TAVI_WIRE_EVENT : TAVI_WIRE_MORE;
}

/* The first delimiter, or what may become one, in p[0..len): *ret_at is len when there is none. */
static int find_delimiter(const struct tavi__multipart *mp, const char *p, size_t len, size_t *ret_at) {
  for (size_t at = 0; at < len; at++) {
    const char *cr = memchr(p + at, '\r', len - at);
    if (cr == NULL) break;
    at = (size_t) (cr - p);
    int r = delimiter_at(mp, 0, cr, len - at);
    if (r < 0) continue;
    *ret_at = at;
    return r;
  }
  *ret_at = len;
  return TAVI_WIRE_MORE;
}

/* ==== between the parts ==== */

static int read_start(struct tavi__multipart *mp, const char *p, size_t len, size_t *used) {
  int r = delimiter_at(mp, 2, p, len);
  if (r == TAVI_WIRE_MORE) return r;
  mp->state = r == TAVI_WIRE_EVENT ? STATE_DELIMITER : STATE_PREAMBLE;
  if (r == TAVI_WIRE_EVENT) *used = delimiter_len(mp) - 2;
  return TAVI_WIRE_EVENT;
}

static int read_preamble(struct tavi__multipart *mp, const char *p, size_t len, size_t *used) {
  size_t at;
  int r = find_delimiter(mp, p, len, &at);
  if (at > PREAMBLE_BYTES_MAX - mp->seen) return TAVI_E_PROTOCOL;
  mp->seen += (uint32_t) at;
  *used = at;
  if (r == TAVI_WIRE_MORE) return r;
  mp->state = STATE_DELIMITER;
  *used += delimiter_len(mp);
  return TAVI_WIRE_EVENT;
}

/* One byte behind a delimiter. */
static enum state line_byte(enum state state, char c) {
  bool is_space = tavi__is_space(c);
  switch (state) {
    case STATE_DELIMITER:
      if (c == '-') return STATE_DASH;
      return is_space ? STATE_PAD : c == '\r' ? STATE_PAD_LF : STATE_BAD;
    case STATE_DASH: return c == '-' ? STATE_CLOSE : STATE_BAD;
    case STATE_PAD: return is_space ? STATE_PAD : c == '\r' ? STATE_PAD_LF : STATE_BAD;
    case STATE_PAD_LF: return c == '\n' ? STATE_HEAD : STATE_BAD;
    case STATE_CLOSE_PAD: return is_space ? STATE_CLOSE_PAD : c == '\r' ? STATE_CLOSE_LF : STATE_BAD;
    case STATE_CLOSE_LF: return c == '\n' ? STATE_EPILOGUE : STATE_BAD;
    case STATE_START:
    case STATE_PREAMBLE:
    case STATE_HEAD:
    case STATE_EMPTY_LINE:
    case STATE_BODY:
    case STATE_CLOSE:
    case STATE_EPILOGUE:
    case STATE_BAD: break;
  }
  assert(!"no state of a delimiter line");
  return STATE_BAD;
}

static int read_line_byte(struct tavi__multipart *mp, const char *p, size_t *used) {
  mp->state = (uint8_t) line_byte((enum state) mp->state, *p);
  if (mp->state == STATE_BAD) return TAVI_E_PROTOCOL;
  mp->seen = 0;
  *used = 1;
  return TAVI_WIRE_EVENT;
}

/* ==== a part ==== */

/* The length of the header lines at p: up to the empty line. 0 with MORE or an error. */
static int head_end(struct tavi__multipart *mp, const char *p, size_t len, size_t *ret_len) {
  if (len < 2) return TAVI_WIRE_MORE;
  if (memcmp(p, "\r\n", 2) == 0) return TAVI_WIRE_EVENT;

  for (size_t at = mp->seen; at + 4 <= len; at++) {
    const char *cr = memchr(p + at, '\r', len - at - 3);
    if (cr == NULL) break;
    at = (size_t) (cr - p);
    if (memcmp(cr, "\r\n\r\n", 4) != 0) continue;
    *ret_len = at + 2;
    return *ret_len <= mp->head_bytes_max ? TAVI_WIRE_EVENT : TAVI_E_LIMIT;
  }
  if (len >= mp->head_bytes_max + 2) return TAVI_E_LIMIT; /* the lines have len - 1 bytes, at least */
  mp->seen = len < 3 ? 0 : (uint32_t) (len - 3);
  return TAVI_WIRE_MORE;
}

static int read_head(struct tavi__multipart *mp, const char *p, size_t len, size_t *used, struct tavi_slice *ret_data) {
  size_t head_len = 0;
  int r = head_end(mp, p, len, &head_len);
  if (r != TAVI_WIRE_EVENT) return r;
  mp->state = STATE_EMPTY_LINE;
  *used = head_len;
  *ret_data = (struct tavi_slice){p, head_len};
  return r;
}

/* True: it is a delimiter, and the part has no body. */
static int read_empty_line(struct tavi__multipart *mp, const char *p, size_t len, size_t *used, bool *ret_is_end) {
  int r = delimiter_at(mp, 0, p, len);
  if (r == TAVI_WIRE_MORE) return r;
  *ret_is_end = r == TAVI_WIRE_EVENT;
  *used = *ret_is_end ? delimiter_len(mp) : 2;
  mp->state = *ret_is_end ? STATE_DELIMITER : STATE_BODY;
  return TAVI_WIRE_EVENT;
}

static int read_body(struct tavi__multipart *mp, const char *p, size_t len, size_t *used,
                     enum tavi__multipart_event *ret_event, struct tavi_slice *ret_data) {
  size_t at;
  int r = find_delimiter(mp, p, len, &at);
  if (at == 0 && r == TAVI_WIRE_MORE) return r;
  if (at > 0) {
    *ret_event = TAVI__MULTIPART_DATA;
    *ret_data = (struct tavi_slice){p, at};
    *used = at;
    return TAVI_WIRE_EVENT;
  }
  mp->state = STATE_DELIMITER;
  *ret_event = TAVI__MULTIPART_ENDED;
  *used = delimiter_len(mp);
  return TAVI_WIRE_EVENT;
}

/* ==== the machine ==== */

/* One step. EVENT: it got somewhere; *ret_is_told when the caller is to hear of it. */
static int step(struct tavi__multipart *mp, const char *p, size_t len, size_t *used, bool *ret_is_told,
                enum tavi__multipart_event *ret_event, struct tavi_slice *ret_data) {
  switch ((enum state) mp->state) {
    case STATE_START: return read_start(mp, p, len, used);
    case STATE_PREAMBLE: return read_preamble(mp, p, len, used);
    case STATE_DELIMITER:
    case STATE_DASH:
    case STATE_PAD:
    case STATE_PAD_LF:
    case STATE_CLOSE_PAD:
    case STATE_CLOSE_LF: return len == 0 ? TAVI_WIRE_MORE : read_line_byte(mp, p, used);
    case STATE_HEAD:
      *ret_is_told = true;
      *ret_event = TAVI__MULTIPART_PART;
      return read_head(mp, p, len, used, ret_data);
    case STATE_EMPTY_LINE:
      *ret_event = TAVI__MULTIPART_ENDED;
      return read_empty_line(mp, p, len, used, ret_is_told);
    case STATE_BODY: *ret_is_told = true; return read_body(mp, p, len, used, ret_event, ret_data);
    case STATE_CLOSE:
      *ret_is_told = true;
      *ret_event = TAVI__MULTIPART_LAST;
      mp->state = STATE_CLOSE_PAD;
      return TAVI_WIRE_EVENT;
    case STATE_EPILOGUE: *used = len; return TAVI_WIRE_MORE;
    case STATE_BAD: break;
  }
  return TAVI_E_PROTOCOL;
}

int tavi__multipart_read(struct tavi__multipart *mp, const char *p, size_t len, size_t *consumed,
                         enum tavi__multipart_event *ret_event, struct tavi_slice *ret_data) {
  enum tavi__multipart_event event = TAVI__MULTIPART_DATA;
  struct tavi_slice data = {NULL, 0};
  size_t at = 0;
  bool is_told = false;
  int r = TAVI_WIRE_EVENT;
  while (r == TAVI_WIRE_EVENT && !is_told) {
    size_t used = 0;
    r = step(mp, p + at, len - at, &used, &is_told, &event, &data);
    at += used;
  }
  *consumed = at;
  if (r < 0) mp->state = STATE_BAD;
  if (r != TAVI_WIRE_EVENT) return r;
  *ret_event = event;
  *ret_data = data;
  return r;
}

/* ==== what the header lines say ==== */

static const char *skip_space(const char *p, const char *end) {
  while (p < end && tavi__is_space(*p)) p++;
  return p;
}

/* The closing quote of a string that begins at p, behind its opening one; NULL when there is none. */
static const char *quote_end(const char *p, const char *end) {
  for (; p < end && *p != '"'; p++)
    if (*p == '\\' && end - p > 1 && (p[1] == '"' || p[1] == '\\')) p++;
  return p < end ? p : NULL;
}

/* One "name=value" at *p, which moves behind it. */
static bool read_param(const char **p, const char *end, struct tavi_slice *ret_name, struct tavi_slice *ret_value) {
  const char *name = *p, *eq = name;
  while (eq < end && tavi__http1_is(*eq, TAVI__HTTP1_TOKEN)) eq++;
  if (eq == name || eq == end || *eq != '=') return false;

  const char *value = eq + 1, *stop;
  bool is_quoted = value < end && *value == '"';
  if (is_quoted) {
    stop = quote_end(++value, end);
    if (stop == NULL) return false;
  } else {
    for (stop = value; stop < end && *stop != ';' && !tavi__is_space(*stop);) stop++;
  }
  *ret_name = (struct tavi_slice){name, (size_t) (eq - name)};
  *ret_value = (struct tavi_slice){value, (size_t) (stop - value)};
  *p = is_quoted ? stop + 1 : stop;
  return true;
}

/* Content-Disposition: form-data; name="..."; filename="..." */
static int read_disposition(struct tavi_slice value, struct tavi__multipart_head *head) {
  const char *p = value.ptr, *end = value.ptr + value.len;
  while (p < end && tavi__http1_is(*p, TAVI__HTTP1_TOKEN)) p++;
  if (!tavi__slice_is((struct tavi_slice){value.ptr, (size_t) (p - value.ptr)}, "form-data", 9)) return TAVI_E_PROTOCOL;

  for (p = skip_space(p, end); p < end; p = skip_space(p, end)) {
    struct tavi_slice name, to;
    if (*p != ';') return TAVI_E_PROTOCOL;
    p = skip_space(p + 1, end);
    if (p == end) break;
    if (!read_param(&p, end, &name, &to)) return TAVI_E_PROTOCOL;
    if (tavi__slice_is(name, "name", 4)) {
      if (head->name.ptr != NULL) return TAVI_E_PROTOCOL;
      head->name = to;
    } else if (tavi__slice_is(name, "filename", 8)) {
      if (head->has_filename) return TAVI_E_PROTOCOL;
      head->filename = to;
      head->has_filename = true;
    }
  }
  return head->name.ptr == NULL ? TAVI_E_PROTOCOL : 0;
}

int tavi__multipart_head(struct tavi_slice head, struct tavi__multipart_head *ret_head) {
  struct tavi__multipart_head found = {0};
  const char *p = head.ptr, *end = head.ptr + head.len, *last = tavi__http1_last_block(p, end);
  while (p < end) {
    struct tavi_http_header field;
    if (tavi__http1_field_line(&p, last, end, &field) != TAVI_WIRE_EVENT) return TAVI_E_PROTOCOL;
    if (tavi__slice_is(field.name, "content-disposition", 19)) {
      if (found.name.ptr != NULL || read_disposition(field.value, &found) < 0) return TAVI_E_PROTOCOL;
    } else if (tavi__slice_is(field.name, "content-type", 12)) {
      if (found.content_type.ptr != NULL) return TAVI_E_PROTOCOL;
      found.content_type = field.value;
    }
  }
  if (found.name.ptr == NULL) return TAVI_E_PROTOCOL;
  *ret_head = found;
  return 0;
}

size_t tavi__multipart_decode(struct tavi_slice in, char *out) {
  static const struct {
    char code[3], is;
  } escapes[] = {{{'%', '2', '2'}, '"'}, {{'%', '0', 'D'}, '\r'}, {{'%', '0', 'A'}, '\n'}};
  size_t n = 0;
  for (size_t i = 0; i < in.len; i++) {
    char c = in.ptr[i];
    if (c == '\\' && in.len - i > 1 && (in.ptr[i + 1] == '"' || in.ptr[i + 1] == '\\')) c = in.ptr[++i];
    for (size_t k = 0; k < 3 && c == '%' && in.len - i >= 3; k++) {
      if (memcmp(in.ptr + i, escapes[k].code, 3) != 0) continue;
      c = escapes[k].is;
      i += 2;
    }
    out[n++] = c;
  }
  return n;
}
