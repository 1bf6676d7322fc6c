#include "internal/upkeep/pace.h"

void pv_pace_begin(struct pv_pace *p)
{
    p->began_ms = pv_env_mono_ms(p->files->config.env);
}

static void fire(struct pv_timer *timer)
{
    struct pv_pace *p = PV_CONTAINER_OF(timer, struct pv_pace, timer);
    p->go(p);
}

void pv_pace_wait(struct pv_pace *p, void (*go)(struct pv_pace *p))
{
    p->go = go;
    if (p->rests == 0) {
        go(p);
        return;
    }
    uint64_t now_ms = pv_env_mono_ms(p->files->config.env);
    uint64_t took_ms = now_ms - p->began_ms;
    p->timer.fire = fire;
    pv_timer_arm(&p->files->timers, &p->timer, now_ms + p->rests * (took_ms > 0 ? took_ms : 1));
}

void pv_pace_cancel(struct pv_pace *p)
{
    pv_timer_disarm(&p->timer);
}
