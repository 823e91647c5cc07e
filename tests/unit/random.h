/* SPDX-License-Identifier: MIT
 *
 * Numbers that look random and are the same in every run (xorshift64*), for tests against a model. */
#ifndef TAVI_TESTS_UNIT_RANDOM_H
#define TAVI_TESTS_UNIT_RANDOM_H

#include <stdint.h>

static uint64_t random_state = UINT64_C(0x9E3779B97F4A7C15);

__attribute__((unused)) static void random_seed(uint64_t seed) {
  random_state = (seed + 1) * UINT64_C(0x9E3779B97F4A7C15);
}

__attribute__((unused)) static uint64_t random_next(void) {
  random_state ^= random_state >> 12;
  random_state ^= random_state << 25;
  random_state ^= random_state >> 27;
  return random_state * UINT64_C(0x2545F4914F6CDD1D);
}

/* 0 .. end-1 */
__attribute__((unused)) static uint64_t random_below(uint64_t end) {
  return (random_next() >> 11) % end;
}

#endif
