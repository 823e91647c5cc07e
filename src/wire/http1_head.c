/* SPDX-License-Identifier: MIT
 *
 * Request and response heads of HTTP/1.1 (RFC 9112 sections 2 to 6).
 *
 * One pass from left to right, and an answer that never changes its mind: what a prefix of a head is refused for, the
 * whole head is refused for. So nothing is judged by bytes behind the first wrong one, limits cut the input instead
 * of being looked at afterwards, and a line is judged for its meaning only when its CRLF is there.
 *
 * The order within a request line: method, target bytes, version, then the form of the target. The version comes
 * before the form because another major version has other forms: the preface of HTTP/2, "PRI * HTTP/2.0", is told
 * 505 and not 400.
 *
 * Requests and responses share everything behind the start line. The parts of the start line are stored into the
 * caller's message as they are found, which is why its content means nothing unless the head was good: keeping it
 * untouched would copy every part twice, a tenth of the cost of a small request.
 *
 * Names are recognised by their length first, and then by one or two comparisons of whole words; most fields are
 * dismissed by the length or by the first word. */
#include "wire/http1.h"
#include "wire/http1_field.h"
#include "wire/http1_scan.h"

enum { METHOD_BYTES_MAX = 64 }; /* the longest registered method has 17; a longer one is somebody else's protocol */

/* What the fields have told so far; the low bits are enum tavi__http1_option. */
enum {
  SAW_HOST = 8,
  SAW_LENGTH = 16,
  SAW_CODING = 32,
  SAW_UPGRADE = 64,
  SAW_EXPECT_CONTINUE = 128
};

struct fields {
  bool is_request;
  int minor;
  unsigned saw;
  size_t count;
  uint64_t content_length;
  struct tavi_slice host;
};

static struct tavi_slice slice(const char *p, const char *end) { return (struct tavi_slice){p, (size_t)(end - p)}; }

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

/* ==== fields ==== */

/* A name or IPv4 address of letters, digits, '.' and '-', perhaps with a port: what nearly every Host is, told with one
 * look. Anything else is left to tavi__http1_authority. */
static inline bool is_plain_authority(struct tavi_slice value, const char *last, const char *end) {
  const char *value_end = value.ptr + value.len;
  const char *p = tavi__http1_scan(value.ptr, last, end, tavi__http1_label_stops);
  if (p == value.ptr) return false;
  if (p >= value_end) return true; /* the value is followed by OWS or CR, where the run stops at the latest */
  if (*p != ':' || value_end - p > 6) return false;
  unsigned port = 0;
  while (++p < value_end) {
    const unsigned digit = (unsigned)*p - '0';
    if (digit > 9) return false;
    port = port * 10 + digit;
  }
  return port <= 65535;
}

/* One Host, and a good one. An empty value is allowed: the target has no authority (RFC 9110 7.2). */
static inline int note_host(struct fields *f, struct tavi_slice value, const char *last, const char *end) {
  struct tavi__http1_authority ignored;
  if ((f->saw & SAW_HOST) != 0) return -400;
  f->saw |= SAW_HOST;
  f->host = value;
  if (value.len == 0 || is_plain_authority(value, last, end)) return 0;
  return tavi__http1_authority(value, &ignored) ? 0 : -400;
}

static int note_length(struct fields *f, struct tavi_slice value) {
  if ((f->saw & (SAW_LENGTH | SAW_CODING)) != 0) return -400;
  f->saw |= SAW_LENGTH;
  return tavi__http1_content_length(value, &f->content_length);
}

static int note_coding(struct fields *f, struct tavi_slice value) {
  if ((f->saw & (SAW_LENGTH | SAW_CODING)) != 0 || f->minor == 0) return -400;
  f->saw |= SAW_CODING;
  return tavi__http1_transfer_encoding(value);
}

static int note_expect(struct fields *f, struct tavi_slice value) {
  if (f->minor == 0) return 0;
  if (!tavi__slice_is(value, "100-continue", 12)) return -417;
  f->saw |= SAW_EXPECT_CONTINUE;
  return 0;
}

/* Take note of a field that matters to the codec. Returns: 0, or a negated status. */
static inline int note(struct fields *f, const struct tavi_http_header *field, const char *last, const char *end) {
  const char *name = field->name.ptr;
  switch (field->name.len) {
    case 4:
      if (f->is_request && tavi__http1_word_is(name, "host", 4)) return note_host(f, field->value, last, end);
      break;
    case 6:
      if (f->is_request && tavi__http1_word_is(name, "expect", 6)) return note_expect(f, field->value);
      break;
    case 7:
      if (tavi__http1_word_is(name, "upgrade", 7)) f->saw |= SAW_UPGRADE;
      break;
    case 10:
      if (tavi__http1_word_is(name, "connection", 10)) f->saw |= tavi__http1_connection_options(field->value);
      break;
    case 14:
      if (tavi__http1_word_is(name, "content-length", 14)) return note_length(f, field->value);
      break;
    case 17:
      if (tavi__http1_word_is(name, "transfer-encoding", 17)) return note_coding(f, field->value);
      break;
    default: break;
  }
  return 0;
}

/* Read the field lines and the empty line behind them; *p moves to what follows it. */
static int read_fields(const char **p, const char *last, const char *end, size_t count_max,
                       struct tavi_http_header *headers, struct fields *f) {
  const char *line = *p;
  struct tavi_http_header *field = headers;
  for (; line < end && *line != '\r'; field++) {
    if (field == headers + count_max) return -431;

    const int status = tavi__http1_field_line(&line, last, end, field);
    if (status != TAVI_WIRE_EVENT) return status;

    const int refused = note(f, field, last, end);
    if (refused != 0) return refused;
  }
  f->count = (size_t)(field - headers);
  *p = line + 2;
  return tavi__http1_crlf(line, end);
}

/* RFC 9112 section 9.3: "close" wins, then the version's default, which HTTP/1.0 may ask to change. */
static bool wants_keep_alive(const struct fields *f) {
  if ((f->saw & TAVI__HTTP1_CLOSE) != 0) return false;
  return f->minor == 1 || (f->saw & TAVI__HTTP1_KEEP_ALIVE) != 0;
}

/* An Upgrade in HTTP/1.0 must be ignored (RFC 9110 section 7.8). */
static bool upgrades(const struct fields *f) {
  const unsigned both = SAW_UPGRADE | TAVI__HTTP1_UPGRADE;
  return f->minor == 1 && (f->saw & both) == both;
}

/* ==== start lines ==== */

/* Read "HTTP/" DIGIT "." DIGIT. HTTP/1.2 and above are spoken to as 1.1 (RFC 9110 section 2.5). */
static int read_version(const char *p, const char *end, int *ret_major, int *ret_minor) {
  static const char form[] = "HTTP/0.0"; /* 0 stands for a digit */
  for (int i = 0; i < 8; i++) {
    if (p + i == end) return TAVI_WIRE_MORE;
    if (form[i] == '0' ? !tavi__http1_is_digit(p[i]) : p[i] != form[i]) return -400;
  }
  *ret_major = p[5] - '0';
  *ret_minor = p[7] == '0' ? 0 : 1;
  return TAVI_WIRE_EVENT;
}

/* Read "method SP" into msg; *p moves behind it. */
static inline int read_method(const char **p, const char *last, const char *end, struct tavi_http_msg *msg) {
  const char *first = *p;
  const bool is_get = end - first >= 4 && memcmp(first, "GET ", 4) == 0; /* nearly always */
  const char *space = is_get ? first + 3 : tavi__http1_token_end(first, last, end);
  if (space - first > METHOD_BYTES_MAX) return -400;
  if (space == end) return TAVI_WIRE_MORE;
  if (*space != ' ' || space == first) return -400;
  msg->method = slice(first, space);
  *p = space + 1;
  return TAVI_WIRE_EVENT;
}

/* Read "target SP", whatever its form, into msg, with path and query cut at the first '?'; *p moves behind it. */
static inline int read_target(const char **p, const char *last, const char *end, size_t bytes_max,
                              struct tavi_http_msg *msg) {
  const char *first = *p;
  const char *question = tavi__http1_scan(first, last, end, tavi__http1_path_stops);
  const char *space = question;
  if (question < end && *question == '?') space = tavi__http1_scan(question, last, end, tavi__http1_target_stops);
  if ((size_t)(space - first) > bytes_max) return -414;
  if (space == end) return TAVI_WIRE_MORE;
  if (*space != ' ' || space == first) return -400;
  msg->target = slice(first, space);
  msg->path = slice(first, question);
  msg->query = question < space ? slice(question + 1, space) : slice(space, space);
  *p = space + 1;
  return TAVI_WIRE_EVENT;
}

/* Read "HTTP/x.y CRLF" into msg; *p moves behind it. */
static inline int read_request_version(const char **p, const char *end, struct tavi_http_msg *msg) {
  const char *version = *p;
  msg->version = (struct tavi_slice){version, 8};
  msg->minor = 1;
  *p = version + 10;
  if (end - version >= 10 && memcmp(version, "HTTP/1.1", 8) == 0 && memcmp(version + 8, "\r\n", 2) == 0) {
    return TAVI_WIRE_EVENT;
  }
  int major = 1;
  int status = read_version(version, end, &major, &msg->minor);
  if (status == TAVI_WIRE_EVENT) status = tavi__http1_crlf(version + 8, end);
  return status == TAVI_WIRE_EVENT && major != 1 ? -505 : status;
}

/* ==== forms of the target (RFC 9112 section 3.2) ==== */

static bool method_is(struct tavi_slice method, const char *name, size_t len) {
  return method.len == len && memcmp(method.ptr, name, len) == 0;
}

/* Take "scheme://authority/path?query" apart; *ret_path is where the authority ends. */
static bool split_absolute(struct tavi_slice target, struct tavi_slice *ret_scheme, struct tavi_slice *ret_authority,
                           const char **ret_path) {
  const char *scheme = target.ptr;
  const char *end = scheme + target.len;
  const char *p = scheme;
  while (p < end && tavi__http1_is(*p, TAVI__HTTP1_SCHEME)) p++;
  if (end - p < 3 || memcmp(p, "://", 3) != 0 || (*scheme | 0x20) < 'a') return false; /* it begins with a letter */

  const char *authority = p + 3;
  const char *path = authority;
  while (path < end && *path != '/' && *path != '?') path++;
  *ret_scheme = slice(scheme, p);
  *ret_authority = slice(authority, path);
  *ret_path = path;
  return true;
}

/* Judge a target that does not begin with '/', or that stands in a CONNECT, and set the path. Returns: 0 or -400. */
static int judge_other_forms(struct tavi_http_msg *msg) {
  struct tavi__http1_authority authority;
  if (method_is(msg->method, "CONNECT", 7)) {
    return tavi__http1_authority(msg->target, &authority) && authority.port.len > 0 ? 0 : -400;
  }
  if (*msg->target.ptr == '*') return msg->target.len == 1 && method_is(msg->method, "OPTIONS", 7) ? 0 : -400;

  struct tavi_slice scheme;
  struct tavi_slice place;
  const char *path;
  if (!split_absolute(msg->target, &scheme, &place, &path) || !tavi__http1_authority(place, &authority)) return -400;
  const char *path_end = msg->path.ptr + msg->path.len;
  msg->path = path < path_end ? slice(path, path_end) : (struct tavi_slice){"/", 1};
  return 0;
}

/* False when an absolute-form target names another place than Host does. RFC 9112 3.2.2 lets the target win; but
 * whoever on the way looked at Host alone would disagree with us, so it is refused. */
static bool host_agrees(struct tavi_slice target, struct tavi_slice host) {
  struct tavi_slice scheme;
  struct tavi_slice place;
  const char *path;
  if (!split_absolute(target, &scheme, &place, &path)) return true;
  return tavi__http1_same_authority(scheme, place, host);
}

/* ==== whole heads ==== */

static inline int read_request_line(const char **p, const char *last, const char *end, size_t target_bytes_max,
                                    struct tavi_http_msg *msg) {
  int status = read_method(p, last, end, msg);
  if (status != TAVI_WIRE_EVENT) return status;
  status = read_target(p, last, end, target_bytes_max, msg);
  if (status != TAVI_WIRE_EVENT) return status;
  status = read_request_version(p, end, msg);
  if (status != TAVI_WIRE_EVENT) return status;
  if (*msg->target.ptr == '/' && msg->method.len != 7) return TAVI_WIRE_EVENT;
  if (*msg->target.ptr == '/' && !method_is(msg->method, "CONNECT", 7)) return TAVI_WIRE_EVENT;
  return judge_other_forms(msg) == 0 ? TAVI_WIRE_EVENT : -400;
}

int tavi__http1_request(const char *p, size_t len, const struct tavi__http1_limits *limits,
                        struct tavi_http_header *headers, size_t *consumed, struct tavi_http_msg *ret_msg) {
  const char *begin = p;
  if (len > 0 && *p == '\r') { /* an empty line before the request line (RFC 9112 section 2.2) */
    const int status = tavi__http1_crlf(p, p + len);
    if (status != TAVI_WIRE_EVENT) return status;
    p += 2;
    len -= 2;
  }

  const char *head = p;
  const char *end = p + smaller(len, limits->head_bytes_max);
  const bool is_cut = len >= limits->head_bytes_max; /* then MORE means that the limit is passed */
  const char *last = tavi__http1_last_block(begin, end);
  int status = read_request_line(&p, last, end, limits->target_bytes_max, ret_msg);
  if (status == TAVI_WIRE_MORE) return is_cut ? -414 : TAVI_WIRE_MORE;
  if (status != TAVI_WIRE_EVENT) return status;

  struct fields f = {.is_request = true, .minor = ret_msg->minor};
  const char *rest = p;
  status = read_fields(&rest, last, end, limits->header_count_max, headers, &f);
  if (status == TAVI_WIRE_MORE) return is_cut ? -431 : TAVI_WIRE_MORE;
  if (status != TAVI_WIRE_EVENT) return status;
  if ((f.saw & SAW_HOST) == 0 && f.minor == 1) return -400;
  if ((f.saw & SAW_HOST) != 0 && *ret_msg->target.ptr != '/' && !host_agrees(ret_msg->target, f.host)) return -400;

  *consumed = (size_t)(rest - begin);
  ret_msg->reason = (struct tavi_slice){NULL, 0};
  ret_msg->status = 0;
  ret_msg->headers = headers;
  ret_msg->header_count = f.count;
  ret_msg->trailers = NULL;
  ret_msg->trailer_count = 0;
  ret_msg->head = slice(head, rest);
  ret_msg->body = (struct tavi_slice){NULL, 0};
  ret_msg->framing = (f.saw & SAW_CODING) != 0   ? TAVI_HTTP_CHUNKED
                     : (f.saw & SAW_LENGTH) != 0 ? TAVI_HTTP_LENGTH
                                                 : TAVI_HTTP_NO_BODY;
  ret_msg->content_length = f.content_length;
  ret_msg->keep_alive = wants_keep_alive(&f);
  ret_msg->expects_continue = (f.saw & SAW_EXPECT_CONTINUE) != 0;
  ret_msg->upgrades = upgrades(&f);
  return TAVI_WIRE_EVENT;
}

/* Read "HTTP/1.x SP 3DIGIT [SP reason] CRLF" into *msg; *p moves behind it. The space before an empty reason may be
 * missing: common servers omit it, and nothing depends on it. */
static int read_status_line(const char **p, const char *last, const char *end, struct tavi_http_msg *msg) {
  const char *version = *p;
  int major;
  const int status = read_version(version, end, &major, &msg->minor);
  if (status != TAVI_WIRE_EVENT) return status;
  if (major != 1) return -505;

  const char *q = version + 8;
  for (int i = 0; i < 4; i++, q++) { /* SP 3DIGIT, the first of them not 0 */
    if (q == end) return TAVI_WIRE_MORE;
    if (i == 0 ? *q != ' ' : !tavi__http1_is_digit(*q) || (i == 1 && *q == '0')) return -400;
  }
  msg->status = (q[-3] - '0') * 100 + (q[-2] - '0') * 10 + (q[-1] - '0');
  if (q == end) return TAVI_WIRE_MORE;
  if (*q == ' ') q++;
  else if (*q != '\r') return -400;

  const char *cr = tavi__http1_value_end(q, last, end);
  const int ended = tavi__http1_crlf(cr, end);
  if (ended != TAVI_WIRE_EVENT) return ended;
  msg->version = (struct tavi_slice){version, 8};
  msg->reason = slice(q, cr);
  *p = cr + 2;
  return TAVI_WIRE_EVENT;
}

/* RFC 9112 section 6.3, in its order. */
static enum tavi_http_framing response_framing(int status, enum tavi__http1_question question, unsigned saw) {
  if (question == TAVI__HTTP1_HEAD || status < 200 || status == 204 || status == 304) return TAVI_HTTP_NO_BODY;
  if (question == TAVI__HTTP1_CONNECT && status < 300) return TAVI_HTTP_NO_BODY;
  if ((saw & SAW_CODING) != 0) return TAVI_HTTP_CHUNKED;
  return (saw & SAW_LENGTH) != 0 ? TAVI_HTTP_LENGTH : TAVI_HTTP_UNTIL_CLOSE;
}

int tavi__http1_response(const char *p, size_t len, enum tavi__http1_question question,
                         const struct tavi__http1_limits *limits, struct tavi_http_header *headers, size_t *consumed,
                         struct tavi_http_msg *ret_msg) {
  const char *begin = p;
  const char *end = p + smaller(len, limits->head_bytes_max);
  const bool is_cut = len >= limits->head_bytes_max;
  const char *last = tavi__http1_last_block(begin, end);
  struct fields f = {.is_request = false};
  int status = read_status_line(&p, last, end, ret_msg);
  if (status == TAVI_WIRE_EVENT) {
    f.minor = ret_msg->minor;
    status = read_fields(&p, last, end, limits->header_count_max, headers, &f);
  }
  if (status < 0 || (status == TAVI_WIRE_MORE && is_cut)) return -502;
  if (status == TAVI_WIRE_MORE) return TAVI_WIRE_MORE;

  *consumed = (size_t)(p - begin);
  ret_msg->method = ret_msg->target = ret_msg->path = ret_msg->query = (struct tavi_slice){NULL, 0};
  ret_msg->headers = headers;
  ret_msg->header_count = f.count;
  ret_msg->trailers = NULL;
  ret_msg->trailer_count = 0;
  ret_msg->head = slice(begin, p);
  ret_msg->body = (struct tavi_slice){NULL, 0};
  ret_msg->framing = response_framing(ret_msg->status, question, f.saw);
  ret_msg->content_length = f.content_length; /* also of a response to HEAD, whose framing is NO_BODY */
  ret_msg->keep_alive = wants_keep_alive(&f) && ret_msg->framing != TAVI_HTTP_UNTIL_CLOSE;
  ret_msg->expects_continue = false;
  ret_msg->upgrades = upgrades(&f);
  return TAVI_WIRE_EVENT;
}
