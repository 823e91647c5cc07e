/* SPDX-License-Identifier: MIT
 *
 * A small frame for unit tests: one program per test_<module>.c, which includes this header once.
 *
 *     TEST(ws_frame__control_longer_than_125__is_rejected) {
 *       CHECK_INT(read_it(), TAVI_E_PROTOCOL);
 *     }
 *
 * Tests register themselves before main() and run in the order of the file. A failed check prints its place and the
 * test goes on: the next checks often tell why. Arguments are substrings; only tests whose name holds one of them run.
 * The last line is "N passed, N failed"; the exit status is 1 when a test failed or none was chosen.
 *
 * Tests that walk through tables say where they are with test_note(); the note is printed with a failure. After many
 * failures in one test the rest is counted and not printed. */
#ifndef TAVI_TESTS_UNIT_TEST_H
#define TAVI_TESTS_UNIT_TEST_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { TEST_FAILURES_SHOWN_MAX = 20 }; /* per test */

struct test_case {
  const char *name;
  void (*run)(void);
  struct test_case *next;
};

static struct test_case *test_first;
static struct test_case **test_end = &test_first;
static unsigned test_failures; /* of the running test */
static char test_noted[256];

__attribute__((unused)) static void test_register(struct test_case *test) {
  *test_end = test;
  test_end = &test->next;
}

#define TEST(test_name)                                                                \
  static void test_name(void);                                                         \
  __attribute__((constructor)) static void test_name##__register(void) {               \
    static struct test_case test = {.name = #test_name, .run = test_name, .next = NULL}; \
    test_register(&test);                                                              \
  }                                                                                    \
  static void test_name(void)

/* Say which case of a table is being checked; stays until the next note or the end of the test. */
__attribute__((unused, format(printf, 1, 2))) static void test_note(const char *format, ...) {
  va_list args;
  va_start(args, format);
  vsnprintf(test_noted, sizeof test_noted, format, args);
  va_end(args);
}

/* Print bytes in quotes, on one line whatever they are. */
__attribute__((unused)) static void test_print(const char *bytes, size_t len) {
  putchar('"');
  for (size_t i = 0; i < len; i++) {
    const unsigned char c = (unsigned char)bytes[i];
    if (c == '\r') printf("\\r");
    else if (c == '\n') printf("\\n");
    else if (c < ' ' || c >= 0x7f) printf("\\x%02x", c);
    else putchar(c);
  }
  putchar('"');
}

/* Count a failure; false when there were too many in this test to print one more. */
__attribute__((unused)) static bool test_fail_at(const char *file, int line) {
  if (++test_failures > TEST_FAILURES_SHOWN_MAX) return false;
  printf("%s:%d: ", file, line);
  return true;
}

__attribute__((unused)) static bool test_fail_end(void) {
  if (test_noted[0] != '\0') {
    printf(", at ");
    test_print(test_noted, strlen(test_noted));
  }
  printf("\n");
  return false;
}

__attribute__((unused)) static bool test_check(const char *file, int line, const char *text, bool held) {
  if (held) return true;
  if (!test_fail_at(file, line)) return false;
  printf("not true: %s", text);
  return test_fail_end();
}

__attribute__((unused)) static bool test_check_int(const char *file, int line, const char *text, long long got,
                                                   long long wanted) {
  if (got == wanted) return true;
  if (!test_fail_at(file, line)) return false;
  printf("%s is %lld, wanted %lld", text, got, wanted);
  return test_fail_end();
}

__attribute__((unused)) static bool test_check_bytes(const char *file, int line, const char *text, const char *got,
                                                     size_t got_len, const char *wanted, size_t wanted_len) {
  if (got_len == wanted_len && (got_len == 0 || memcmp(got, wanted, got_len) == 0)) return true;
  if (!test_fail_at(file, line)) return false;
  printf("%s is ", text);
  test_print(got, got_len);
  printf(", wanted ");
  test_print(wanted, wanted_len);
  return test_fail_end();
}

/* Each check is also an expression: true when it held, for `if (!CHECK(p != NULL)) return;`. */
#define CHECK(condition) test_check(__FILE__, __LINE__, #condition, (condition))
#define CHECK_INT(got, wanted) \
  test_check_int(__FILE__, __LINE__, #got, (long long)(got), (long long)(wanted))
/* A struct tavi_slice (or anything with ptr and len) against a string literal or other NUL-ended text. */
#define CHECK_STR(got, wanted) \
  test_check_bytes(__FILE__, __LINE__, #got, (got).ptr, (got).len, wanted, strlen(wanted))
#define CHECK_BYTES(got, got_len, wanted, wanted_len) \
  test_check_bytes(__FILE__, __LINE__, #got, got, got_len, wanted, wanted_len)

static bool test_is_chosen(const char *name, int argc, char **argv) {
  for (int i = 1; i < argc; i++) {
    if (strstr(name, argv[i]) != NULL) return true;
  }
  return argc < 2;
}

int main(int argc, char **argv) {
  unsigned passed = 0;
  unsigned failed = 0;
  setvbuf(stdout, NULL, _IOLBF, 0); /* so that a crash does not swallow what was found */
  for (const struct test_case *test = test_first; test != NULL; test = test->next) {
    if (!test_is_chosen(test->name, argc, argv)) continue;
    test_failures = 0;
    test_noted[0] = '\0';
    test->run();
    if (test_failures == 0) {
      passed++;
      continue;
    }
    failed++;
    printf("FAILED %s (%u checks)\n", test->name, test_failures);
  }
  printf("%u passed, %u failed\n", passed, failed);
  return failed > 0 || passed == 0;
}

#endif
