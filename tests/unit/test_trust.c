/* SPDX-License-Identifier: MIT
 *
 * Lists of addresses and networks: who is in them, and which lists are mistakes. */
#include "net/trust.h"

#include "failmalloc.h"
#include "test.h"

#define COUNT(cases) (sizeof(cases) / sizeof(cases)[0])

static struct tavi__peer peer(const char *text) {
  struct tavi__sockaddr a;
  struct tavi__peer p = {.family = 1};
  if (strcmp(text, "unix") == 0) return p;
  CHECK(tavi__sockaddr_ip(text, 1234, &a)); /* the system's own reading of it */
  tavi__sockaddr_to_peer(&a, &p);
  return p;
}

/* in, out: peers separated by spaces. */
static void check_list(const char *list, const char *in, const char *out) {
  struct tavi__trust *t = NULL;
  test_note("%s", list);
  if (!CHECK_INT(tavi__trust_new(list, &t), 0)) return;
  for (int is_in = 0; is_in < 2; is_in++) {
    char words[300];
    snprintf(words, sizeof words, "%s", is_in ? in : out);
    for (char *save, *word = strtok_r(words, " ", &save); word != NULL; word = strtok_r(NULL, " ", &save)) {
      test_note("%s in %s", word, list);
      const struct tavi__peer p = peer(word);
      CHECK_INT(tavi__trust_has(t, &p), is_in);
    }
  }
  const struct tavi__peer unknown = {.family = 0};
  CHECK(!tavi__trust_has(t, &unknown));
  tavi__trust_free(t);
}

TEST(trust__who_is_in_a_list) {
  check_list("127.0.0.1", "127.0.0.1 ::ffff:127.0.0.1", "127.0.0.2 126.0.0.1 ::1 unix ::7f00:1");
  check_list("10.0.0.0/8", "10.0.0.0 10.255.255.255 ::ffff:10.1.2.3", "11.0.0.0 9.255.255.255 ::a00:0 unix");
  check_list("10.128.0.0/9", "10.128.0.1 10.255.0.0", "10.127.255.255 138.128.0.0");
  check_list("192.168.1.8/31", "192.168.1.8 192.168.1.9", "192.168.1.10 192.168.1.7");
  check_list("1.2.3.4/32", "1.2.3.4", "1.2.3.5");
  check_list("0.0.0.0/0", "0.0.0.0 255.255.255.255", "::1 :: unix");
  check_list("::/0", ":: ::1 ffff::", "1.2.3.4 unix"); /* IPv4 has its own */
  check_list("2001:db8::/33", "2001:db8::1 2001:db8:7fff::", "2001:db8:8000:: 2001:db9::");
  check_list("fe80::/10", "fe80::1 febf::1", "fec0::1 fe40::1");
  check_list("::1/128", "::1", "::2 ::");
  check_list("::ffff:10.0.0.0/104", "10.1.2.3 10.255.0.1", "11.0.0.1 ::1");
  check_list("::ffff:0:0/96", "1.2.3.4 10.0.0.1", "::1");
  check_list("unix", "unix", "127.0.0.1 ::1");
  check_list(" 10.0.0.0/8 ,\t::1,unix", "10.1.1.1 ::1 unix", "127.0.0.1 ::2");
}

TEST(trust__nobody) {
  const struct tavi__peer p = peer("127.0.0.1");
  static const char *const lists[] = {NULL, "", " \t "};
  for (size_t i = 0; i < COUNT(lists); i++) {
    struct tavi__trust *t = (struct tavi__trust *)(void *)&i;
    CHECK_INT(tavi__trust_new(lists[i], &t), 0);
    CHECK(t == NULL && !tavi__trust_has(t, &p));
    tavi__trust_free(t);
  }
}

TEST(trust__mistakes_are_refused) {
  static const char *const bad[] = {
      ",", "127.0.0.1,", ",127.0.0.1", "1.1.1.1,,2.2.2.2", "1.1.1.1 2.2.2.2", "localhost", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/",
      "10.0.0.0/x", "10.0.0.0/-1", "10.0.0.0/08", "10.0.0.0/ 8", "10.0.0.0 /8", "10.0.0.0/8/8", "10.0.0.0/0", "::1/127", "::/129",
      "::1/0", "::/1000", "[::1]", "fe80::1%lo", "UNIX", "unix/8", "10/8", "10.0.0.0/255.0.0.0", "127.1", "::ffff:0:0/95",
      "::ffff:10.0.0.0/8", "1.2.3.4:80", "*", "10.0.0.0/8;::1",
  };
  struct tavi__trust *t = (struct tavi__trust *)(void *)&t;
  for (size_t i = 0; i < COUNT(bad); i++) {
    test_note("%s", bad[i]);
    CHECK_INT(tavi__trust_new(bad[i], &t), TAVI_E_ARG);
    CHECK((void *)t == (void *)&t); /* untouched */
  }
}

TEST(trust__without_memory) {
  struct tavi__trust *t = NULL;
  fail_begin(1);
  const int err = tavi__trust_new("10.0.0.0/8", &t);
  CHECK(fail_end());
  CHECK_INT(err, TAVI_E_NOMEM);
  CHECK(t == NULL);
}

TEST(trust__peers_of_texts) {
  static const char *const texts[] = {"1.2.3.4", "::1", "::ffff:9.8.7.6", "2001:DB8::1"};
  for (size_t i = 0; i < COUNT(texts); i++) {
    const struct tavi__peer wanted = peer(texts[i]);
    struct tavi__peer got;
    test_note("%s", texts[i]);
    CHECK(tavi__peer_of_text((struct tavi_slice){texts[i], strlen(texts[i])}, 1234, &got));
    CHECK(got.family == wanted.family && got.port == 1234 && memcmp(got.ip, wanted.ip, 16) == 0);
  }
  struct tavi__peer untouched = {.family = 9};
  CHECK(!tavi__peer_of_text((struct tavi_slice){"x", 1}, 0, &untouched));
  CHECK_INT(untouched.family, 9);
}
