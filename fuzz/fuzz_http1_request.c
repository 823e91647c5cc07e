/* SPDX-License-Identifier: MIT
 *
 * Request heads: the invariants of fuzz_http1_head.h, and what only a request promises. */
#include "wire/http1.h"

#define PARSE tavi__http1_request
#include "fuzz_http1_head.h"

/* What a server builds on: a good request is framed in one way, and names one host. */
static void check_request(const struct tavi_http_msg *m) {
  size_t hosts = 0;
  size_t lengths = 0;
  size_t codings = 0;
  for (size_t i = 0; i < m->header_count; i++) {
    hosts += tavi__slice_is(m->headers[i].name, "host", 4);
    lengths += tavi__slice_is(m->headers[i].name, "content-length", 14);
    codings += tavi__slice_is(m->headers[i].name, "transfer-encoding", 17);
  }
  FUZZ_CHECK(hosts == 1 || (hosts == 0 && m->minor == 0));
  FUZZ_CHECK(lengths + codings <= 1);
  FUZZ_CHECK((m->framing == TAVI_HTTP_LENGTH) == (lengths == 1));
  FUZZ_CHECK((m->framing == TAVI_HTTP_CHUNKED) == (codings == 1));
  FUZZ_CHECK(m->framing != TAVI_HTTP_UNTIL_CLOSE);
  FUZZ_CHECK(codings == 0 || m->minor == 1);
  FUZZ_CHECK(fuzz_padded(tavi__http1_is_token, m->method) && m->method.len <= 64);
  FUZZ_CHECK(m->target.len > 0 && m->path.len > 0 && m->status == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static struct tavi_http_header headers[FUZZ_HEADERS_MAX];
  struct tavi_http_msg m;
  size_t consumed;
  fuzz_head(data, size);
  if (tavi__http1_request((const char *)data, size, &fuzz_wide, headers, &consumed, &m) == TAVI_WIRE_EVENT) {
    check_request(&m);
  }
  return 0;
}
