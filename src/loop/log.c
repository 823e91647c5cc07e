/* SPDX-License-Identifier: MIT
 *
 * See log.h. */
#include "loop/log.h"

#include <stdarg.h>
#include <stdio.h>

#include "loop/manager.h"

void tavi__log(struct tavi_manager *m, enum tavi_log_level level, const char *format, ...) {
  if (m->opts.log == NULL || level > m->opts.log_level) return;

  char line[512];
  va_list args;
  va_start(args, format);
  vsnprintf(line, sizeof(line), format, args);
  va_end(args);
  m->opts.log(level, line, m->opts.log_user);
}
