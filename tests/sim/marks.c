/* The marks of internal/base/sometimes.h, listed after a run. */
#include "tests/sim/sim.h"
#include "internal/base/sometimes.h"

#ifdef PV_MARKS
extern struct pv_sometimes __start_pv_marks[], __stop_pv_marks[]; /* the linker's */

unsigned sim_marks(bool print)
{
    unsigned missed = 0;
    for (struct pv_sometimes *m = __start_pv_marks; m < __stop_pv_marks; m++) {
        missed += m->hits == 0;
        if (print && m->hits == 0)
            printf("never: %s\n", m->text);
    }
    if (print)
        printf("marks: %u of %u were never hit\n", missed,
               (unsigned)(__stop_pv_marks - __start_pv_marks));
    return missed;
}
#else
unsigned sim_marks(bool print)
{
    if (print)
        printf("marks: this build has none\n");
    return 0;
}
#endif
