/* SPDX-License-Identifier: MIT
 *
 * See work.h. One queue under one lock; threads are started while there are more jobs than idle threads, up to a few,
 * and then stay. What is done goes back through a second list, and the loop is woken as by a wakeup from a thread.
 *
 * One pool per manager, not per process: managers share nothing, and the end of one waits for its own jobs only. */
#include "loop/work.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#include "loop/log.h"
#include "loop/manager.h"
#include "os/sock.h"
#include "os/thread.h"
#include "os/wakefd.h"

struct job_list {
  struct tavi__job *first, **end;
};

struct tavi__work {
  struct tavi_manager *manager;
  pthread_mutex_t lock;
  pthread_cond_t has_job;
  struct job_list todo;  /* under lock */
  struct job_list later; /* under lock: the patient ones */
  struct job_list done;  /* under lock */
  unsigned todo_count;   /* under lock */
  unsigned later_count;  /* under lock */
  bool is_later_running; /* under lock: a patient one is */
  unsigned idle_count;   /* under lock: threads that wait */
  bool is_stopping;      /* under lock: threads end when there is nothing left to do */
  struct job_list ready; /* the loop's alone: of `done`, those whose turn it is */
  unsigned thread_count; /* the loop's alone */
  pthread_t threads[TAVI__WORK_THREADS];
};

static void list_init(struct job_list *l) {
  l->first = NULL;
  l->end = &l->first;
}

static void push(struct job_list *l, struct tavi__job *job) {
  job->next = NULL;
  *l->end = job;
  l->end = &job->next;
}

static struct tavi__job *pop(struct job_list *l) {
  struct tavi__job *job = l->first;
  if (job == NULL) return NULL;
  l->first = job->next;
  if (l->first == NULL) l->end = &l->first;
  return job;
}

static void append(struct job_list *to, struct job_list *from) {
  if (from->first == NULL) return;
  *to->end = from->first;
  to->end = from->end;
  list_init(from);
}

/* ==== the workers ==== */

static void run(struct tavi__work *w, struct tavi__job *job) {
  struct tavi_manager *m = w->manager;
  job->run(job);
  pthread_mutex_lock(&w->lock);
  push(&w->done, job);
  pthread_mutex_unlock(&w->lock);
  if (!atomic_exchange(&m->mail.is_raised, true)) tavi__wakefd_raise(m->wake.fd);
}

/* What is to be done next; NULL: nothing, or a patient one that has to wait for another. */
static struct tavi__job *next_job(struct tavi__work *w) {
  struct tavi__job *job = pop(&w->todo);
  if (job != NULL) {
    w->todo_count--;
  } else if (!w->is_later_running && (job = pop(&w->later)) != NULL) {
    w->later_count--;
    w->is_later_running = true;
  }
  return job;
}

static void *work(void *arg) {
  struct tavi__work *w = arg;
  pthread_mutex_lock(&w->lock);
  for (;;) {
    struct tavi__job *job = next_job(w);
    if (job == NULL) {
      if (w->is_stopping) break; /* (who runs a patient one goes on with the others) */
      w->idle_count++;
      pthread_cond_wait(&w->has_job, &w->lock);
      w->idle_count--;
      continue;
    }
    bool is_patient = job->is_patient;
    pthread_mutex_unlock(&w->lock);
    run(w, job);
    pthread_mutex_lock(&w->lock);
    if (is_patient) w->is_later_running = false; /* this thread is the one to look for the next */
  }
  pthread_mutex_unlock(&w->lock);
  return NULL;
}

/* ==== the loop's side ==== */

struct tavi__work *tavi__work_new(struct tavi_manager *m) {
  struct tavi__work *w = calloc(1, sizeof(*w));
  if (w == NULL) return NULL;
  if (pthread_mutex_init(&w->lock, NULL) != 0) {
    free(w);
    return NULL;
  }
  if (pthread_cond_init(&w->has_job, NULL) != 0) {
    pthread_mutex_destroy(&w->lock);
    free(w);
    return NULL;
  }
  w->manager = m;
  list_init(&w->todo);
  list_init(&w->later);
  list_init(&w->done);
  list_init(&w->ready);
  return w;
}

static void start_thread(struct tavi__work *w) {
  if (w->thread_count == TAVI__WORK_THREADS) return;
  int err = tavi__thread_start(&w->threads[w->thread_count], work, w);
  if (err == 0)
    w->thread_count++;
  else if (w->thread_count == 0)
    tavi__log(w->manager, TAVI_LOG_ERROR, "no thread for work that may block: %s; the loop does it",
              tavi_err_text(err));
}

void tavi__work_add(struct tavi_manager *m, struct tavi__job *job) {
  struct tavi__work *w = m->pool;
  if (m->process_id != tavi__process_id()) { /* forked: no threads, and one of them may have held the lock */
    job->run(job);
    job->done(job, m);
    return;
  }
  pthread_mutex_lock(&w->lock);
  bool wants_thread = w->todo_count + w->later_count >= w->idle_count;
  pthread_mutex_unlock(&w->lock);
  if (wants_thread) start_thread(w);
  if (w->thread_count == 0) {
    run(w, job);
    return;
  }
  pthread_mutex_lock(&w->lock);
  push(job->is_patient ? &w->later : &w->todo, job);
  (*(job->is_patient ? &w->later_count : &w->todo_count))++;
  pthread_cond_signal(&w->has_job);
  pthread_mutex_unlock(&w->lock);
}

unsigned tavi__work_patient_count(struct tavi_manager *m) {
  struct tavi__work *w = m->pool;
  pthread_mutex_lock(&w->lock);
  unsigned count = w->later_count;
  pthread_mutex_unlock(&w->lock);
  return count;
}

void tavi__work_serve(struct tavi_manager *m) {
  struct tavi__work *w = m->pool;
  struct tavi__job *job;
  pthread_mutex_lock(&w->lock);
  append(&w->ready, &w->done);
  pthread_mutex_unlock(&w->lock);
  while (!m->is_broken && (job = pop(&w->ready)) != NULL) {
    m->callbacks++;
    job->done(job, m);
  }
  if (w->ready.first != NULL) m->has_mail = true; /* a turn that was broken off: the next one goes on */
}

void tavi__work_finish(struct tavi_manager *m) {
  struct tavi__work *w = m->pool;
  struct tavi__job *job;
  /* In a forked child there are no threads, and the lock may be one that nobody will ever give back. */
  if (m->is_forked) return;

  do { /* done() may add jobs */
    pthread_mutex_lock(&w->lock);
    w->is_stopping = true;
    pthread_cond_broadcast(&w->has_job);
    pthread_mutex_unlock(&w->lock);
    while (w->thread_count > 0) tavi__thread_join(w->threads[--w->thread_count]);
    w->is_stopping = false;
    append(&w->ready, &w->done);
    while ((job = pop(&w->ready)) != NULL) job->done(job, m);
  } while (w->thread_count > 0 || w->done.first != NULL);
}

void tavi__work_free(struct tavi__work *w) {
  if (w == NULL) return;
  pthread_cond_destroy(&w->has_job);
  pthread_mutex_destroy(&w->lock);
  free(w);
}
