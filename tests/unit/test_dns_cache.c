/* SPDX-License-Identifier: MIT
 *
 * The cache of names: who is found, what is dropped and when. Time is an argument. */
#include "failmalloc.h"

#include "base/limits.h"
#include "dns/cache.h"
#include "test.h"

static struct tavi__dns_question *const question = (struct tavi__dns_question *) &test_failures; /* any address */

static struct tavi__dns_name *put(struct tavi__dns_cache *c, const char *host, uint64_t until_ms) {
  struct tavi__dns_name *name = tavi__dns_cache_add(c, host, question);
  if (!CHECK(name != NULL)) return NULL;
  name->answer.count = 1;
  tavi__dns_cache_answered(c, name, until_ms);
  return name;
}

TEST(cache__names_are_found_without_case_and_until_their_time) {
  struct tavi__dns_cache c;
  CHECK_INT(tavi__dns_cache_init(&c, 1), 0);
  CHECK(tavi__dns_cache_find(&c, "a.test", 0) == NULL);
  struct tavi__dns_name *name = put(&c, "A.test", 100);
  CHECK(tavi__dns_cache_find(&c, "a.TEST", 99) == name);
  CHECK(tavi__dns_cache_find(&c, "a.tes", 99) == NULL);
  CHECK(tavi__dns_cache_find(&c, "a.test.", 99) == NULL); /* another question: no search list */
  CHECK(tavi__dns_cache_find(&c, "a.test", 100) == NULL);
  CHECK_INT(c.count, 0); /* dropped when it was asked for */
  CHECK_INT(c.known_count, 0);
  tavi__dns_cache_free(&c);
}

TEST(cache__what_is_asked_for_stays_and_may_end_in_nothing) {
  struct tavi__dns_cache c;
  CHECK_INT(tavi__dns_cache_init(&c, 2), 0);
  struct tavi__dns_name *name = tavi__dns_cache_add(&c, "a.test", question);
  for (unsigned i = 0; i < 2 * TAVI__DNS_NAMES_KEPT; i++) {
    char host[32];
    snprintf(host, sizeof host, "n%u.test", i);
    put(&c, host, 100);
  }
  CHECK(tavi__dns_cache_find(&c, "a.test", UINT64_MAX) == name);
  tavi__dns_cache_answered(&c, name, 0);
  CHECK(tavi__dns_cache_find(&c, "a.test", 0) == NULL);
  CHECK_INT(c.count, TAVI__DNS_NAMES_KEPT);
  tavi__dns_cache_free(&c);
}

TEST(cache__is_bounded_and_drops_what_was_not_used_for_longest) {
  struct tavi__dns_cache c;
  char host[32];
  CHECK_INT(tavi__dns_cache_init(&c, 3), 0);
  for (unsigned i = 0; i < TAVI__DNS_NAMES_KEPT; i++) {
    snprintf(host, sizeof host, "n%u.test", i);
    put(&c, host, 100);
  }
  CHECK(tavi__dns_cache_find(&c, "n0.test", 1) != NULL); /* used */
  put(&c, "one-more.test", 100);
  CHECK(tavi__dns_cache_find(&c, "n0.test", 1) != NULL);
  CHECK(tavi__dns_cache_find(&c, "n1.test", 1) == NULL);
  CHECK(tavi__dns_cache_find(&c, "n2.test", 1) != NULL);
  CHECK(tavi__dns_cache_find(&c, "one-more.test", 1) != NULL);
  for (unsigned i = 0; i < 100000; i++) {
    snprintf(host, sizeof host, "m%u.test", i);
    put(&c, host, 100);
    CHECK(c.count <= TAVI__DNS_NAMES_KEPT);
  }
  tavi__dns_cache_free(&c);
}

TEST(cache__all_of_many_are_found) {
  enum { MANY = 20000 };
  struct tavi__dns_cache c;
  static struct tavi__dns_name *names[MANY];
  char host[32];
  CHECK_INT(tavi__dns_cache_init(&c, 4), 0);
  for (unsigned i = 0; i < MANY; i++) {
    snprintf(host, sizeof host, "n%u.test", i);
    names[i] = tavi__dns_cache_add(&c, host, question);
  }
  size_t longest = 0;
  for (size_t i = 0; i < (size_t) 1 << c.bits; i++) {
    size_t n = 0;
    for (const struct tavi__dns_name *name = c.buckets[i]; name != NULL; name = name->next) n++;
    if (n > longest) longest = n;
  }
  CHECK(longest < 12);
  for (unsigned i = 0; i < MANY; i++) {
    snprintf(host, sizeof host, "N%u.test", i);
    CHECK(tavi__dns_cache_find(&c, host, 0) == names[i]);
    if (i % 2) tavi__dns_cache_answered(&c, names[i], 0);
  }
  CHECK_INT(c.count, MANY / 2);
  tavi__dns_cache_free(&c);
}

TEST(cache__without_memory) {
  struct tavi__dns_cache c;
  fail_begin(1);
  CHECK_INT(tavi__dns_cache_init(&c, 5), TAVI_E_NOMEM);
  fail_end();
  CHECK_INT(tavi__dns_cache_init(&c, 5), 0);
  for (unsigned i = 0; i < 1000; i++) { /* the table cannot grow: it works on */
    char host[32];
    snprintf(host, sizeof host, "n%u.test", i);
    fail_begin(2);
    CHECK(tavi__dns_cache_add(&c, host, question) != NULL);
    fail_end();
    fail_begin(1);
    CHECK(tavi__dns_cache_add(&c, "x.test", question) == NULL);
    fail_end();
  }
  CHECK_INT(c.count, 1000);
  CHECK(tavi__dns_cache_find(&c, "n7.test", 0) != NULL);
  tavi__dns_cache_free(&c);
}
