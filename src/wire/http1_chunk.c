/* SPDX-License-Identifier: MIT
 *
 * The chunked transfer coding, decoding side, and trailer sections (RFC 9112 section 7.1).
 *
 * A body has no bound, so this machine is resumable: it keeps a state and a few counters, never bytes. Data is handed
 * out as slices of the input while a chunk is still arriving; nothing is copied, and whoever wants the body in one
 * piece moves the slices together himself. Only the trailer section is left lying with the caller until its empty
 * line has come, because fields are worth nothing in halves; it has a limit.
 *
 *     SIZE ---> SIZE_MORE --------------------CR--> SIZE_LF --size > 0--> DATA --> DATA_CR --> DATA_LF --+
 *      ^            |                          ^       |                                                 |
 *      |            ; --> EXT_NAME ... --------+       +--size = 0--> TRAILERS --> DONE                  |
 *      +-------------------------------------------------------------------------------------------------+
 *
 * Chunk extensions are checked against their grammar and forgotten. RFC 9112 permits "bad" white space around their
 * ';' and '='; nobody needs it, and parsers have disagreed about it, so it is refused, as is every size that another
 * parser could read as another number ("0x10", "+5", " 5", "5 "). */
#include "wire/http1.h"

#include "base/ascii.h"
#include "wire/http1_scan.h"

enum {
  SIZE_DIGITS_MAX = 16,     /* hexadecimal digits of 64 bits; leading zeros count too */
  SIZE_LINE_BYTES_MAX = 256 /* size, extensions and CRLF; extensions carry nothing for us (CVE-2023-39326) */
};

enum state {
  STATE_SIZE, /* before the first digit of a size; 0, so that a zeroed struct begins here */
  STATE_SIZE_MORE,
  STATE_EXT_NAME, /* behind ';' */
  STATE_EXT_NAME_MORE,
  STATE_EXT_VALUE, /* behind '=' */
  STATE_EXT_VALUE_MORE,
  STATE_EXT_QUOTED,
  STATE_EXT_QUOTED_PAIR, /* behind the '\' in a quoted string */
  STATE_EXT_QUOTED_END,  /* behind the closing '"' */
  STATE_SIZE_LF,
  STATE_DATA,
  STATE_DATA_CR,
  STATE_DATA_LF,
  STATE_TRAILERS,
  STATE_DONE, /* the message was complete; there is nothing to decode any more */
  STATE_BAD,
  STATE_TRAILERS_TOO_LONG
};

/* ==== size lines ==== */

/* The states that a name, a value or a closing quote may be followed by. */
static enum state after_extension(char c) {
  return c == ';' ? STATE_EXT_NAME : c == '\r' ? STATE_SIZE_LF : STATE_BAD;
}

static enum state size_digit(struct tavi__http1_chunks *c, char byte) {
  const int value = tavi__hex_value(byte);
  if (value < 0) return c->digits > 0 ? after_extension(byte) : STATE_BAD;
  if (c->digits == SIZE_DIGITS_MAX || c->left > (uint64_t)INT64_MAX >> 4) return STATE_BAD;
  c->left = c->left << 4 | (uint64_t)value;
  c->digits++;
  return STATE_SIZE_MORE;
}

static enum state extension_byte(enum state state, char byte) {
  const bool is_token = tavi__http1_is(byte, TAVI__HTTP1_TOKEN);
  switch (state) {
    case STATE_EXT_NAME: return is_token ? STATE_EXT_NAME_MORE : STATE_BAD;
    case STATE_EXT_NAME_MORE:
      if (byte == '=') return STATE_EXT_VALUE;
      return is_token ? STATE_EXT_NAME_MORE : after_extension(byte);
    case STATE_EXT_VALUE:
      if (byte == '"') return STATE_EXT_QUOTED;
      return is_token ? STATE_EXT_VALUE_MORE : STATE_BAD;
    case STATE_EXT_VALUE_MORE: return is_token ? STATE_EXT_VALUE_MORE : after_extension(byte);
    case STATE_EXT_QUOTED:
      if (byte == '"') return STATE_EXT_QUOTED_END;
      if (byte == '\\') return STATE_EXT_QUOTED_PAIR;
      return tavi__http1_is(byte, TAVI__HTTP1_VALUE) ? STATE_EXT_QUOTED : STATE_BAD;
    case STATE_EXT_QUOTED_PAIR: return tavi__http1_is(byte, TAVI__HTTP1_VALUE) ? STATE_EXT_QUOTED : STATE_BAD;
    case STATE_EXT_QUOTED_END: return after_extension(byte);
    case STATE_SIZE:
    case STATE_SIZE_MORE:
    case STATE_SIZE_LF:
    case STATE_DATA:
    case STATE_DATA_CR:
    case STATE_DATA_LF:
    case STATE_TRAILERS:
    case STATE_DONE:
    case STATE_BAD:
    case STATE_TRAILERS_TOO_LONG: break;
  }
  return STATE_BAD;
}

/* The size line is over: what comes next. */
static enum state size_line_end(struct tavi__http1_chunks *c, char byte) {
  if (byte != '\n') return STATE_BAD;
  c->line_bytes = 0;
  c->digits = 0;
  return c->left > 0 ? STATE_DATA : STATE_TRAILERS;
}

/* Take one byte of framing in front of data or trailers. */
static enum state frame_byte(struct tavi__http1_chunks *c, enum state state, char byte) {
  if (state == STATE_DATA_CR) return byte == '\r' ? STATE_DATA_LF : STATE_BAD;
  if (state == STATE_DATA_LF) return byte == '\n' ? STATE_SIZE : STATE_BAD;

  if (++c->line_bytes > SIZE_LINE_BYTES_MAX) return STATE_BAD;
  if (state == STATE_SIZE || state == STATE_SIZE_MORE) return size_digit(c, byte);
  if (state == STATE_SIZE_LF) return size_line_end(c, byte);
  return extension_byte(state, byte);
}

/* ==== trailers ==== */

/* Look for the end of the trailer section that begins at p. The lines found whole are remembered in c->line_bytes,
 * so that a section that comes in drops is not read again from its start each time.
 *
 * Returns: TAVI_WIRE_EVENT and the section's length, TAVI_WIRE_MORE, -400 or -431. */
static int trailer_section(struct tavi__http1_chunks *c, const char *p, size_t len, size_t bytes_max,
                           size_t *ret_len) {
  const size_t limit = bytes_max > 2 ? bytes_max : 2; /* there is always room for no trailers */
  const char *end = p + (len < limit ? len : limit);
  const char *line = p + (c->line_bytes < (size_t)(end - p) ? c->line_bytes : (size_t)(end - p));
  const char *last = tavi__http1_last_block(p, end);
  for (;;) {
    const char *cr = tavi__http1_value_end(line, last, end);
    if (cr < end && *cr != '\r') return -400;
    if (end - cr < 2) break;
    if (cr[1] != '\n') return -400;
    if (cr == line) {
      *ret_len = (size_t)(cr + 2 - p);
      return TAVI_WIRE_EVENT;
    }
    line = cr + 2;
    c->line_bytes = (uint32_t)(line - p);
  }
  return len >= limit ? -431 : TAVI_WIRE_MORE;
}

/* Fields that have done their work, or their harm, before a trailer arrives (RFC 9110 section 6.5.1): framing,
 * routing, conditions, authentication, control of the response, and how to read the content. Any other Content-...
 * name is refused with them by its prefix, but for the digests, which were made to be trailers (RFC 9530). */
static bool is_forbidden(struct tavi_slice name) {
  static const char *const names[] = {
      "accept",       "accept-charset",      "accept-encoding",     "accept-language",  "age",
      "authorization", "cache-control",      "connection",          "cookie",           "date",
      "expect",       "expires",             "forwarded",           "host",             "http2-settings",
      "if-match",     "if-modified-since",   "if-none-match",       "if-range",         "if-unmodified-since",
      "keep-alive",   "location",            "max-forwards",        "pragma",           "proxy-authenticate",
      "proxy-authorization", "proxy-connection", "range",           "retry-after",      "set-cookie",
      "te",           "trailer",             "transfer-encoding",   "upgrade",          "vary",
      "via",          "warning",             "www-authenticate",    "x-forwarded-for",  "x-forwarded-host",
      "x-forwarded-proto"};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    if (tavi__slice_is(name, names[i], strlen(names[i]))) return true;
  }
  if (!tavi__slice_begins(name, "content-", 8)) return false;
  return !tavi__slice_is(name, "content-digest", 14) && !tavi__slice_is(name, "content-md5", 11);
}

int tavi__http1_trailers(struct tavi_slice raw, struct tavi_http_header *headers, size_t header_count_max) {
  const char *p = raw.ptr;
  const char *end = raw.ptr + raw.len;
  const char *last = tavi__http1_last_block(p, end);
  size_t count = 0;
  while (p < end && *p != '\r') {
    if (count == header_count_max) return -431;
    if (tavi__http1_field_line(&p, last, end, &headers[count]) != TAVI_WIRE_EVENT) return -400;
    if (is_forbidden(headers[count].name)) return -400;
    count++;
  }
  return end - p == 2 && p[0] == '\r' && p[1] == '\n' ? (int)count : -400;
}

/* ==== the decoder ==== */

static int trailers_event(struct tavi__http1_chunks *c, const char *p, size_t len, size_t trailer_bytes_max,
                          size_t *consumed, enum tavi__http1_chunk_event *ret_event, struct tavi_slice *ret_data) {
  size_t section_len = 0;
  const int status = trailer_section(c, p, len, trailer_bytes_max, &section_len);
  if (status == TAVI_WIRE_MORE) return status;
  if (status < 0) {
    c->state = status == -431 ? STATE_TRAILERS_TOO_LONG : STATE_BAD;
    return status;
  }
  c->state = STATE_DONE;
  *consumed += section_len;
  *ret_event = TAVI__HTTP1_TRAILERS;
  *ret_data = (struct tavi_slice){p, section_len};
  return TAVI_WIRE_EVENT;
}

int tavi__http1_chunk(struct tavi__http1_chunks *c, const char *p, size_t len, size_t trailer_bytes_max,
                      size_t *consumed, enum tavi__http1_chunk_event *ret_event, struct tavi_slice *ret_data) {
  size_t pos = 0;
  enum state state = (enum state)c->state;
  while (pos < len && state != STATE_DATA && state < STATE_TRAILERS) state = frame_byte(c, state, p[pos++]);

  c->state = (uint8_t)state;
  if (state >= STATE_DONE) return state == STATE_TRAILERS_TOO_LONG ? -431 : -400;

  *consumed = pos;
  if (pos == len) return TAVI_WIRE_MORE;
  if (state == STATE_TRAILERS) {
    return trailers_event(c, p + pos, len - pos, trailer_bytes_max, consumed, ret_event, ret_data);
  }
  const size_t run = c->left < len - pos ? (size_t)c->left : len - pos;
  c->left -= run;
  if (c->left == 0) c->state = STATE_DATA_CR;
  *consumed = pos + run;
  *ret_event = TAVI__HTTP1_DATA;
  *ret_data = (struct tavi_slice){p + pos, run};
  return TAVI_WIRE_EVENT;
}
