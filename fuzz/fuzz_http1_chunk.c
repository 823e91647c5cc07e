/* SPDX-License-Identifier: MIT
 *
 * Chunked bodies: in one piece, byte by byte, and in pieces of sizes taken from the input, the result is the same:
 * data, trailers, end or error, and where the message ended. */
#include "fuzz.h"
#include "wire/http1.h"

enum { TRAILER_BYTES_MAX = 96, INPUT_MAX = 4096 };

struct result {
  int status; /* 0 unfinished, 1 complete, negative error */
  size_t consumed;
  size_t data_len;
  char data[INPUT_MAX];
  struct tavi_slice trailers; /* in the input */
};

/* Decode with `step` more bytes at a time (0: all at once). */
static void decode(const char *input, size_t size, size_t step, struct result *r) {
  struct tavi__http1_chunks chunks = {0};
  size_t have = step == 0 ? size : 0;
  r->status = 0;
  r->consumed = r->data_len = 0;
  r->trailers = (struct tavi_slice){NULL, 0};
  for (;;) {
    const size_t len = have - r->consumed;
    char *p = fuzz_copy(input + r->consumed, len);
    size_t consumed = 0;
    enum tavi__http1_chunk_event event = TAVI__HTTP1_DATA;
    struct tavi_slice data = {NULL, 0};
    const int got = tavi__http1_chunk(&chunks, p, len, TRAILER_BYTES_MAX, &consumed, &event, &data);
    FUZZ_CHECK(got >= 0 || got == -400 || got == -431);
    FUZZ_CHECK(consumed <= len);
    if (got == TAVI_WIRE_EVENT) {
      FUZZ_CHECK(data.len > 0 && data.ptr >= p && data.ptr + data.len == p + consumed);
      if (event == TAVI__HTTP1_DATA) {
        memcpy(r->data + r->data_len, data.ptr, data.len);
        r->data_len += data.len;
      } else {
        FUZZ_CHECK(data.len <= TRAILER_BYTES_MAX);
        r->trailers = (struct tavi_slice){input + r->consumed + consumed - data.len, data.len};
        r->status = 1;
      }
    }
    free(p);
    r->consumed += consumed;
    if (got < 0) {
      r->status = got;
      FUZZ_CHECK(tavi__http1_chunk(&chunks, "0\r\n\r\n", 5, TRAILER_BYTES_MAX, &consumed, &event, &data) == got);
    }
    if (r->status != 0) return;
    if (got == TAVI_WIRE_EVENT) continue;
    FUZZ_CHECK(have - r->consumed < TRAILER_BYTES_MAX); /* only trailers are held back */
    if (have == size) return;
    have += step < size - have ? step : size - have;
  }
}

static void check_trailers(struct tavi_slice raw) {
  struct tavi_http_header fields[8];
  const int count = tavi__http1_trailers(raw, fields, 8);
  FUZZ_CHECK((count >= 0 && count <= 8) || count == -400 || count == -431);
  for (int i = 0; i < count; i++) {
    FUZZ_CHECK(fuzz_padded(tavi__http1_is_token, fields[i].name) && fuzz_padded(tavi__http1_is_value, fields[i].value));
    FUZZ_CHECK(fields[i].name.ptr >= raw.ptr && fields[i].value.ptr + fields[i].value.len <= raw.ptr + raw.len);
    FUZZ_CHECK(!tavi__slice_is(fields[i].name, "content-length", 14));
    FUZZ_CHECK(!tavi__slice_is(fields[i].name, "transfer-encoding", 17));
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static struct result whole;
  static struct result pieces;
  if (size > INPUT_MAX) return 0;

  const char *input = (const char *)data;
  decode(input, size, 0, &whole);
  const size_t steps[] = {1, 2, 3, size > 0 ? data[size / 2] % 17u + 1 : 1};
  for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
    decode(input, size, steps[i], &pieces);
    FUZZ_CHECK(pieces.status == whole.status);
    FUZZ_CHECK(pieces.data_len == whole.data_len && memcmp(pieces.data, whole.data, whole.data_len) == 0);
    FUZZ_CHECK(pieces.trailers.ptr == whole.trailers.ptr && pieces.trailers.len == whole.trailers.len);
    if (whole.status >= 0) FUZZ_CHECK(pieces.consumed == whole.consumed);
  }
  if (whole.status == 1) check_trailers(whole.trailers);

  char *raw = fuzz_copy(input, size); /* any bytes as a trailer section, too */
  check_trailers((struct tavi_slice){raw, size});
  free(raw);
  return 0;
}
