/*
 * Keeps a unit program from hanging before a test begins. Criterion's runner has threads, and forks
 * and then executes itself for each test. GCC 12's AddressSanitizer does not protect its
 * allocator's locks over fork, so now and then (seen once in some thousand tests) the child waits
 * for ever for a lock that no longer has an owner, where no timeout of a test runs yet. An alarm
 * set at the fork and cleared after the execution ends such a child; the runner then gives up
 * saying "Could not spawn test instance", and tests/run-unit starts it again.
 */
#include <pthread.h>
#include <string.h>
#include <unistd.h>

enum { SPAWN_SECONDS_MAX = 10 };

static void arm(void)
{
    alarm(SPAWN_SECONDS_MAX);
}

__attribute__((constructor)) static void guard(int argc, char **argv)
{
    if (argc > 0 && strcmp(argv[0], "boxfort-worker") == 0)
        alarm(0); /* the test's own process; what it forks is its own business */
    else
        pthread_atfork(NULL, NULL, arm);
}
