/* SPDX-License-Identifier: MIT
 *
 * Response heads: the invariants of fuzz_http1_head.h for each question that may have been asked, and what only a
 * response promises. */
#include "wire/http1.h"

static enum tavi__http1_question question;

#define PARSE(p, len, limits, headers, consumed, msg) \
  tavi__http1_response(p, len, question, limits, headers, consumed, msg)
#include "fuzz_http1_head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static struct tavi_http_header headers[FUZZ_HEADERS_MAX];
  int first = 0;
  for (int asked = TAVI__HTTP1_OTHER; asked <= TAVI__HTTP1_CONNECT; asked++) {
    question = (enum tavi__http1_question)asked;
    fuzz_head(data, size);
    struct tavi_http_msg m;
    size_t consumed;
    const int got = tavi__http1_response((const char *)data, size, question, &fuzz_wide, headers, &consumed, &m);
    if (asked == TAVI__HTTP1_OTHER) first = got;
    FUZZ_CHECK(got == first && (got >= 0 || got == -431 || got == -502)); /* the question decides about the body alone */
    if (got != TAVI_WIRE_EVENT) continue;
    FUZZ_CHECK(m.status >= 100 && m.status <= 999);
    if (question == TAVI__HTTP1_HEAD || m.status < 200 || m.status == 204 || m.status == 304) {
      FUZZ_CHECK(m.framing == TAVI_HTTP_NO_BODY);
    }
  }
  return 0;
}
