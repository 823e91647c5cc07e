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

#include "base/ascii.h"
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

static struct tavi_slice slice(const char *p, const char *end) { return (struct tavi_slice){p, (size_t)(end - p)}; }

/* All that a head may have is there: what needs more is too long. */
static bool is_cut(const char *head, const char *end, const struct tavi__http1_limits *limits) {
  return (size_t)(end - head) == limits->head_bytes_max;
}

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

/* ==== fields ==== */

/* False for five digits above 65535. */
static inline bool is_port(const char *p, size_t len) {
  static const char max[] = "65535";
  for (size_t i = 0; len == 5 && i < 5; i++) {
    if (p[i] != max[i]) return p[i] < max[i];
  }
  return len <= 5;
}

/* A name or IPv4 address of letters, digits, '.' and '-', perhaps with a port: what nearly every Host is, told with one
 * look. Anything else is left to tavi__http1_authority. */
static inline bool is_plain_authority(struct tavi_slice value, const char *last, const char *end) {
  const char *value_end = value.ptr + value.len;
  const char *p = tavi__http1_near(value.ptr, last, tavi__http1_label_stops);
  if (p == NULL) p = tavi__http1_label_end(value.ptr, last, end);
  if (p == value.ptr) return false;
  if (p >= value_end) return true; /* the value is followed by OWS or CR, where the run stops at the latest */
  if (*p++ != ':') return false;
  const char *digits_end = tavi__http1_near(p, last, tavi__http1_digit_stops);
  return digits_end != NULL && digits_end >= value_end && is_port(p, (size_t)(value_end - p));
}

/* Host: a good one. An empty value is allowed: the target has no authority (RFC 9110 7.2). */
static inline int judge_host(struct tavi_slice value, const char *last, const char *end) {
  struct tavi__http1_authority ignored;
  if (value.len == 0 || is_plain_authority(value, last, end)) return 0;
  return tavi__http1_authority(value, &ignored) ? 0 : -400;
}

static int judge_expect(struct tavi_slice value) { return tavi__slice_is(value, "100-continue", 12) ? 0 : -417; }

/* Take note of a field that matters to the codec, in *saw and msg. Returns: 0, or a negated status. */
TAVI__HOT int note(const struct tavi_http_header *field, bool is_request, const char *last, const char *end,
                       unsigned *saw, struct tavi_http_msg *msg) {
  const char *name = field->name.ptr;
  switch (field->name.len) {
    case 4:
      if (!is_request || !tavi__http1_word_is(name, "host", 4)) break;
      if ((*saw & SAW_HOST) != 0) return -400;
      *saw |= SAW_HOST;
      return judge_host(field->value, last, end);
    case 6:
      if (!is_request || msg->minor == 0 || !tavi__http1_word_is(name, "expect", 6)) break;
      *saw |= SAW_EXPECT_CONTINUE;
      return judge_expect(field->value);
    case 7:
      if (tavi__http1_word_is(name, "upgrade", 7)) *saw |= SAW_UPGRADE;
      break;
    case 10:
      if (tavi__http1_word_is(name, "connection", 10)) *saw |= tavi__http1_connection_options(field->value);
      break;
    case 14:
      if (!tavi__http1_word_is(name, "content-length", 14)) break;
      if ((*saw & (SAW_LENGTH | SAW_CODING)) != 0) return -400;
      *saw |= SAW_LENGTH;
      return tavi__http1_content_length(field->value, &msg->content_length);
    case 17:
      if (!tavi__http1_word_is(name, "transfer-encoding", 17)) break;
      if ((*saw & (SAW_LENGTH | SAW_CODING)) != 0 || msg->minor == 0) return -400;
      *saw |= SAW_CODING;
      return tavi__http1_transfer_encoding(field->value);
    default: break;
  }
  return 0;
}

/* Read the field lines and the empty line behind them into msg; *p moves to what follows it. *ret_saw: what they told.
 * Inlined, because the registers of the callers are at hand here. */
TAVI__HOT int read_fields(const char **p, const char *last, const char *end, bool is_request,
                          const struct tavi__http1_limits *limits, struct tavi_http_header *headers, unsigned *ret_saw,
                          struct tavi_http_msg *msg) {
  const char *line = *p;
  struct tavi_http_header *field = headers;
  const struct tavi_http_header *full = headers + limits->header_count_max;
  unsigned saw = 0;
  msg->content_length = 0;
  for (; line < end && *line != '\r'; field++) {
    if (field == full) return -431;

    const int status = tavi__http1_field_line(&line, last, end, field);
    if (status != TAVI_WIRE_EVENT) return status;

    const int refused = note(field, is_request, last, end, &saw, msg);
    if (refused != 0) return refused;
  }
  msg->headers = headers;
  msg->header_count = (size_t)(field - headers);
  msg->trailers = NULL;
  msg->trailer_count = 0;
  *ret_saw = saw;
  *p = line + 2;
  return tavi__http1_crlf(line, end);
}

/* RFC 9112 section 9.3: "close" wins, then the version's default, which HTTP/1.0 may ask to change. */
static bool wants_keep_alive(unsigned saw, int minor) {
  const bool may = (minor == 1) | ((saw & TAVI__HTTP1_KEEP_ALIVE) != 0);
  return may & ((saw & TAVI__HTTP1_CLOSE) == 0);
}

/* An Upgrade in HTTP/1.0 must be ignored (RFC 9110 section 7.8). */
static bool upgrades(unsigned saw, int minor) {
  const unsigned both = SAW_UPGRADE | TAVI__HTTP1_UPGRADE;
  return (minor == 1) & ((saw & both) == both);
}

/* ==== start lines ==== */

/* Read "HTTP/" DIGIT "." DIGIT. HTTP/1.2 and above are spoken to as 1.1 (RFC 9110 section 2.5). */
static int read_version(const char *p, const char *end, int *ret_major, int *ret_minor) {
  static const char form[] = "HTTP/0.0"; /* 0 stands for a digit */
  for (int i = 0; i < 8; i++) {
    if (p + i == end) return TAVI_WIRE_MORE;
    if (form[i] == '0' ? !tavi__is_digit(p[i]) : p[i] != form[i]) return -400;
  }
  *ret_major = p[5] - '0';
  *ret_minor = p[7] == '0' ? 0 : 1;
  return TAVI_WIRE_EVENT;
}

/* Read "method SP" into msg; *p moves behind it. */
static TAVI__APART int read_other_method(const char **p, const char *last, const char *end, struct tavi_http_msg *msg) {
  const char *first = *p;
  const char *space = tavi__http1_name_end(first, last, end);
  if (space - first > METHOD_BYTES_MAX) return -400;
  if (space == end) return TAVI_WIRE_MORE;
  if (*space != ' ' || space == first) return -400;
  msg->method = slice(first, space);
  *p = space + 1;
  return TAVI_WIRE_EVENT;
}

static inline int read_method(const char **p, const char *last, const char *end, struct tavi_http_msg *msg) {
  const char *first = *p;
  if (end - first < 4 || memcmp(first, "GET ", 4) != 0) return read_other_method(p, last, end, msg);
  msg->method = (struct tavi_slice){first, 3}; /* nearly always */
  *p = first + 4;
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
static bool host_agrees(const struct tavi_http_msg *msg) {
  static const struct tavi_slice name = {"host", 4};
  struct tavi_slice scheme;
  struct tavi_slice place;
  const char *path;
  if (!split_absolute(msg->target, &scheme, &place, &path)) return true;
  return tavi__http1_same_authority(scheme, place, tavi__http1_find(msg->headers, msg->header_count, name)->value);
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

/* An empty line before the request line (RFC 9112 section 2.2): one is passed over. */
static TAVI__APART int request_behind_empty_line(const char *p, size_t len, const struct tavi__http1_limits *limits,
                                                 struct tavi_http_header *headers, size_t *consumed,
                                                 struct tavi_http_msg *ret_msg) {
  int status = tavi__http1_crlf(p, p + len);
  if (status != TAVI_WIRE_EVENT) return status;
  if (len > 2 && p[2] == '\r') return -400;
  status = tavi__http1_request(p + 2, len - 2, limits, headers, consumed, ret_msg);
  if (status == TAVI_WIRE_EVENT) *consumed += 2;
  return status;
}

int tavi__http1_request(const char *p, size_t len, const struct tavi__http1_limits *limits,
                        struct tavi_http_header *headers, size_t *consumed, struct tavi_http_msg *ret_msg) {
  if (len > 0 && *p == '\r') return request_behind_empty_line(p, len, limits, headers, consumed, ret_msg);

  const char *head = p;
  const char *end = p + smaller(len, limits->head_bytes_max);
  const char *last = tavi__http1_last_block(head, end);
  int status = read_request_line(&p, last, end, limits->target_bytes_max, ret_msg);
  if (status == TAVI_WIRE_MORE) return is_cut(head, end, limits) ? -414 : TAVI_WIRE_MORE;
  if (status != TAVI_WIRE_EVENT) return status;

  unsigned saw = 0;
  status = read_fields(&p, last, end, true, limits, headers, &saw, ret_msg);
  if (status == TAVI_WIRE_MORE) return is_cut(head, end, limits) ? -431 : TAVI_WIRE_MORE;
  if (status != TAVI_WIRE_EVENT) return status;
  const int minor = ret_msg->minor;
  if ((saw & SAW_HOST) == 0 && minor == 1) return -400;
  if ((saw & SAW_HOST) != 0 && *ret_msg->target.ptr != '/' && !host_agrees(ret_msg)) return -400;

  *consumed = (size_t)(p - head);
  ret_msg->reason = (struct tavi_slice){NULL, 0};
  ret_msg->status = 0;
  ret_msg->head = slice(head, p);
  ret_msg->body = (struct tavi_slice){NULL, 0};
  ret_msg->framing = (saw & SAW_CODING) != 0   ? TAVI_HTTP_CHUNKED
                     : (saw & SAW_LENGTH) != 0 ? TAVI_HTTP_LENGTH
                                               : TAVI_HTTP_NO_BODY;
  ret_msg->keep_alive = wants_keep_alive(saw, minor);
  ret_msg->expects_continue = (saw & SAW_EXPECT_CONTINUE) != 0;
  ret_msg->upgrades = upgrades(saw, minor);
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
    if (i == 0 ? *q != ' ' : !tavi__is_digit(*q) || (i == 1 && *q == '0')) return -400;
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
  const char *last = tavi__http1_last_block(begin, end);
  unsigned saw = 0;
  int status = read_status_line(&p, last, end, ret_msg);
  if (status == TAVI_WIRE_EVENT) status = read_fields(&p, last, end, false, limits, headers, &saw, ret_msg);
  if (status == TAVI_WIRE_MORE) return is_cut(begin, end, limits) ? -431 : TAVI_WIRE_MORE;
  if (status < 0) return status == -431 ? -431 : -502;

  *consumed = (size_t)(p - begin);
  ret_msg->method = ret_msg->target = ret_msg->path = ret_msg->query = (struct tavi_slice){NULL, 0};
  ret_msg->head = slice(begin, p);
  ret_msg->body = (struct tavi_slice){NULL, 0};
  ret_msg->framing = response_framing(ret_msg->status, question, saw);
  ret_msg->keep_alive = wants_keep_alive(saw, ret_msg->minor) && ret_msg->framing != TAVI_HTTP_UNTIL_CLOSE;
  ret_msg->expects_continue = false;
  ret_msg->upgrades = upgrades(saw, ret_msg->minor);
  return TAVI_WIRE_EVENT;
}
