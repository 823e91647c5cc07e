/* SPDX-License-Identifier: MIT
 *
 * Files as answers, while the files change: what is sent is what is there, whatever was remembered; what cannot be sent
 * any more ends the connection; and nothing that is remembered grows. */
#include <dirent.h>
#include <malloc.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "e2e/http_site.h"

/* The numbers in a directory of /proc/self: descriptors or threads. */
struct numbers {
  size_t count;
  long list[1024];
};

static struct numbers numbers_in(const char *directory) {
  struct numbers found = {0};
  DIR *dir = opendir(directory);
  for (const struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL && found.count < 1024;)
    if (e->d_name[0] != '.') found.list[found.count++] = strtol(e->d_name, NULL, 10);
  if (dir != NULL) closedir(dir);
  return found;
}

static size_t open_descriptors(void) { return numbers_in("/proc/self/fd").count; }

/* (Not by their count: one that has ended is seen for a moment longer.) */
static bool has_new_thread(const struct numbers *before) {
  struct numbers now = numbers_in("/proc/self/task");
  for (size_t i = 0, k; i < now.count; i++) {
    for (k = 0; k < before->count && before->list[k] != now.list[i];) k++;
    if (k == before->count) return true;
  }
  return false;
}

/* ==== what is remembered is what is there ==== */


TEST(cache__file_replaced_by_another__is_seen_at_once) {
  EACH_SIZE(size) {
    site_start();
    put_pattern("www/f", size, 1, O_TRUNC);
    await_settled("/f");
    CHECK_PATTERN(got.body, size, 1);
    put_pattern("new", size, 2, O_TRUNC);
    rename(at("new"), at("www/f"));
    CHECK_INT(get("/f"), 200);
    CHECK_PATTERN(got.body, size, 2);
    stop_asking();
    site_stop();
  }
}

/* The same size, and even the same time stamp: the inode's own time tells. */
TEST(cache__file_changed_in_place__is_seen_at_once) {
  EACH_SIZE(size) {
    site_start();
    put_pattern("www/f", size, 1, O_TRUNC);
    struct timespec times[2] = {{1000000000, 0}, {1000000000, 0}};
    utimensat(AT_FDCWD, at("www/f"), times, 0);
    await_settled("/f");
    put_pattern("www/f", size, 2, 0);
    utimensat(AT_FDCWD, at("www/f"), times, 0);
    CHECK_INT(get("/f"), 200);
    CHECK_PATTERN(got.body, size, 2);
    CHECK(header_is(&got, "Last-Modified", "Sun, 09 Sep 2001 01:46:40 GMT"));
    stop_asking();
    site_stop();
  }
}

TEST(cache__file_changed_all_the_time__each_request_gets_the_newest) {
  EACH_SIZE(size) {
    site_start();
    for (unsigned i = 0; i < 200; i++) {
      put_pattern("www/f", size, i, i % 3 == 0 ? O_TRUNC : 0);
      CHECK_INT(get("/f"), 200);
      CHECK_PATTERN(got.body, size, i);
    }
    stop_asking();
    site_stop();
  }
}

TEST(cache__file_deleted_and_made_again) {
  EACH_SIZE(size) {
    site_start();
    put_pattern("www/f", size, 1, O_TRUNC);
    await_settled("/f");
    unlink(at("www/f"));
    CHECK_INT(get("/f"), 404);
    CHECK_INT(get("/f"), 404);
    put_pattern("www/f", size, 2, O_TRUNC);
    CHECK_INT(get("/f"), 200);
    CHECK_PATTERN(got.body, size, 2);
    unlink(at("www/f"));
    mkdir(at("www/f"), 0755);
    CHECK_INT(get("/f"), 301);
    put_text("www/f/index.html", "index");
    CHECK_INT(get("/f/"), 200);
    CHECK_STR(got.body, "index");
    stop_asking();
    site_stop();
  }
}

/* As sites are deployed: a link is turned to another directory. */
TEST(cache__root_is_another_directory_now) {
  site_start();
  mkdir(at("a"), 0755);
  mkdir(at("b"), 0755);
  put_text("a/f", "from a");
  put_text("b/f", "from b");
  put_text("a/only", "a's own");
  rmdir(root);
  CHECK_INT(symlink("a", root), 0);
  await_settled("/f");
  CHECK_STR(got.body, "from a");
  await_settled("/only");
  CHECK_INT(symlink("b", at("new")), 0);
  rename(at("new"), root);
  CHECK_INT(get("/f"), 200);
  CHECK_STR(got.body, "from b");
  CHECK_INT(get("/only"), 404);
  unlink(root);
  CHECK_INT(get("/f"), 404);
  stop_asking();
  site_stop();
}

TEST(cache__directory_on_the_way_is_another_one_now) {
  site_start();
  mkdir(at("www/d"), 0755);
  mkdir(at("www/e"), 0755);
  put_text("www/d/f", "old");
  put_text("www/e/f", "new");
  await_settled("/d/f");
  rename(at("www/d"), at("www/gone"));
  rename(at("www/e"), at("www/d"));
  CHECK_INT(get("/d/f"), 200);
  CHECK_STR(got.body, "new");
  stop_asking();
  site_stop();
}

/* The file is the same one, so only the way to it tells; that is looked at about once a second. */
TEST(cache__directory_was_moved_out_and_a_link_left__is_refused_soon) {
  site_start();
  mkdir(at("www/d"), 0755);
  put_text("www/d/f", "ours");
  await_settled("/d/f");
  rename(at("www/d"), at("outside"));
  CHECK_INT(symlink("../outside", at("www/d")), 0);
  UNTIL(get("/d/f") == 404);
  opts.links_out = true;
  CHECK_INT(get("/d/f"), 200);
  opts.links_out = false;
  CHECK_INT(get("/d/f"), 404);
  stop_asking();
  site_stop();
}

TEST(cache__permission_taken_away__is_403_at_once) {
  if (geteuid() == 0) CHECK_INT(seteuid(65534), 0);
  bool was_root = getuid() == 0;
  if (was_root) CHECK_INT(seteuid(0), 0);
  EACH_SIZE(size) {
    site_start();
    put_pattern("www/f", size, 1, O_TRUNC);
    if (was_root) CHECK_INT(seteuid(65534), 0);
    await_settled("/f");
    if (was_root) CHECK_INT(seteuid(0), 0);
    chmod(at("www/f"), 0);
    if (was_root) CHECK_INT(seteuid(65534), 0);
    CHECK_INT(get("/f"), 403);
    if (was_root) CHECK_INT(seteuid(0), 0);
    chmod(at("www/f"), 0644);
    CHECK_INT(get("/f"), 200);
    chmod(root, 0);
    if (was_root) CHECK_INT(seteuid(65534), 0);
    CHECK_INT(get("/f"), 403);
    if (was_root) CHECK_INT(seteuid(0), 0);
    chmod(root, 0755);
    CHECK_INT(get("/f"), 200);
    CHECK_PATTERN(got.body, size, 1);
    stop_asking();
    site_stop();
  }
}

/* ==== what changes while it is sent ==== */

/* A request for a file of HUGE bytes, of which a part has left and the rest waits for the peer to read. */
static struct peer half_sent(void) {
  site_start();
  put_pattern("www/f", HUGE, 1, O_TRUNC);
  struct peer p = peer_open_with(4096);
  peer_send(&p, GET("/f"));
  UNTIL(rig.messages == 1);
  rig_settle();
  return p;
}

TEST(sending__file_is_truncated__connection_ends_and_the_user_is_told) {
  struct peer p = half_sent();
  struct response r = {0};
  CHECK_INT(truncate(at("www/f"), HUGE / 2), 0);
  UNTIL(peer_pump(&p));
  CHECK_INT(peer_parse(&p, &r, false), 0); /* not the length that was promised, and nothing in its place */
  char *wanted = pattern(HUGE, 1), *body = memmem(p.bytes, p.len, "\r\n\r\n", 4);
  if (CHECK(body != NULL)) {
    size_t len = (size_t) (p.bytes + p.len - (body + 4));
    CHECK(len <= HUGE / 2 && memcmp(body + 4, wanted, len) == 0);
  }
  free(wanted);
  CHECK_INT(rig.errors, 1);
  CHECK_INT(rig.closed, 1);
  CHECK_INT(get("/f"), 200);
  CHECK_INT(got.body.len, HUGE / 2);
  peer_close(&p);
  stop_asking();
  site_stop();
}

TEST(sending__file_is_replaced_deleted_or_grows__is_sent_as_it_was) {
  for (int how = 0; how < 3; how++) {
    struct peer p = half_sent();
    struct response r = {0};
    test_note("way %d", how);
    if (how == 0) put_pattern("new", HUGE, 2, O_TRUNC), rename(at("new"), at("www/f"));
    if (how == 1) unlink(at("www/f"));
    if (how == 2) CHECK_INT(truncate(at("www/f"), HUGE * 2), 0);
    if (RESPONSE(&p, &r)) CHECK_PATTERN(r.body, HUGE, 1);
    CHECK_INT(rig.errors, 0);
    CHECK_INT(get("/f"), how == 1 ? 404 : 200);
    if (how == 0) CHECK_PATTERN(got.body, HUGE, 2);
    if (how == 2) CHECK_INT(got.body.len, HUGE * 2);
    response_free(&r);
    peer_close(&p);
    stop_asking();
    site_stop();
  }
}

TEST(sending__slow_reader__costs_no_memory) {
  struct peer p = half_sent();
  struct response r = {0};
  size_t most = 0;
  int done = 0;
  uint64_t deadline = rig_now_ms() + RIG_DEADLINE_MS;
  while (done == 0 && rig_now_ms() < deadline) {
    tavi_manager_poll(rig.m, 1);
    size_t held = tavi_manager_buffered(rig.m);
    if (held > most) most = held;
    peer_pump(&p);
    done = peer_parse(&p, &r, false);
  }
  CHECK_INT(done, 1);
  CHECK_PATTERN(r.body, HUGE, 1);
  CHECK(most < 16384);
  peer_close(&p);
  site_stop();
}

TEST(sending__peer_goes_away__nothing_is_left) {
  struct peer p = half_sent();
  peer_reset(&p);
  UNTIL(rig.closed == 1);
  CHECK_INT(tavi_manager_buffered(rig.m), 0);
  CHECK_INT(get("/f"), 200);
  stop_asking();
  site_stop();
}

/* SIGPIPE would end the program. send(2) can be told not to raise it, sendfile(2) cannot. */
TEST(sending__peer_has_closed__no_signal_is_raised_or_left) {
  sigset_t blocked, pending, old;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGPIPE);
  for (int is_blocked = 0; is_blocked < 2; is_blocked++) {
    site_start();
    put_pattern("www/f", HUGE, 1, O_TRUNC);
    if (is_blocked) pthread_sigmask(SIG_BLOCK, &blocked, NULL);
    for (unsigned i = 0; i < 20; i++) {
      struct peer p = peer_open();
      peer_send(&p, GET("/f"));
      if (i % 2 == 1) rig_settle(); /* it goes with bytes unread, which resets the connection */
      peer_close(&p);
      UNTIL(rig.closed == i + 1);
    }
    sigpending(&pending);
    CHECK(!sigismember(&pending, SIGPIPE));
    pthread_sigmask(SIG_UNBLOCK, &blocked, &old);
    CHECK_INT(sigismember(&old, SIGPIPE), is_blocked);
    CHECK_INT(get("/f"), 200);
    stop_asking();
    site_stop();
  }
}

/* ==== what the disk has and memory has not ==== */

/* Throw the file out of the system's memory. False when that is not possible here (a file system in memory). */
static bool make_cold(const char *name) {
  unsigned char is_here = 0;
  int fd = open(at(name), O_RDONLY | O_CLOEXEC);
  if (fd < 0) abort();
  fsync(fd);
  posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  void *map = mmap(NULL, 1, PROT_READ, MAP_SHARED, fd, 0); /* (a read that would not wait begins to fetch it) */
  if (map == MAP_FAILED || mincore(map, 1, &is_here) != 0) abort();
  munmap(map, 1);
  close(fd);
  if (is_here & 1) printf("(no file can be made cold here)\n");
  return !(is_here & 1);
}

/* (A quick disk may have the bytes there by the time they are looked for: then nothing is fetched, and it is tried again.) */
TEST(cold__is_fetched_by_another_thread_while_others_are_served) {
  EACH_SIZE(size) {
    site_start();
    put_text("www/warm", "warm");
    CHECK_INT(get("/warm"), 200);
    struct numbers before = numbers_in("/proc/self/task");
    struct peer p = peer_open();
    struct response r = {0};
    bool is_fetched = false, is_cold = true;
    for (unsigned i = 0; i < 100 && is_cold && !is_fetched; i++) {
      unsigned asked = rig.messages;
      put_pattern("www/f", size, i, O_TRUNC);
      is_cold = make_cold("www/f");
      peer_send(&p, GET("/f"));
      UNTIL(rig.messages == asked + 1);
      CHECK_INT(get("/warm"), 200);
      CHECK_STR(got.body, "warm");
      if (RESPONSE(&p, &r)) CHECK_PATTERN(r.body, size, i);
      is_fetched = has_new_thread(&before);
    }
    CHECK(is_fetched || !is_cold);
    CHECK_INT(rig.errors, 0);
    response_free(&r);
    peer_close(&p);
    stop_asking();
    site_stop();
  }
}

/* A range in the middle, of which only the window around it has to come. */
TEST(cold__range) {
  site_start();
  put_pattern("www/f", HUGE, 1, O_TRUNC);
  make_cold("www/f");
  CHECK_INT(status_of("GET", "/f", "Range: bytes=5000000-5000999,1-2,9999999-\r\n"), 206);
  char *wanted = pattern(HUGE, 1);
  CHECK(memmem(got.body.ptr, got.body.len, wanted + 5000000, 1000) != NULL);
  CHECK(memmem(got.body.ptr, got.body.len, wanted + 9999999, HUGE - 9999999) != NULL);
  free(wanted);
  stop_asking();
  site_stop();
}

TEST(cold__connection_or_manager_ends_meanwhile) {
  for (int how = 0; how < 4; how++) {
    site_start();
    put_pattern("www/f", HUGE, 1, O_TRUNC);
    make_cold("www/f");
    struct peer p = peer_open();
    peer_send(&p, GET("/f"));
    UNTIL(rig.messages == 1);
    if (how == 0) tavi_conn_close(rig.conn);
    if (how == 1) peer_reset(&p);
    if (how == 2) CHECK_INT(truncate(at("www/f"), 0), 0);
    if (how < 3) UNTIL((p.fd >= 0 && peer_pump(&p)) || rig.closed == 1);
    peer_close(&p);
    site_stop(); /* 3: the manager ends first */
  }
}

TEST(listing__connection_or_manager_ends_meanwhile) {
  for (int how = 0; how < 3; how++) {
    site_start();
    for (int i = 0; i < 300; i++) {
      char name[32];
      snprintf(name, sizeof(name), "www/%d", i);
      put_text(name, "");
    }
    struct peer p = peer_open();
    peer_send(&p, GET("/"));
    UNTIL(rig.messages == 1);
    if (how == 0) tavi_conn_close(rig.conn);
    if (how == 1) peer_reset(&p);
    if (how < 2) UNTIL(rig.closed == 1);
    peer_close(&p);
    site_stop();
  }
}

/* Who asks and goes away leaves work behind, so there is a maximum. */
TEST(listing__too_many_wait__is_503_until_they_are_done) {
  enum { ASKED = 150 };
  static struct peer peers[ASKED];
  unsigned refused = 0;
  site_start();
  for (int i = 0; i < 1000; i++) {
    char name[32];
    snprintf(name, sizeof(name), "www/%d", i);
    put_text(name, "");
  }
  for (unsigned i = 0; i < ASKED; i++) {
    peers[i] = peer_open();
    peer_send(&peers[i], GET("/"));
    if (i % 50 == 0) UNTIL(rig.messages == i + 1);
  }
  for (unsigned i = 0; i < ASKED; i++) {
    struct response r = {0};
    if (RESPONSE(&peers[i], &r)) {
      refused += r.status == 503;
      CHECK(r.status == 503 || memmem(r.body.ptr, r.body.len, "\"./999\"", 7) != NULL);
    }
    response_free(&r);
    peer_close(&peers[i]);
  }
  CHECK(refused > 0 && refused <= ASKED - 32); /* those that wait, and the one that is being read */
  CHECK_INT(get("/"), 200);
  stop_asking();
  site_stop();
}

/* ==== descriptors ==== */

/* Take all descriptors but `left`. Returns how many were taken, to be given to free_descriptors(). */
static int *take_descriptors(unsigned left, size_t *ret_count) {
  static int taken[4096];
  size_t count = 0;
  while (count < 4096 && (taken[count] = dup(0)) >= 0) count++;
  for (; left > 0 && count > 0; left--) close(taken[--count]);
  *ret_count = count;
  return taken;
}

static void free_descriptors(const int *taken, size_t count) {
  for (size_t i = 0; i < count; i++) close(taken[i]);
}

TEST(descriptors__none_left__is_503_and_over_when_there_are_some) {
  struct rlimit old, few;
  size_t count;
  site_start();
  put_pattern("www/known", LARGE, 1, O_TRUNC);
  put_pattern("www/small", SMALL, 2, O_TRUNC);
  put_pattern("www/other", LARGE, 3, O_TRUNC);
  mkdir(at("www/sub"), 0755);
  await_settled("/known");
  await_settled("/small");
  getrlimit(RLIMIT_NOFILE, &old);
  few = (struct rlimit){200, old.rlim_max};
  setrlimit(RLIMIT_NOFILE, &few);
  int *taken = take_descriptors(0, &count);
  CHECK_INT(get("/other"), 503);
  CHECK_INT(get("/other"), 503);
  CHECK_INT(get("/sub/"), 503);
  for (uint64_t end_ms = rig_now_ms() + 1200; rig_now_ms() < end_ms;) /* longer than the way there is believed */
    if (!CHECK_INT(get("/known"), 200)) break;                       /* no descriptor is needed for what is known */
  CHECK_PATTERN(got.body, LARGE, 1);
  CHECK_INT(get("/small"), 200);
  CHECK_PATTERN(got.body, SMALL, 2);
  free_descriptors(taken, count);
  CHECK_INT(get("/other"), 200);
  CHECK_PATTERN(got.body, LARGE, 3);
  setrlimit(RLIMIT_NOFILE, &old);
  stop_asking();
  site_stop();
}

/* Otherwise a single-page application would be told that there is no page. */
TEST(descriptors__none_left__missing_file_is_503_and_not_404) {
  struct rlimit old, few;
  size_t count;
  char path[128];
  site_start();
  put_text("www/app", "app");
  snprintf(path, sizeof(path), "%s/app", root);
  opts.missing = path;
  opts.missing_status = 200;
  CHECK_INT(get("/"), 200); /* (the connection is there) */
  getrlimit(RLIMIT_NOFILE, &old);
  few = (struct rlimit){200, old.rlim_max};
  setrlimit(RLIMIT_NOFILE, &few);
  int *taken = take_descriptors(0, &count);
  CHECK_INT(get("/.x"), 503); /* no descriptor is needed to know that there is no such file */
  free_descriptors(taken, count);
  CHECK_INT(get("/.x"), 200);
  CHECK_STR(got.body, "app");
  setrlimit(RLIMIT_NOFILE, &old);
  stop_asking();
  site_stop();
}

TEST(descriptors__none_left__those_of_the_cache_are_given_up) {
  struct rlimit old, few;
  size_t count;
  char name[32];
  site_start();
  for (unsigned i = 0; i < 40; i++) {
    snprintf(name, sizeof(name), "www/%u", i);
    put_pattern(name, LARGE, i, O_TRUNC);
    CHECK_INT(get(name + 3), 200);
  }
  put_pattern("www/new", LARGE, 99, O_TRUNC);
  getrlimit(RLIMIT_NOFILE, &old);
  few = (struct rlimit){200, old.rlim_max};
  setrlimit(RLIMIT_NOFILE, &few);
  int *taken = take_descriptors(0, &count);
  CHECK_INT(get("/new"), 200);
  CHECK_PATTERN(got.body, LARGE, 99);
  for (unsigned i = 0; i < 40; i++) {
    snprintf(name, sizeof(name), "/%u", i);
    CHECK_INT(get(name), 200);
    CHECK_PATTERN(got.body, LARGE, i);
  }
  free_descriptors(taken, count);
  setrlimit(RLIMIT_NOFILE, &old);
  stop_asking();
  site_stop();
}

/* A listing that runs out of descriptors half-way says so, in place of leaving names out. */
TEST(descriptors__few_left__listing_says_that_it_is_not_whole) {
  struct rlimit old, few;
  size_t count;
  site_start();
  for (char name[] = "www/a"; name[4] <= 'f'; name[4]++) put_text(name, "");
  CHECK_INT(get("/"), 200);
  CHECK(memmem(got.body.ptr, got.body.len, "could not be read", 17) == NULL);
  getrlimit(RLIMIT_NOFILE, &old);
  few = (struct rlimit){200, old.rlim_max};
  setrlimit(RLIMIT_NOFILE, &few);
  for (unsigned left = 1; left < 8; left++) {
    int *taken = take_descriptors(left, &count);
    int status = get("/");
    bool is_whole = true;
    for (char link[] = "\"./a\""; link[3] <= 'f'; link[3]++)
      is_whole &= status == 200 && memmem(got.body.ptr, got.body.len, link, 5) != NULL;
    test_note("%u left, status %d", left, status);
    CHECK(is_whole || status == 503 || memmem(got.body.ptr, got.body.len, "could not be read", 17) != NULL);
    if (left == 7) CHECK(is_whole);
    free_descriptors(taken, count);
  }
  setrlimit(RLIMIT_NOFILE, &old);
  stop_asking();
  site_stop();
}

static size_t allocated(void) { return mallinfo2().uordblks; } /* 0 under the sanitizer and valgrind */

TEST(cache__is_bounded_after_10000_files) {
  enum { FILES = 10000 };
  for (int i = 0; i < 2; i++) {
    size_t fds = open_descriptors();
    char name[64];
    site_start();
    put_pattern("f", i == 0 ? 30000 : 40000, 1, O_TRUNC); /* from memory; from a descriptor */
    for (int k = 0; k < FILES; k++) {
      snprintf(name, sizeof(name), "www/%d", k);
      if (link(at("f"), at(name)) != 0) put_pattern(name, 100, 1, O_TRUNC);
    }
    await_settled("/0");
    size_t before = allocated();
    for (int k = 0; k < FILES; k++) {
      snprintf(name, sizeof(name), "/%d", k);
      if (get(name) != 200) CHECK_INT(got.status, 200);
    }
    CHECK(allocated() < before + (6 << 20));
    CHECK(open_descriptors() < fds + 300);
    stop_asking();
    site_stop();
    CHECK_INT(open_descriptors(), fds);
  }
}

TEST(cache__gives_descriptors_back_when_nobody_asks) {
  char name[32];
  site_start();
  for (unsigned i = 0; i < 50; i++) {
    snprintf(name, sizeof(name), "www/%u", i);
    put_pattern(name, LARGE, i, O_TRUNC);
  }
  CHECK_INT(get("/none"), 404);
  size_t before = open_descriptors();
  for (unsigned i = 0; i < 50; i++) {
    snprintf(name, sizeof(name), "/%u", i);
    CHECK_INT(get(name), 200);
  }
  CHECK_INT(open_descriptors(), before + 50);
  uint64_t start = rig_now_ms();
  UNTIL(open_descriptors() == before);
  CHECK(rig_now_ms() - start > 2000); /* not as soon as nobody needs them at the moment */
  CHECK_INT(get("/7"), 200);
  CHECK_PATTERN(got.body, LARGE, 7);
  stop_asking();
  site_stop();
}
