/* SPDX-License-Identifier: MIT
 *
 * The decoders against what our encoders and zlib have made: whole and in pieces, with any room for the output; members
 * and frames one behind the other; what is cut off, damaged, or followed by something else; bombs; the n-th allocation
 * failing. */
#include "codec/codec.h"

#include <zlib.h>

#include "failmalloc.h"
#include "test.h"
#include "unit/random.h"

enum { TEXT_BYTES = 100 * 1024, BOMB_BYTES = 8 << 20 };

static const unsigned codings[] = {TAVI_CODING_GZIP, TAVI__CODING_DEFLATE, TAVI_CODING_BROTLI, TAVI_CODING_ZSTD};

enum { CODINGS = 4 };

static char text[TEXT_BYTES];

static void fill(void) {
  random_seed(7);
  for (size_t i = 0; i < sizeof(text); i++) text[i] = (char) ('a' + random_below(1 + random_below(26)));
}

struct bytes {
  char *ptr;
  size_t len;
};

static char *room_behind(struct bytes *b, size_t len) {
  char *bigger = __real_realloc(b->ptr, b->len + len);
  if (bigger == NULL) abort();
  b->ptr = bigger;
  return b->ptr + b->len;
}

/* window as for deflateInit2(). */
static struct bytes deflated(const char *from, size_t len, int window) {
  struct bytes b = {NULL, 0};
  z_stream z = {0};
  if (deflateInit2(&z, 6, Z_DEFLATED, window, 8, Z_DEFAULT_STRATEGY) != Z_OK) abort();
  size_t cap = deflateBound(&z, len);
  z.next_in = (Bytef *) (uintptr_t) from;
  z.avail_in = (unsigned) len;
  z.next_out = (Bytef *) room_behind(&b, cap);
  z.avail_out = (unsigned) cap;
  if (deflate(&z, Z_FINISH) != Z_STREAM_END) abort();
  b.len = z.total_out;
  deflateEnd(&z);
  return b;
}

static struct bytes encoded(unsigned coding, const char *from, size_t len) {
  if (coding == TAVI__CODING_DEFLATE) return deflated(from, len, 15);
  struct bytes b = {NULL, 0};
  struct tavi__encoder *e = tavi__encoder_new(coding, 4, 0);
  struct tavi_slice in = {from, len};
  bool has_more = true;
  while (has_more) {
    int64_t n = tavi__encoder_put(e, &in, TAVI__ENCODE_END, room_behind(&b, 4096), 4096, &has_more);
    if (n < 0) abort();
    b.len += (size_t) n;
  }
  tavi__encoder_free(e);
  return b;
}

/* Decode `piece` bytes at a time into rooms of `cap`. Returns 0 or the error; *ret_total: of the output. */
static int decode(unsigned coding, const char *from, size_t len, size_t piece, size_t cap, bool is_text, size_t *ret_total) {
  static char out[1 << 16];
  struct tavi__decoder *d = tavi__decoder_new(coding);
  size_t total = 0;
  int err = d == NULL ? TAVI_E_NOMEM : 0;
  for (size_t at = 0; at < len && err == 0;) {
    size_t n = len - at < piece ? len - at : piece;
    struct tavi_slice in = {from + at, n};
    bool has_more = true;
    for (unsigned idle = 0; has_more && err == 0;) {
      int64_t got = tavi__decoder_put(d, &in, out, cap, &has_more);
      if (got < 0) {
        err = (int) got;
        break;
      }
      idle = got == 0 ? idle + 1 : 0;
      if (!CHECK(idle < 100) || !CHECK(got <= (int64_t) cap)) abort();
      if (is_text) CHECK(total + (size_t) got <= TEXT_BYTES && memcmp(out, text + total, (size_t) got) == 0);
      total += (size_t) got;
    }
    if (err == 0) CHECK_INT(in.len, 0);
    at += n;
  }
  if (err == 0 && !tavi__decoder_is_done(d)) err = TAVI_E_RESET; /* cut off; no decoder returns this one */
  tavi__decoder_free(d);
  *ret_total = total;
  return err;
}

TEST(decode__any_pieces__any_room) {
  static const size_t pieces[] = {1, 2, 3, 100, 4096, 1 << 20}, caps[] = {1, 7, 1000, 1 << 16};
  fill();
  for (int c = 0; c < CODINGS; c++) {
    struct bytes b = encoded(codings[c], text, TEXT_BYTES);
    for (int p = 0; p < 6; p++) {
      for (int o = 0; o < 4; o++) {
        size_t total = 0;
        test_note("coding %u, pieces of %zu, room for %zu", codings[c], pieces[p], caps[o]);
        CHECK_INT(decode(codings[c], b.ptr, b.len, pieces[p], caps[o], true, &total), 0);
        CHECK_INT(total, TEXT_BYTES);
      }
    }
    free(b.ptr);
  }
}

TEST(decode__deflate_without_its_wrapper) {
  fill();
  struct bytes b = deflated(text, TEXT_BYTES, -15);
  for (size_t piece = 1; piece < 4; piece++) {
    size_t total = 0;
    CHECK_INT(decode(TAVI__CODING_DEFLATE, b.ptr, b.len, piece, 1000, true, &total), 0);
    CHECK_INT(total, TEXT_BYTES);
  }
  free(b.ptr);
}

TEST(decode__cut_off_anywhere__is_not_done) {
  fill();
  for (int c = 0; c < CODINGS; c++) {
    struct bytes b = encoded(codings[c], text, 300);
    for (size_t len = 1; len < b.len; len++) {
      size_t total;
      test_note("coding %u, %zu bytes", codings[c], len);
      CHECK_INT(decode(codings[c], b.ptr, len, 17, 50, true, &total), TAVI_E_RESET);
    }
    size_t total;
    CHECK_INT(decode(codings[c], NULL, 0, 17, 50, true, &total), 0); /* no body at all */
    free(b.ptr);
  }
}

TEST(decode__something_behind_the_end) {
  fill();
  for (int c = 0; c < CODINGS; c++) {
    struct bytes b = encoded(codings[c], text, 300);
    memcpy(room_behind(&b, 5), "junk!", 5);
    for (size_t piece = 1; piece < 3; piece++) {
      size_t total;
      test_note("coding %u", codings[c]);
      CHECK_INT(decode(codings[c], b.ptr, b.len + 5, piece, 50, true, &total), TAVI_E_PROTOCOL);
    }
    free(b.ptr);
  }
}

TEST(decode__members_and_frames) {
  static const unsigned joined[] = {TAVI_CODING_GZIP, TAVI_CODING_ZSTD};
  fill();
  for (int c = 0; c < 2; c++) {
    struct bytes a = encoded(joined[c], text, 200), b = encoded(joined[c], text + 200, 300);
    memcpy(room_behind(&a, b.len), b.ptr, b.len);
    for (size_t piece = 1; piece < 2000; piece *= 7) {
      size_t total = 0;
      CHECK_INT(decode(joined[c], a.ptr, a.len + b.len, piece, 64, true, &total), 0);
      CHECK_INT(total, 500);
    }
    free(a.ptr);
    free(b.ptr);
  }
}

TEST(decode__damaged__never_more_than_an_error) {
  fill();
  for (int c = 0; c < CODINGS; c++) {
    struct bytes b = encoded(codings[c], text, 2000);
    unsigned bad = 0;
    for (int i = 0; i < 2000; i++) {
      size_t at = random_below(b.len), total;
      char was = b.ptr[at];
      b.ptr[at] = (char) random_below(256);
      bad += decode(codings[c], b.ptr, b.len, 100, 4096, false, &total) != 0;
      b.ptr[at] = was;
    }
    CHECK(bad > 100);
    free(b.ptr);
  }
}

/* However much comes out in all, the caller gets it a room at a time. */
TEST(decode__bomb) {
  char *zeros = calloc(1, BOMB_BYTES);
  for (int c = 0; c < CODINGS; c++) {
    struct bytes b = encoded(codings[c], zeros, BOMB_BYTES);
    size_t total = 0;
    CHECK(b.len < BOMB_BYTES / 200);
    CHECK_INT(decode(codings[c], b.ptr, b.len, 1 << 20, 1000, false, &total), 0);
    CHECK_INT(total, BOMB_BYTES);
    free(b.ptr);
  }
  free(zeros);
}

static struct tavi_slice name(const char *s) { return (struct tavi_slice){s, strlen(s)}; }

TEST(coding_of__names) {
  CHECK_INT(tavi__coding_of(name("gzip")), TAVI_CODING_GZIP);
  CHECK_INT(tavi__coding_of(name("X-GZip")), TAVI_CODING_GZIP);
  CHECK_INT(tavi__coding_of(name("deflate")), TAVI__CODING_DEFLATE);
  CHECK_INT(tavi__coding_of(name("identity")), TAVI_CODING_IDENTITY);
  CHECK_INT(tavi__coding_of(name("br")), tavi__codecs() & TAVI_CODING_BROTLI ? TAVI_CODING_BROTLI : -1);
  CHECK_INT(tavi__coding_of(name("compress")), -1);
  CHECK_INT(tavi__coding_of(name("")), -1);
  CHECK_INT(tavi__coding_of(name("gzi")), -1);
}

TEST(decode__nth_allocation_fails) {
  fill();
  for (int c = 0; c < CODINGS; c++) {
    struct bytes b = encoded(codings[c], text, TEXT_BYTES);
    for (unsigned n = 1; fail_begin(n); n++) {
      size_t total;
      int err = decode(codings[c], b.ptr, b.len, 1 << 20, 1 << 16, true, &total);
      if (!fail_end()) {
        CHECK_INT(err, 0);
        break;
      }
      if (err != 0) CHECK_INT(err, TAVI_E_NOMEM);
    }
    free(b.ptr);
  }
}
