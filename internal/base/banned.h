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

#pragma GCC poison malloc calloc realloc free strdup strndup alloca
#pragma GCC poison strcpy strcat sprintf vsprintf strtok gets gmtime localtime ctime rand srand

#endif
