/* SPDX-License-Identifier: MIT
 *
 * From errno to our errors. Nothing outside of os/ sees an errno. */
#ifndef TAVI_OS_ERRORS_H
#define TAVI_OS_ERRORS_H

#include "tavi/base.h"

/* Not an error for the user: nothing can be done right now. Never leaves the library. */
#define TAVI__AGAIN (-1000)

/* TAVI__AGAIN for EAGAIN and EINTR, otherwise an enum tavi_err. */
int tavi__error_of(int system_errno);

#endif
