/* What a process needs before it runs a command. */
#include "cmd/peervault/run.h"
#include "crypto/hash.h"
#include "internal/base/mem.h"
#include "internal/confine/confine.h"

#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <unistd.h>

/*
 * A standard stream that the caller closed would be the number of the next file opened: `store -`
 * would read something else, and what is printed could go into the vault. It gets a descriptor that
 * can only be used the wrong way round, so that its use is an error as it should be.
 */
static void fill_standard_streams(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) == -1 &&
            open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
            _exit(PV_EXIT_FAILED);
}

int main(int argc, char **argv)
{
    pv_confine_no_dumps(); /* of secrets, which most commands come to hold */
    fill_standard_streams();
    /* A closed pipe is an error of the write that meets it, said in one line. */
    (void)signal(SIGPIPE, SIG_IGN);
    pv_crypto_init();
    json_set_alloc_funcs(pv_malloc, pv_free);
    return (int)pv_run(argc, argv);
}
