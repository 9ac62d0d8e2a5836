/* Between the files of the test library. */
#ifndef PENSTOCK_TESTLIB_INTERNAL_H
#define PENSTOCK_TESTLIB_INTERNAL_H

#include "penstock/err.h"

void testlib__broken(const char *fmt, ...) PRINTF_LIKE(1, 2) __attribute__((noreturn));
void testlib__broken_with_log(const char *log_path, const char *what) __attribute__((noreturn));
void testlib__remove_tree(const char *path);

#endif
