/* SPDX-License-Identifier: MIT
 *
 * Work that may block, for other threads: reading what the system does not have in memory, writing to disk, listing a
 * directory. A few threads per manager, started when there is work for the first time.
 *
 * A job is a struct of the caller's with this one in it. It is the worker's from tavi__work_add() until done() is
 * called: on the loop's thread, in a turn, exactly once for each job, also when the manager ends meanwhile. What a job
 * uses of a connection it knows by id. */
#ifndef TAVI_LOOP_WORK_H
#define TAVI_LOOP_WORK_H

#include <stdbool.h>

struct tavi_manager;

struct tavi__job {
  struct tavi__job *next;
  bool is_patient;                     /* it is only run when no other job waits, one of these at a time */
  void (*run)(struct tavi__job *job);  /* on another thread: touches the job alone */
  void (*done)(struct tavi__job *job, struct tavi_manager *m); /* on the loop's; the job is the caller's again */
};

/* Give a job to the workers; run and done are set. When no thread can be started at all it is run here and now, and
 * done() still comes in a turn. */
void tavi__work_add(struct tavi_manager *m, struct tavi__job *job);

/* How many patient jobs no worker has begun yet: who adds one for whatever a peer asks for has to have a maximum. */
unsigned tavi__work_patient_count(struct tavi_manager *m);

#endif
