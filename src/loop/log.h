/* SPDX-License-Identifier: MIT
 *
 * One line to the manager's log hook. */
#ifndef TAVI_LOOP_LOG_H
#define TAVI_LOOP_LOG_H

#include "base/hint.h"
#include "tavi/log.h"

struct tavi_manager;

/* Lines longer than about 500 bytes are cut. Costs one comparison when the level is not wanted. */
void tavi__log(struct tavi_manager *m, enum tavi_log_level level, const char *format, ...) TAVI__COLD
    __attribute__((format(printf, 3, 4)));

#endif
