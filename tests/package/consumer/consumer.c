/* SPDX-License-Identifier: MIT
 *
 * usage: consumer VERSION
 * Says whether the headers, the library and the package files are of the same version. */
#include <stdio.h>
#include <string.h>
#include <tavi.h>

int main(int argc, char **argv) {
  if (argc != 2 || strcmp(argv[1], TAVI_VERSION) != 0 || strcmp(tavi_version(), TAVI_VERSION) != 0) {
    fprintf(stderr, "headers %s, library %s, package %s\n", TAVI_VERSION, tavi_version(), argc == 2 ? argv[1] : "?");
    return 1;
  }

  return 0;
}
