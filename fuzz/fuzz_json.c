/* SPDX-License-Identifier: MIT
 *
 * JSON: the first line of the input is a path, the rest is the text. A value that was found lies within the text and is a
 * value by itself; what is quoted comes back; replies to any frame are JSON. */
#include "tavi/json.h"

#include <math.h>

#include "base/limits.h"
#include "fuzz.h"
#include "tavi/jsonrpc.h"
#include "wire/json.h"

static void check_number(struct tavi_slice value) {
  char digits[64];
  double number;
  int64_t whole;
  const int err = tavi_json_get_num(value, "$", &number);
  FUZZ_CHECK(err == ((*value.ptr == '-' || (*value.ptr >= '0' && *value.ptr <= '9')) ? 0 : TAVI_E_NOT_FOUND));
  if (err < 0) return;
  FUZZ_CHECK(!isnan(number));
  const int64_t len = tavi_json_get_digits(value, "$", digits, sizeof digits);
  FUZZ_CHECK(len == TAVI_E_LIMIT || (len > 0 && len <= (int64_t)sizeof digits));
  if (tavi_json_get_int(value, "$", &whole) < 0) return;
  const double apart = number - (double)whole, most = (number < 0 ? -number : number) * 1e-15 + 1;
  FUZZ_CHECK(len > 0 && apart <= most && apart >= -most);
  char again[64];
  FUZZ_CHECK(snprintf(again, sizeof again, "%lld", (long long)whole) == len && memcmp(again, digits, (size_t)len) == 0);
}

static void check_string(struct tavi_slice value) {
  char *text = fuzz_copy(value.ptr, value.len), *json = calloc(6 * value.len + 2, 1), *back = calloc(value.len + 1, 3);
  if (json == NULL || back == NULL) abort();
  const int64_t len = tavi_json_get_str((struct tavi_slice){text, value.len}, "$", text, value.len);
  FUZZ_CHECK(len == TAVI_E_NOT_FOUND ? *value.ptr != '"' : len >= 0 && (size_t)len + 2 <= value.len);
  if (len >= 0) {
    const int64_t quoted = tavi_json_quote((struct tavi_slice){text, (size_t)len}, json, 6 * value.len + 2);
    FUZZ_CHECK(quoted >= len + 2 && tavi__json_check((struct tavi_slice){json, (size_t)quoted}) == 0);
    const int64_t again = tavi_json_get_str((struct tavi_slice){json, (size_t)quoted}, "$", back, 3 * value.len + 3);
    FUZZ_CHECK(again >= len && (again > len || memcmp(back, text, (size_t)len) == 0)); /* longer: U+FFFD for no UTF-8 */
  }
  free(text), free(json), free(back);
}

static void answer(struct tavi_jsonrpc_call *call, void *user) {
  (void)user;
  tavi_jsonrpc_ok(call, call->frame.params.len > 0 ? call->frame.params : (struct tavi_slice){"0", 1});
}

static void check_rpc(struct tavi_slice text) {
  static const struct tavi_jsonrpc_method methods[] = {{"a*", answer, NULL}, {"", answer, NULL}};
  const size_t cap = 64 + 8 * text.len;
  char *out = calloc(cap, 1);
  if (out == NULL) abort();
  const int64_t len = tavi_jsonrpc_process(methods, 2, text, out, cap);
  FUZZ_CHECK(len >= 0 && (size_t)len <= cap);
  const int err = tavi__json_check((struct tavi_slice){out, (size_t)len});
  FUZZ_CHECK(len == 0 || err == 0 || err == TAVI_E_LIMIT); /* one level more than the frame */
  free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size > 8192) return 0;
  char *input = fuzz_copy(data, size), *line = memchr(input, '\n', size);
  const size_t path_len = line == NULL ? 0 : (size_t)(line - input), skip = line == NULL ? 0 : path_len + 1;
  char *path = calloc(path_len + 1, 1), *text = fuzz_copy(input + skip, size - skip);
  if (path == NULL) abort();
  memcpy(path, input, path_len);

  const struct tavi_slice json = {text, size - skip};
  struct tavi_slice value, again;
  const int err = tavi_json_get(json, line == NULL ? "$" : path, &value);
  FUZZ_CHECK(err == 0 || err == TAVI_E_NOT_FOUND || err == TAVI_E_PROTOCOL || err == TAVI_E_ARG || err == TAVI_E_LIMIT);
  if (err == 0) {
    FUZZ_CHECK(value.len > 0 && value.ptr >= text && value.ptr + value.len <= text + json.len);
    FUZZ_CHECK(tavi_json_get(value, "$", &again) == 0 && again.ptr == value.ptr && again.len == value.len);
    FUZZ_CHECK(tavi__json_check(value) == 0);
    check_number(value);
    check_string(value);
  }
  check_rpc(json);
  free(input), free(path), free(text);
  return 0;
}
