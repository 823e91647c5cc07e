/* SPDX-License-Identifier: MIT
 *
 * The files of forms: saving them; a disk that is slow, full or gone; peers that go away meanwhile; and every allocation
 * failing once. */
#include "failmalloc.h"

#include <sys/mount.h>
#include <sys/resource.h>

#include "e2e/form_rig.h"

/* ==== saving ==== */

static char path[128];
static int save_err, save_again;

static void save_all(struct tavi_conn *c, const struct tavi_form *form) {
  (void) c;
  for (size_t i = 0; i < form->part_count; i++) {
    if (form->parts[i].file == NULL) continue;
    save_err = tavi_form_save(form->parts[i].file, path);
    save_again = tavi_form_save(form->parts[i].file, path);
  }
}

static void check_saved(const char *wanted, unsigned mode) {
  char bytes[64];
  struct stat st;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t n = read(fd, bytes, sizeof(bytes));
  if (CHECK(n >= 0)) CHECK_BYTES(bytes, (size_t) n, wanted, strlen(wanted));
  CHECK_INT(fstat(fd, &st), 0);
  CHECK_INT(st.st_mode & 07777, mode);
  CHECK_INT(st.st_nlink, 1);
  close(fd);
}

TEST(save__with_and_without_nameless_files) {
  for (int named = 0; named < 2; named++) {
    serve();
    disk.no_nameless = named == 1;
    and_then = save_all;
    test_note("%s", named ? "named" : "nameless");
    snprintf(path, sizeof(path), "%s/saved", directory);
    mode_t before = umask(027);
    struct peer p = peer_open();
    post(&p, TYPE, FILE_PART("x") "one\r\n--xy--");
    EXPECT(&p, 200, "f@x(text/plain)=one;");
    CHECK_INT(save_err, 0);
    CHECK_INT(save_again, TAVI_E_STATE);
    check_saved("one", 0640);

    int old = open(path, O_RDONLY | O_CLOEXEC); /* replaced, not written over */
    char byte[4] = "";
    umask(0);
    post(&p, TYPE, FILE_PART("x") "three\r\n--xy--");
    EXPECT(&p, 200, "f@x(text/plain)=three;");
    CHECK_INT(save_err, 0);
    check_saved("three", 0666);
    CHECK(read(old, byte, 3) == 3 && strcmp(byte, "one") == 0);
    close(old);
    umask(before);

    post(&p, TYPE, FILE_PART("x") "not saved\r\n" FILE_PART("y") "nor this\r\n--x"); /* and cut */
    EXPECT(&p, 400, "400 Bad Request\n");
    peer_close(&p);
    UNTIL(rig.closed == 1 && tavi_manager_buffered(rig.m) == 0);
    CHECK_INT(files_left(true), 1);
    stop();
  }
}

static void check_save_error(const char *to, int wanted) {
  snprintf(path, sizeof(path), "%s", to);
  struct peer p = peer_open();
  test_note("save to %s", to);
  post(&p, TYPE, FILE_PART("x") "one\r\n--xy--");
  EXPECT(&p, 200, "f@x(text/plain)=one;");
  CHECK_INT(save_err, wanted);
  peer_close(&p);
}

TEST(save__where_it_cannot_be) {
  for (int named = 0; named < 2; named++) {
    serve();
    disk.no_nameless = named == 1;
    and_then = save_all;
    check_save_error("/nowhere/at/all", TAVI_E_NOT_FOUND);
    check_save_error("", TAVI_E_NOT_FOUND);
    check_save_error(directory, TAVI_E_ARG);
    stop();
  }
}

/* ==== a slow disk ==== */

/* Send as much as the server takes while nothing is written. */
static size_t send_until_held(struct peer *p, const char *bytes, size_t len) {
  size_t sent = 0, held_max = 0;
  for (int quiet = 0; quiet < 20 && sent < len;) {
    ssize_t n = peer_try_send(p, bytes + sent, len - sent);
    sent += n > 0 ? (size_t) n : 0;
    quiet = tavi_manager_poll(rig.m, 1) == 0 && n <= 0 ? quiet + 1 : 0;
    size_t held = tavi_manager_buffered(rig.m);
    if (held > held_max) held_max = held;
  }
  CHECK(held_max > 256 << 10);
  CHECK(held_max < 512 << 10);
  return sent;
}

TEST(slow_disk__holds_the_peer_and_no_memory) {
  struct tavi_http_opts http;
  tavi_http_opts_init(&http);
  http.body_timeout_ms = 60;
  for (size_t chunk = 0; chunk < 100000; chunk += 50000) {
    struct text t = file_form(40 << 20), r = request(TYPE, t.bytes, t.len, chunk);
    serve_with(&http);
    struct peer p = peer_open();
    disk_close();
    size_t sent = send_until_held(&p, r.bytes, r.len);
    CHECK(sent < r.len);
    uint64_t until = rig_now_ms() + 200; /* longer than the time-out: it is the disk that is slow */
    UNTIL(rig_now_ms() > until);
    CHECK_INT(forms, 0);
    CHECK_INT(disk_waiting(), 1);
    disk_open();
    peer_send_bytes(&p, r.bytes + sent, r.len - sent);
    EXPECT(&p, 200, file_seen(t, 40 << 20));
    peer_close(&p);
    stop();
    free(t.bytes);
    free(r.bytes);
  }
}

TEST(slow_disk__at_the_end__no_time_out_and_nothing_is_read_ahead) {
  struct tavi_http_opts http;
  tavi_http_opts_init(&http);
  http.body_timeout_ms = 60;
  struct text t = file_form(1000), r = request(TYPE, t.bytes, t.len, 0);
  size_t more_len;
  char *more = repeat(GET("/more"), 200000, &more_len);
  serve_with(&http);
  rig.targets[0] = '\0';
  struct peer p = peer_open();
  disk_close();
  peer_send_bytes(&p, r.bytes, r.len);
  size_t sent = 0;
  uint64_t until = rig_now_ms() + 200;
  while (rig_now_ms() < until) {
    ssize_t n = peer_try_send(&p, more + sent, more_len - sent);
    sent += n > 0 ? (size_t) n : 0;
    tavi_manager_poll(rig.m, 1);
    CHECK(tavi_manager_buffered(rig.m) < 512 << 10);
  }
  CHECK_INT(forms, 0);
  CHECK_INT(rig.headers, 1);
  disk_open();
  EXPECT(&p, 200, file_seen(t, 1000));
  EXPECT(&p, 200, "GET /more ");
  peer_close(&p);
  stop();
  free(t.bytes);
  free(r.bytes);
  free(more);
}

TEST(time_out__of_the_peer) {
  struct tavi_http_opts http;
  tavi_http_opts_init(&http);
  http.body_timeout_ms = 60;
  serve_with(&http);
  struct peer p = peer_open();
  struct text t = file_form(200000), r = request(TYPE, t.bytes, t.len, 0);
  peer_send_bytes(&p, r.bytes, r.len - 5);
  EXPECT(&p, 408, "408 Request Timeout\n");
  EXPECT_END(&p);
  CHECK_INT(forms, 1);
  CHECK_INT(form_err, TAVI_E_TIMEOUT);
  CHECK_INT(form_status, 408);
  CHECK(strstr(form_text, "stopped") != NULL);
  peer_close(&p);
  stop();
  free(t.bytes);
  free(r.bytes);
}

/* ==== a peer that goes ==== */

TEST(gone__midway__told_once_before_on_close) {
  struct text t = file_form(1 << 20), r = request(TYPE, t.bytes, t.len, 0);
  for (int how = 0; how < 6; how++) {
    serve();
    disk.no_nameless = how % 2 == 1;
    unsigned before = descriptors();
    struct peer p = peer_open();
    test_note("way %d", how);
    if (how < 4) disk_close(); /* a job is at work */
    peer_send_bytes(&p, r.bytes, how < 2 ? 200000 : how < 4 ? r.len : 200);
    UNTIL(how >= 4 || disk_waiting() == 1);
    UNTIL(rig.headers == 1);
    if (how < 2) peer_close(&p);
    if (how >= 2) peer_reset(&p);
    UNTIL(rig.closed == 1);
    CHECK_INT(forms, 1);
    CHECK_INT(form_err, TAVI_E_CLOSED);
    CHECK_INT(form_status, 0);
    CHECK(!closed_before);
    disk_open();
    UNTIL(tavi_manager_buffered(rig.m) == 0);
    CHECK(descriptors() <= before);
    stop();
    CHECK_INT(forms, 1);
  }
  free(t.bytes);
  free(r.bytes);
}

static void *open_soon(void *arg) {
  (void) arg;
  disk_open();
  return NULL;
}

TEST(gone__the_manager_ends_while_a_job_is_at_work) {
  struct text t = file_form(1 << 20), r = request(TYPE, t.bytes, t.len, 0);
  for (int how = 0; how < 2; how++) {
    serve();
    struct peer p = peer_open();
    disk_close();
    peer_send_bytes(&p, r.bytes, 400000);
    UNTIL(disk_waiting() == 1);
    if (how == 1) {
      tavi_conn_close(rig.conn);
      UNTIL(rig.closed == 1);
    }
    pthread_t opener;
    if (pthread_create(&opener, NULL, open_soon, NULL) != 0) abort();
    rig_stop();
    pthread_join(opener, NULL);
    CHECK_INT(forms, 1);
    CHECK_INT(form_err, TAVI_E_CLOSED);
    CHECK_INT(files_left(true), 0);
    peer_close(&p);
  }
  free(t.bytes);
  free(r.bytes);
}

static void close_it(struct tavi_conn *c, const struct tavi_form *form) {
  (void) form;
  tavi_conn_close(c);
}

static void receive_and_close(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  receive(c, msg);
  tavi_conn_close(c);
}

TEST(gone__closed_by_the_user_itself) {
  serve();
  and_then = close_it;
  struct peer p = peer_open();
  post(&p, TYPE, mixed);
  UNTIL(rig.closed == 1);
  CHECK_INT(forms, 1);
  CHECK_INT(form_err, 0);
  peer_close(&p);
  rig.on_headers = receive_and_close;
  p = peer_open();
  post(&p, TYPE, mixed);
  UNTIL(rig.closed == 2);
  CHECK_INT(forms, 2);
  CHECK_INT(form_err, TAVI_E_CLOSED);
  peer_close(&p);
  stop();
}

static void drain_it(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  receive(c, msg);
  tavi_conn_drain(c);
}

TEST(gone__drained_by_the_user) {
  serve();
  rig.on_headers = drain_it;
  struct peer p = peer_open();
  post(&p, TYPE, mixed);
  UNTIL(forms == 1);
  CHECK_INT(form_err, TAVI_E_CLOSED);
  peer_close(&p);
  UNTIL(rig.closed == 1);
  CHECK_INT(forms, 1);
  stop();
}

TEST(half_closed_behind_the_form__is_answered) {
  struct text t = file_form(300000), r = request(TYPE, t.bytes, t.len, 0);
  serve();
  struct peer p = peer_open();
  disk_close();
  peer_send_bytes(&p, r.bytes, r.len);
  shutdown(p.fd, SHUT_WR);
  rig_settle();
  CHECK_INT(forms, 0);
  disk_open();
  EXPECT(&p, 200, file_seen(t, 300000));
  EXPECT_END(&p);
  peer_close(&p);
  stop();
  free(t.bytes);
  free(r.bytes);
}

TEST(paused_by_the_user__goes_on) {
  struct text t = file_form(16 << 20), r = request(TYPE, t.bytes, t.len, 0);
  serve();
  struct peer p = peer_open();
  peer_send_bytes(&p, r.bytes, 1000);
  UNTIL(rig.headers == 1);
  tavi_conn_pause(rig.conn);
  peer_send_bytes(&p, r.bytes + 1000, 100000);
  rig_settle();
  CHECK_INT(forms, 0);
  disk_close();
  tavi_conn_resume(rig.conn);
  size_t sent = 101000 + send_until_held(&p, r.bytes + 101000, r.len - 101000);
  tavi_conn_pause(rig.conn);
  tavi_conn_resume(rig.conn); /* must not take what is held */
  rig_settle();
  tavi_conn_pause(rig.conn);
  disk_open();
  rig_settle();
  CHECK_INT(forms, 0);
  tavi_conn_resume(rig.conn);
  peer_send_bytes(&p, r.bytes + sent, r.len - sent);
  EXPECT(&p, 200, file_seen(t, 16 << 20));
  peer_close(&p);
  stop();
  free(t.bytes);
  free(r.bytes);
}

/* ==== a disk that fails ==== */

static void check_disk_error(size_t size, int status, int err, const char *text) {
  struct text t = file_form(size), r = request(TYPE, t.bytes, t.len, 0);
  struct response answer = {0};
  struct peer p = peer_open();
  forms = 0;
  peer_send_bytes(&p, r.bytes, r.len);
  if (RESPONSE(&p, &answer)) CHECK_INT(answer.status, status);
  EXPECT_END(&p);
  CHECK_INT(forms, 1);
  CHECK_INT(form_err, err);
  CHECK_INT(form_status, status);
  CHECK(strstr(form_text, text) != NULL);
  CHECK(seen[0] == '\0');
  response_free(&answer);
  peer_close(&p);
  free(t.bytes);
  free(r.bytes);
}

TEST(disk__full_or_broken) {
  static const struct {
    int error, status, err;
    const char *text;
  } all[] = {{ENOSPC, 507, TAVI_E_SYSTEM, "room"},
             {EDQUOT, 507, TAVI_E_SYSTEM, "room"},
             {EFBIG, 507, TAVI_E_SYSTEM, "room"},
             {EIO, 500, TAVI_E_SYSTEM, "written"}};
  for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
    for (int named = 0; named < 2; named++) {
      serve();
      disk.error = all[i].error;
      disk.no_nameless = named == 1;
      test_note("error %d", all[i].error);
      check_disk_error(100, all[i].status, all[i].err, all[i].text);
      check_disk_error(3 << 20, all[i].status, all[i].err, all[i].text);
      stop();
    }
  }
}

TEST(disk__full__told_while_the_peer_says_nothing) {
  struct text t = file_form(3 << 20), r = request(TYPE, t.bytes, t.len, 0);
  serve();
  disk.error = ENOSPC;
  struct peer p = peer_open();
  peer_send_bytes(&p, r.bytes, 200000); /* one buffer is being written, there is room in the other one */
  EXPECT(&p, 507, "507 Insufficient Storage\n");
  peer_close(&p);
  stop();
  free(t.bytes);
  free(r.bytes);
}

/* A file that is on the disk counts as complete, whatever follows. */
TEST(error__behind_a_complete_file__it_is_told) {
  static const size_t sizes[] = {0, 100, 131072, 131073, 262144, 300000};
  static const char next[] = "\r\n" CD "name=b\r\n\r\nvalue", bad[] = "\r\n--xyz";
  for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
    for (int slow = 0; slow < 2; slow++) {
      struct text t = file_form(sizes[i]), r;
      char *body = malloc(t.len + sizeof(next) + sizeof(bad));
      if (body == NULL) abort();
      test_note("%zu bytes, %s disk", sizes[i], slow ? "slow" : "fast");
      memcpy(body, t.bytes, t.len);
      memcpy(body + t.len - 4, next, sizeof(next)); /* in place of the last delimiter's end */
      memcpy(body + t.len - 4 + sizeof(next) - 1, bad, sizeof(bad));
      r = request(TYPE, body, t.len - 4 + sizeof(next) - 1 + sizeof(bad) - 1, 0);
      r.len -= sizeof(bad) - 1;
      serve();
      struct peer p = peer_open();
      if (slow && sizes[i] > 0) disk_close();
      peer_send_bytes(&p, r.bytes, r.len);
      UNTIL(!slow || sizes[i] == 0 || disk_waiting() == 1);
      rig_settle();
      disk_open();
      rig_settle();
      peer_send(&p, bad);
      EXPECT(&p, 400, "400 Bad Request\n");
      CHECK_INT(form_err, TAVI_E_PROTOCOL);
      const char *wanted = file_seen(t, sizes[i]);
      CHECK(strncmp(seen, wanted, strlen(wanted)) == 0);
      CHECK(strcmp(seen + strlen(wanted), "b=value;") == 0);
      peer_close(&p);
      stop();
      free(t.bytes);
      free(r.bytes);
      free(body);
    }
  }
}

TEST(disk__more_than_one_process_may_write) {
  struct rlimit before, small;
  serve();
  if (getrlimit(RLIMIT_FSIZE, &before) != 0) abort();
  small = (struct rlimit){200000, before.rlim_max};
  CHECK_INT(setrlimit(RLIMIT_FSIZE, &small), 0);
  check_disk_error(3 << 20, 507, TAVI_E_SYSTEM, "room"); /* and no SIGXFSZ */
  CHECK_INT(setrlimit(RLIMIT_FSIZE, &before), 0);
  stop();
}

TEST(disk__a_small_file_system) {
  serve();
  char small[128];
  snprintf(small, sizeof(small), "%s/small", directory);
  if (mkdir(small, 0700) != 0) abort();
  if (mount("tavi", small, "tmpfs", 0, "size=256k") == 0) {
    opts.directory = small;
    check_disk_error(3 << 20, 507, TAVI_E_SYSTEM, "room");
    snprintf(path, sizeof(path), "%s/saved", directory); /* on another file system */
    and_then = save_all;
    struct peer p = peer_open();
    post(&p, TYPE, FILE_PART("x") "one\r\n--xy--");
    EXPECT(&p, 200, "f@x(text/plain)=one;");
    CHECK_INT(save_err, TAVI_E_UNSUPPORTED);
    peer_close(&p);
    UNTIL(tavi_manager_buffered(rig.m) == 0 && rig.closed == 2);
    CHECK_INT(umount(small), 0);
  }
  rmdir(small);
  stop();
}

static void receive_and_remove(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  receive(c, msg);
  if (rmdir(directory) != 0) abort();
}

TEST(disk__the_directory_goes_meanwhile) {
  for (int named = 0; named < 2; named++) {
    serve();
    disk.no_nameless = named == 1;
    rig.on_headers = receive_and_remove;
    check_disk_error(1000, 500, TAVI_E_NOT_FOUND, "directory");
    stop();
    make_directory();
  }
}

/* ==== memory ==== */

TEST(memory__of_the_manager_is_the_limit) {
  struct tavi_manager_opts small;
  serve();
  tavi_manager_free(rig.m);
  tavi_manager_opts_init(&small);
  small.buffered_bytes_max = 200000;
  struct tavi_listener *l;
  struct tavi_addr addr;
  if (tavi_manager_new(&small, &rig.m) != 0) abort();
  if (tavi_http_listen(rig.m, "http://127.0.0.1:0", NULL, &rig__handlers, NULL, &l) != 0) abort();
  if (tavi_listener_local_addr(l, &addr) != 0) abort();
  rig.port = addr.port;
  disk_close();
  struct text t = file_form(1 << 20);
  struct peer p = peer_open();
  post_bytes(&p, TYPE, t.bytes, t.len, 0);
  UNTIL(forms == 1 || rig.closed == 1); /* whichever comes to its limit first: the form, or the input */
  CHECK(forms == 1 && (form_err == TAVI_E_LIMIT || form_err == TAVI_E_CLOSED));
  disk_open();
  peer_close(&p);
  stop();
  free(t.bytes);
}

TEST(each_allocation_fails__answered_or_closed) {
  struct text r = request(TYPE, mixed, sizeof(mixed) - 1, 40);
  unsigned n = 1;
  for (bool failed = true; failed && n < 1000; n++) {
    serve();
    struct peer p = peer_open();
    p.cap = 1 << 20;
    p.bytes = __real_malloc(p.cap);
    test_note("allocation %u fails", n);
    fail_begin(n);
    peer_send_bytes(&p, r.bytes, r.len / 2);
    tavi_manager_poll(rig.m, 1);
    peer_send_bytes(&p, r.bytes + r.len / 2, r.len - r.len / 2);
    UNTIL((peer_pump(&p) || p.len > 0));
    failed = fail_end();
    if (!failed) CHECK(p.len > 15 && memcmp(p.bytes, "HTTP/1.1 200 OK", 15) == 0);
    CHECK(forms <= 1);
    peer_close(&p);
    UNTIL(rig.closed == rig.opened);
    if (rig.headers > 0 && receive_err == 0) CHECK_INT(forms, 1);
    stop();
  }
  CHECK(n > 10);
  printf("%u allocations\n", n - 2);
  free(r.bytes);
}

TEST(last__the_directory_is_removed) {
  CHECK_INT(rmdir(directory), 0);
}
