/* SPDX-License-Identifier: MIT
 *
 * Jobs for other threads: each is run once and told once, on the loop's thread, also at the manager's end. */
#include <pthread.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "loop/manager.h"
#include "loop/work.h"
#include "test.h"

struct job {
  struct tavi__job job; /* first */
  pthread_t ran_on, told_on;
  int runs, dones;
  struct job *next;     /* added by done() */
};

static int told;

static void run(struct tavi__job *j) {
  struct job *job = (struct job *) j;
  job->runs++;
  job->ran_on = pthread_self();
}

static void done(struct tavi__job *j, struct tavi_manager *m) {
  struct job *job = (struct job *) j;
  job->dones++;
  job->told_on = pthread_self();
  told++;
  if (job->next != NULL) tavi__work_add(m, &job->next->job);
}

static void breaks(struct tavi__job *j, struct tavi_manager *m) {
  done(j, m);
  tavi_manager_break(m);
}

static struct tavi_manager *manager(void) {
  struct tavi_manager *m;
  told = 0;
  CHECK(tavi_manager_new(NULL, &m) == 0);
  return m;
}

TEST(work__each_job_is_run_and_told_once) {
  enum { COUNT = 2000 };
  static struct job jobs[COUNT];
  struct tavi_manager *m = manager();
  memset(jobs, 0, sizeof(jobs));
  for (int i = 0; i < COUNT; i++) {
    jobs[i].job.run = run;
    jobs[i].job.done = done;
    tavi__work_add(m, &jobs[i].job);
  }
  CHECK(told == 0); /* never inside of the call */
  while (told < COUNT) CHECK(tavi_manager_poll(m, 10000) >= 0);
  for (int i = 0; i < COUNT; i++) {
    CHECK(jobs[i].runs == 1 && jobs[i].dones == 1);
    CHECK(pthread_equal(jobs[i].told_on, pthread_self()));
    CHECK(!pthread_equal(jobs[i].ran_on, pthread_self()));
  }
  tavi_manager_free(m);
}

TEST(work__manager_waits_for_jobs_and_for_what_they_add) {
  struct job last = {.job = {.run = run, .done = done}}, first = {.job = {.run = run, .done = done}, .next = &last};
  struct tavi_manager *m = manager();
  tavi__work_add(m, &first.job);
  tavi_manager_free(m);
  CHECK(first.dones == 1 && last.runs == 1 && last.dones == 1);
}

TEST(work__broken_turn_loses_nothing) {
  enum { COUNT = 20 };
  struct job jobs[COUNT];
  struct tavi_manager *m = manager();
  memset(jobs, 0, sizeof(jobs));
  for (int i = 0; i < COUNT; i++) {
    jobs[i].job.run = run;
    jobs[i].job.done = breaks;
    tavi__work_add(m, &jobs[i].job);
  }
  for (int before = 0; told < COUNT; before = told) {
    CHECK(tavi_manager_poll(m, 10000) >= 0);
    CHECK(told <= before + 1);
  }
  tavi_manager_free(m);
}

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static void wait_at_gate(struct tavi__job *j) {
  pthread_mutex_lock(&gate);
  pthread_mutex_unlock(&gate);
  run(j);
}

/* However many patient ones there are, and however long they take, the others are run. */
TEST(work__patient_jobs_keep_nobody_waiting) {
  enum { COUNT = 40 };
  struct job patient[COUNT], other = {.job = {.run = run, .done = done}};
  struct tavi_manager *m = manager();
  memset(patient, 0, sizeof(patient));
  pthread_mutex_lock(&gate);
  for (int i = 0; i < COUNT; i++) {
    patient[i].job = (struct tavi__job){.run = wait_at_gate, .done = done, .is_patient = true};
    tavi__work_add(m, &patient[i].job);
  }
  CHECK(tavi__work_patient_count(m) >= COUNT - 1);
  tavi__work_add(m, &other.job);
  while (other.dones == 0) CHECK(tavi_manager_poll(m, 10000) >= 0);
  CHECK_INT(told, 1);
  pthread_mutex_unlock(&gate);
  while (told < COUNT + 1) CHECK(tavi_manager_poll(m, 10000) >= 0);
  CHECK_INT(tavi__work_patient_count(m), 0);
  tavi_manager_free(m);
}

TEST(work__patient_jobs_are_done_at_the_end_of_the_manager) {
  enum { COUNT = 10 };
  struct job jobs[COUNT];
  struct tavi_manager *m = manager();
  memset(jobs, 0, sizeof(jobs));
  for (int i = 0; i < COUNT; i++) {
    jobs[i].job = (struct tavi__job){.run = run, .done = done, .is_patient = true};
    tavi__work_add(m, &jobs[i].job);
  }
  tavi_manager_free(m);
  CHECK_INT(told, COUNT);
}

/* A forked child has no threads, and may find the lock in any state: what ends there runs at once. */
TEST(work__forked_child_ends_without_threads) {
  enum { COUNT = 20 };
  struct job jobs[COUNT];
  struct tavi_manager *m = manager();
  memset(jobs, 0, sizeof(jobs));
  pthread_mutex_lock(&gate);
  for (int i = 0; i < COUNT; i++) {
    jobs[i].job = (struct tavi__job){.run = wait_at_gate, .done = done};
    tavi__work_add(m, &jobs[i].job);
  }
  pid_t child = fork();
  if (child == 0) {
    struct job last = {.job = {.run = run, .done = done}};
    m->is_forked = true;
    tavi__work_add(m, &last.job);
    tavi_manager_free(m);
    _exit(last.dones == 1 && pthread_equal(last.ran_on, pthread_self()) ? 0 : 1);
  }
  int status = -1;
  CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0);
  pthread_mutex_unlock(&gate);
  tavi_manager_free(m);
  CHECK_INT(told, COUNT);
}

struct kept {
  struct tavi__part part; /* first */
  int ends;
};

static void end_kept(struct tavi__part *part, struct tavi_manager *m) {
  CHECK(m != NULL);
  ((struct kept *) part)->ends++;
}

TEST(manager__parts_are_found_by_key__and_end_with_it) {
  struct tavi_manager *m = manager();
  static int key, other;
  struct kept first = {.part = {.key = &key, .end = end_kept}}, second = {.part = {.key = &other, .end = end_kept}};
  CHECK(tavi__manager_part(m, &key) == NULL);
  tavi__manager_add_part(m, &first.part);
  CHECK(tavi__manager_part(m, &key) == &first.part && tavi__manager_part(m, &other) == NULL);
  tavi__manager_add_part(m, &second.part);
  CHECK(tavi__manager_part(m, &key) == &first.part && tavi__manager_part(m, &other) == &second.part);
  tavi_manager_free(m);
  CHECK(first.ends == 1 && second.ends == 1);
}
