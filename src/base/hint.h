/* SPDX-License-Identifier: MIT
 *
 * Hints to the compiler, which change nothing but the order and the place of machine code. Used where a measurement
 * has shown that the path of an ordinary request gets shorter by it, and nowhere else. */
#ifndef TAVI_BASE_HINT_H
#define TAVI_BASE_HINT_H

#if defined(__GNUC__)
#define TAVI__LIKELY(x) __builtin_expect(!!(x), 1)
#define TAVI__UNLIKELY(x) __builtin_expect(!!(x), 0)
/* A function for what hardly ever happens: it is not inlined, so its callers need no registers for it. */
#define TAVI__COLD __attribute__((cold, noinline))
/* A function for what happens, but not with every request: the same. */
#define TAVI__APART __attribute__((noinline))
/* A function of the path of an ordinary request that is called from two places: the compiler would not inline it. */
#define TAVI__HOT static inline __attribute__((always_inline))
#else
#define TAVI__LIKELY(x) (x)
#define TAVI__UNLIKELY(x) (x)
#define TAVI__COLD
#define TAVI__APART
#define TAVI__HOT static inline
#endif

#endif
