/*
 * Calls that must not appear in the project, made compile errors. Included by the compiler on the
 * command line (-include) for every file but mem.c, whose job they are, and the tests.
 */
#ifndef PV_BASE_BANNED_H
#define PV_BASE_BANNED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#undef alloca /* glibc makes it a macro, and the function behind it is poisoned just as well */
#pragma GCC poison malloc calloc realloc free strdup strndup alloca
#pragma GCC poison strcpy strcat sprintf vsprintf strtok gets gmtime localtime ctime

/* Not poisoned, because OpenSSL's headers have parameters of that name: an error where called. */
int rand(void) __attribute__((error("banned: use pv_env_random")));
void srand(unsigned seed) __attribute__((error("banned: use pv_env_random")));

#endif
