/* SPDX-License-Identifier: MIT
 *
 * Compressed answers. The choice is made when the request is there and kept beside the connection's other rare state
 * (h->more->coding); the answer then takes the way of special answers and comes by here.
 *
 * A whole body is encoded at once, into memory of its own, and goes on as if the caller had given it like that; when it
 * does not get smaller, or memory is short, the original goes. A stream has an encoder, which ends with it or with the
 * connection, and counts towards the manager's maximum. */
#include <stdlib.h>
#include <string.h>

#include "base/ascii.h"
#include "http/http.h"
#include "wire/http_accept.h"

/* ==== what may be compressed ==== */

static bool name_is(const struct tavi_http_header *f, const char *lower_case) {
  return tavi__slice_is(f->name, lower_case, strlen(lower_case));
}

static bool ends(struct tavi_slice s, const char *lower_case) {
  size_t len = strlen(lower_case);
  return s.len >= len && tavi__slice_is((struct tavi_slice){s.ptr + s.len - len, len}, lower_case, len);
}

/* The beginnings of media types whose content is compressed already, and of those among them that are not. */
static const char *const packed_types[] = {
    "image/", "audio/", "video/", "font/woff", "application/font-woff", "application/pdf", "application/zip",
    "application/gzip", "application/x-gzip", "application/zstd", "application/x-bzip", "application/x-xz",
    "application/x-compress", "application/x-7z-compressed", "application/vnd.rar", "application/x-rar-compressed",
    "application/java-archive", "application/vnd.android.package-archive", "application/vnd.openxmlformats-",
    "application/vnd.oasis.opendocument.",
};
static const char *const loose_types[] = {"image/svg", "image/bmp", "image/x-icon", "image/vnd.microsoft.icon"};

static bool is_one_of(struct tavi_slice type, const char *const *beginnings, size_t count) {
  for (size_t i = 0; i < count; i++) {
    if (tavi__slice_begins(type, beginnings[i], strlen(beginnings[i]))) return true;
  }
  return false;
}

#define IS_ONE_OF(type, list) is_one_of((type), (list), sizeof(list) / sizeof((list)[0]))

static bool is_packed(struct tavi_slice type) {
  const char *parameters = type.len == 0 ? NULL : memchr(type.ptr, ';', type.len);
  if (parameters != NULL) type.len = (size_t) (parameters - type.ptr);
  while (type.len > 0 && tavi__is_space(type.ptr[type.len - 1])) type.len--;
  if (ends(type, "+zip") || ends(type, "+gzip")) return true;
  return IS_ONE_OF(type, packed_types) && !IS_ONE_OF(type, loose_types);
}

/* With this header the body must stay as it is: it is encoded already, only a part, or what tells its digest. */
static bool forbids(const struct tavi_http_header *f) {
  static const char *const names[] = {"content-encoding", "content-range", "content-digest",
                                      "repr-digest",      "digest",        "content-md5"};
  for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
    if (name_is(f, names[i])) return true;
  }
  if (name_is(f, "cache-control")) return tavi__http1_list_has(f->value, "no-transform", 12);
  return name_is(f, "content-type") && is_packed(f->value);
}

bool tavi__http_wants_coding(const struct tavi_conn *c, int status, const struct tavi_http_header *headers,
                             size_t count) {
  const struct tavi__http *h = tavi__http_of(c);
  if (h->more == NULL || !h->more->coding.is_asked) return false;
  if (status < 200 || status == 204 || status == 206) return false;
  if (h->question == TAVI__HTTP1_CONNECT && status < 300) return false;
  for (size_t i = 0; i < count; i++) {
    if (forbids(&headers[i])) return false;
  }
  return true;
}

/* ==== headers ==== */

static bool has_vary(const struct tavi_http_header *headers, size_t count) {
  for (size_t i = 0; i < count; i++) {
    if (!name_is(&headers[i], "vary")) continue;
    if (tavi__http1_list_has(headers[i].value, "accept-encoding", 15)) return true;
    if (tavi__http1_list_has(headers[i].value, "*", 1)) return true;
  }
  return false;
}

static bool is_strong_tag(const struct tavi_http_header *f) {
  return name_is(f, "etag") && f->value.len > 0 && f->value.ptr[0] == '"';
}

/* a and b one behind the other at *at, which is moved on. */
static struct tavi_slice join(char **at, struct tavi_slice a, struct tavi_slice b) {
  struct tavi_slice both = {*at, a.len + b.len};
  memcpy(*at, a.ptr, a.len);
  memcpy(*at + a.len, b.ptr, b.len);
  *at += both.len;
  return both;
}

/* The caller's headers with Accept-Encoding in Vary, strong ETags made weak when is_weak, and Content-Encoding unless
 * `coding` is empty: one piece of memory, to be freed; NULL when there is none. */
static struct tavi_http_header *edit(const struct tavi_http_header *headers, size_t count, const char *coding,
                                     bool is_weak, size_t *ret_count) {
  static const struct tavi_slice weak = {"W/", 2}, too = {", Accept-Encoding", 17};
  bool needs_vary = !has_vary(headers, count);
  size_t text_max = 0, n = 0;
  for (size_t i = 0; i < count; i++) {
    if (is_strong_tag(&headers[i])) text_max += headers[i].value.len + weak.len;
    if (name_is(&headers[i], "vary")) text_max += headers[i].value.len + too.len;
  }
  struct tavi_http_header *to = malloc((count + 2) * sizeof(*to) + text_max);
  if (to == NULL) return NULL;

  char *text = (char *) (to + count + 2);
  for (; n < count; n++) {
    to[n] = headers[n];
    if (is_weak && is_strong_tag(&headers[n])) to[n].value = join(&text, weak, headers[n].value);
    if (!needs_vary || !name_is(&headers[n], "vary") || headers[n].value.len == 0) continue;
    to[n].value = join(&text, headers[n].value, too);
    needs_vary = false;
  }
  if (needs_vary) to[n++] = (struct tavi_http_header){{"Vary", 4}, {"Accept-Encoding", 15}};
  if (coding[0] != '\0') to[n++] = (struct tavi_http_header){{"Content-Encoding", 16}, {coding, strlen(coding)}};
  *ret_count = n;
  return to;
}

/* ==== encoders ==== */

bool tavi__http_is_compressed(const struct tavi_conn *c) {
  const struct tavi__http *h = tavi__http_of(c);
  return tavi__is_http_server(c) && h->more != NULL && h->more->coding.encoder != NULL;
}

void tavi__http_drop_encoder(struct tavi_conn *c) {
  struct tavi__http *h = tavi__http_of(c);
  if (h->more == NULL) return;
  struct tavi__http_coding *k = &h->more->coding;
  tavi__encoder_free(k->encoder);
  tavi__manager_give(c->src.manager, k->encoder_bytes);
  k->encoder = NULL;
  k->encoder_bytes = 0;
}

/* Count what the encoder holds by now. */
static int count_encoder(struct tavi_conn *c, struct tavi__http_coding *k) {
  size_t held = tavi__encoder_held(k->encoder);
  if (held <= k->encoder_bytes) return 0;
  if (!tavi__manager_take(c->src.manager, held - k->encoder_bytes)) return TAVI_E_LIMIT;
  k->encoder_bytes = held;
  return 0;
}

/* For a stream; that of an answer to a HEAD needs none. False: there is no memory for it. */
static bool start_encoder(struct tavi_conn *c, struct tavi__http_coding *k) {
  if (tavi__http_of(c)->question == TAVI__HTTP1_HEAD) return true;
  k->encoder = tavi__encoder_new(k->coding, k->level, 0);
  if (k->encoder != NULL && count_encoder(c, k) == 0) return true;
  tavi__http_drop_encoder(c);
  return false;
}

int tavi__http_encode(struct tavi_conn *c, struct tavi_slice in, enum tavi__encode what, bool is_framed) {
  struct tavi__http_coding *k = &tavi__http_of(c)->more->coding;
  char out[TAVI__SENDQ_ROOM_MAX - 32]; /* with its framing it fits into one block of the queue */
  bool has_more = true;
  int err = 0;
  while (err == 0 && has_more) {
    int64_t n = tavi__encoder_put(k->encoder, &in, what, out, sizeof(out), &has_more);
    err = n < 0 ? (int) n : count_encoder(c, k);
    if (err < 0)
      tavi__conn_fail_with(c, err, "cannot compress an answer");
    else if (n > 0)
      err = is_framed ? tavi__http_queue_chunk(c, out, (size_t) n) : tavi__conn_queue(c, out, (size_t) n);
  }
  if (what == TAVI__ENCODE_END) tavi__http_drop_encoder(c);
  return err;
}

/* A whole body, encoded: memory to be freed; NULL when it gets no smaller, or there is no memory. */
static char *pack(const struct tavi__http_coding *k, struct tavi_slice body, size_t *ret_len) {
  if (body.len <= TAVI__ENCODE_ROOM_MIN) return NULL;

  size_t room = body.len - 1, len = 0;
  bool has_more = true;
  char *out = malloc(room);
  struct tavi__encoder *e = out == NULL ? NULL : tavi__encoder_new(k->coding, k->level, body.len);
  while (e != NULL && has_more && room - len >= TAVI__ENCODE_ROOM_MIN) {
    int64_t n = tavi__encoder_put(e, &body, TAVI__ENCODE_END, out + len, room - len, &has_more);
    if (n < 0) break;
    len += (size_t) n;
  }
  tavi__encoder_free(e);
  *ret_len = len;
  if (!has_more) return out;
  free(out);
  return NULL;
}

/* ==== answers ==== */

/* With the headers that compression adds, and compressed when that is possible. */
static int begin_edited(struct tavi_conn *c, int status, const struct tavi_http_header *headers, size_t count,
                        uint64_t length, bool is_stream, const char *body) {
  struct tavi__http_coding *k = &tavi__http_of(c)->more->coding;
  bool is_coded = k->coding != TAVI_CODING_IDENTITY;
  bool has_body = status != 304; /* which says what the whole answer would say, but of the body itself */
  char *packed = NULL;
  size_t packed_len = 0;
  if (is_coded && has_body && is_stream) {
    is_coded = start_encoder(c, k);
  } else if (is_coded && has_body) {
    packed = pack(k, (struct tavi_slice){body, (size_t) length}, &packed_len);
    is_coded = packed != NULL;
  }

  int err;
  const char *coding = is_coded && has_body ? tavi__http_coding_name(k->coding) : "";
  struct tavi_http_header *edited = edit(headers, count, coding, is_coded, &count);
  if (edited == NULL) { /* not compressed either: nobody could read it */
    tavi__http_drop_encoder(c);
    err = tavi__http_begin_as_is(c, status, headers, count, length, body);
  } else if (packed == NULL) {
    err = tavi__http_begin_as_is(c, status, edited, count, length, body);
  } else {
    err = tavi__http_begin_as_is(c, status, edited, count, packed_len, packed);
  }
  free(edited);
  free(packed);
  return err;
}

int tavi__http_begin_coded(struct tavi_conn *c, int status, const struct tavi_http_header *headers, size_t count,
                           uint64_t length, bool is_stream, const char *body) {
  struct tavi__http *h = tavi__http_of(c);
  bool is_small = !is_stream && (body == NULL || length < h->more->coding.bytes_min);
  h->more->coding.is_asked = false;
  int err = is_small && status != 304
                ? tavi__http_begin_as_is(c, status, headers, count, length, body)
                : begin_edited(c, status, headers, count, length, is_stream, body);
  if (h->answer == TAVI__ANSWER_NONE) { /* refused: another may come */
    tavi__http_drop_encoder(c);
    h->more->coding.is_asked = true;
  }
  return err;
}

/* ==== asking for it ==== */

void tavi_http_compress_opts_init(struct tavi_http_compress_opts *opts) {
  *opts = (struct tavi_http_compress_opts){.codings = tavi__codecs(), .level = 4, .bytes_min = 512};
}

int tavi_http_compress(struct tavi_conn *c, const struct tavi_http_msg *msg,
                       const struct tavi_http_compress_opts *opts) {
  struct tavi__http *h = tavi__http_of(c);
  struct tavi_http_compress_opts defaults;
  tavi_http_compress_opts_init(&defaults);
  if (opts == NULL) opts = &defaults;
  if (opts->level < 1 || opts->level > 9) return TAVI_E_ARG;
  if (!tavi_http_is_waiting(c)) return TAVI_E_STATE;

  struct tavi__http_more *more = tavi__http_more(h);
  if (more == NULL) return TAVI_E_NOMEM;
  struct tavi__accept accept = tavi__http_accept_encoding(msg);
  unsigned coding = tavi__http_accept_choose(&accept, opts->codings & tavi__codecs());
  more->coding = (struct tavi__http_coding){
      .is_asked = true, .coding = (uint8_t) coding, .level = (uint8_t) opts->level, .bytes_min = opts->bytes_min};
  h->is_plain = false; /* so that the answer takes the other way */
  return (int) coding;
}
