/* SPDX-License-Identifier: MIT
 *
 * The library never prints. It hands each line to a hook of the manager, which may be absent. */
#ifndef TAVI_LOG_H
#define TAVI_LOG_H

#include "tavi/base.h"

TAVI_BEGIN_DECLS

enum tavi_log_level {
  TAVI_LOG_NONE = 0,
  TAVI_LOG_ERROR = 1,  /* something an operator should look at: out of descriptors, out of memory */
  TAVI_LOG_INFO = 2,   /* rare events of normal life: a listener opened, descriptors are back */
  TAVI_LOG_DEBUG = 3   /* one line per connection or per refused message */
};

/* Takes one line without a line end; `text` is borrowed until the hook returns. The hook runs on the loop's thread,
 * possibly in the middle of a call into the library, and must not call back into it. */
typedef void (*tavi_log_fn)(enum tavi_log_level level, const char *text, void *user);

TAVI_END_DECLS

#endif
