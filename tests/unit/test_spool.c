/* SPDX-License-Identifier: MIT
 *
 * Files without a name, from the thread that a signal would hit. (Saving, and systems without nameless files, are tested
 * with whole forms: tests/e2e/test_http_form_files.c.) */
#include "os/spool.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "test.h"

static int directory;

static struct tavi__spool open_one(void) {
  struct tavi__spool s;
  directory = tavi__spool_directory("/tmp");
  CHECK(directory >= 0);
  CHECK_INT(tavi__spool_open(&s, directory), 0);
  return s;
}

static void close_one(struct tavi__spool *s) {
  tavi__spool_close(s);
  tavi__spool_close(s);
  CHECK_INT(s->fd, -1);
  close(directory);
}

TEST(spool__written_at_offsets) {
  struct tavi__spool s = open_one();
  char bytes[8] = "";
  CHECK_INT(tavi__spool_write(&s, "cd", 2, 2), 0);
  CHECK_INT(tavi__spool_write(&s, "ab", 2, 0), 0);
  CHECK_INT(tavi__spool_write(&s, NULL, 0, 4), 0);
  CHECK_INT(pread(s.fd, bytes, 8, 0), 4);
  CHECK(strcmp(bytes, "abcd") == 0);
  close_one(&s);
}

TEST(spool__more_than_the_process_may_write__an_error_and_no_signal) {
  struct tavi__spool s = open_one();
  struct rlimit before, small;
  sigset_t set;
  static char bytes[3000];
  if (getrlimit(RLIMIT_FSIZE, &before) != 0) abort();
  small = (struct rlimit){4096, before.rlim_max};
  CHECK_INT(setrlimit(RLIMIT_FSIZE, &small), 0);
  CHECK_INT(tavi__spool_write(&s, bytes, sizeof(bytes), 0), 0);
  CHECK_INT(tavi__spool_write(&s, bytes, sizeof(bytes), sizeof(bytes)), TAVI__SPOOL_FULL);
  CHECK_INT(setrlimit(RLIMIT_FSIZE, &before), 0);
  CHECK(sigpending(&set) == 0 && !sigismember(&set, SIGXFSZ));
  CHECK(pthread_sigmask(SIG_BLOCK, NULL, &set) == 0 && !sigismember(&set, SIGXFSZ));
  close_one(&s);
}

TEST(spool__no_such_directory) {
  CHECK_INT(tavi__spool_directory("/nowhere/at/all"), TAVI_E_NOT_FOUND);
  CHECK_INT(tavi__spool_directory("/dev/null"), TAVI_E_NOT_FOUND);
  CHECK_INT(tavi__spool_directory(""), TAVI_E_NOT_FOUND);
}

TEST(spool__a_directory_that_takes_no_files) {
  struct tavi__spool s;
  int proc = tavi__spool_directory("/proc/self");
  CHECK(proc >= 0);
  CHECK(tavi__spool_open(&s, proc) < 0);
  CHECK_INT(s.fd, -1);
  CHECK(s.name[0] == '\0');
  close(proc);
}

/* A linked file cannot be linked again: it has to keep its name for the next attempt. */
TEST(spool__saving_that_failed__may_be_tried_again) {
  char folder[] = "/tmp/tavi-spool-XXXXXX", taken[64], good[64], bytes[4] = "";
  CHECK(mkdtemp(folder) != NULL);
  snprintf(taken, sizeof(taken), "%s/folder", folder);
  snprintf(good, sizeof(good), "%s/good", folder);
  CHECK_INT(mkdir(taken, 0700), 0);
  struct tavi__spool s;
  directory = tavi__spool_directory(folder);
  CHECK_INT(tavi__spool_open(&s, directory), 0);
  CHECK_INT(tavi__spool_write(&s, "abc", 3, 0), 0);
  for (int i = 0; i < 2; i++) CHECK(tavi__spool_save(&s, taken) < 0);
  CHECK_INT(tavi__spool_save(&s, good), 0);
  CHECK_INT(tavi__spool_save(&s, good), TAVI_E_STATE);
  close_one(&s);

  int fd = open(good, O_RDONLY);
  CHECK_INT(read(fd, bytes, 4), 3);
  CHECK(memcmp(bytes, "abc", 3) == 0);
  close(fd);
  CHECK_INT(unlink(good), 0);
  CHECK_INT(rmdir(taken), 0);
  CHECK_INT(rmdir(folder), 0); /* nothing else is there */
}
