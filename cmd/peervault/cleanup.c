/* The function is set before the handlers are. */
#include "cmd/peervault/cleanup.h"
#include "internal/base/err.h"

#include <signal.h>
#include <stddef.h>

static void (*cleaner)(void);

static void on_signal(int signum)
{
    cleaner();
    (void)signal(signum, SIG_DFL);
    (void)raise(signum);
}

void pv_cleanup_on_signal(void (*clean)(void))
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    cleaner = clean;
    for (size_t i = 0; i < PV_COUNT(signals); i++)
        if (signal(signals[i], on_signal) == SIG_IGN)
            (void)signal(signals[i], SIG_IGN);
}
