/* SPDX-License-Identifier: MIT
 *
 * Bytes that nobody can guess. */
#ifndef TAVI_OS_ENTROPY_H
#define TAVI_OS_ENTROPY_H

#include <stddef.h>

/* Fill with random bytes of the system. Returns 0 or TAVI_E_SYSTEM. */
int tavi__entropy(void *to, size_t len);

#endif
