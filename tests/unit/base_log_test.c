#include "internal/base/log.h"
#include "internal/base/limits.h"
#include "internal/base/mem.h"
#include "tests/support/support.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <string.h>
#include <unistd.h>

TestSuite(log, .timeout = 10);

static uint64_t fixed_clock(void *ctx)
{
    return *(uint64_t *)ctx;
}

static uint64_t day = 1769860800123; /* 2026-01-31T12:00:00.123Z */

static void init(struct pvt_log *l, bool json)
{
    pvt_log_init(l, json);
    pv_log_set_clock(l->log, fixed_clock, &day);
}

Test(log, a_line_reads_as_documented)
{
    static struct pvt_log l;
    init(&l, false);
    PV_LOG(l.log, PV_LOG_WARN, PV_SUB_SESSION, "handshake refused", "peer", "[::1]:4711", "cause",
           "wrong token");
    cr_assert_str_eq(l.text, "2026-01-31T12:00:00.123Z warn session \"handshake refused\" "
                             "peer=[::1]:4711 cause=\"wrong token\"\n");
    pvt_log_clear(&l);
    PV_LOG(l.log, PV_LOG_ERROR, PV_SUB_CONTROL, "started");
    cr_assert_str_eq(l.text, "2026-01-31T12:00:00.123Z error control started\n");
    pvt_log_release(&l);
}

Test(log, json_is_one_object_a_line)
{
    static struct pvt_log l;
    init(&l, true);
    PV_LOG(l.log, PV_LOG_INFO, PV_SUB_STORE, "blob \"lost\"", "id", "ab\\cd", "none", NULL);
    cr_assert_str_eq(l.text, "{\"time\":\"2026-01-31T12:00:00.123Z\",\"level\":\"info\","
                             "\"sub\":\"store\",\"event\":\"blob \\\"lost\\\"\","
                             "\"id\":\"ab\\\\cd\",\"none\":\"-\"}\n");
    pvt_log_release(&l);
}

Test(log, values_cannot_forge_a_line)
{
    static struct pvt_log l;
    init(&l, false);
    PV_LOG(l.log, PV_LOG_INFO, PV_SUB_TCP, "e", "a", "x\ny=z", "b", "\x1b[31m\x7f", "c",
           "quo\"te\\", "d", "", "e", "k=v", "f", "\xc3\xa9", "g", NULL, "h", "plain");
    cr_assert_not_null(strstr(l.text, " a=\"x\\x0ay=z\" b=\"\\x1b[31m\\x7f\" c=\"quo\\\"te\\\\\" "
                                      "d=\"\" e=\"k=v\" f=\"\\xc3\\xa9\" g=- h=plain\n"));
    cr_assert_eq(l.lines, 1);
    cr_assert_eq(strchr(l.text, '\n'), l.text + l.len - 1);
    pvt_log_release(&l);
}

Test(log, every_byte_is_valid_json)
{
    static struct pvt_log l;
    init(&l, true);
    for (int c = 1; c < 256; c++) {
        char value[] = {'<', (char)c, '>', '\0'};
        pvt_log_clear(&l);
        PV_LOG(l.log, PV_LOG_INFO, PV_SUB_TCP, "e", "v", value);
        json_t *line = json_loads(l.text, 0, NULL);
        cr_assert_not_null(line, "byte %d", c);
        size_t len = json_string_length(json_object_get(line, "v"));
        cr_assert_eq(len, c < 128 ? 3 : 4); /* the code point of that number, in UTF-8 */
        json_decref(line);
    }
    pvt_log_release(&l);
}

Test(log, values_are_cut_at_256_bytes)
{
    static struct pvt_log l;
    char value[400];
    init(&l, false);
    for (size_t len = 250; len < 260; len++) {
        memset(value, 'v', len);
        value[len] = '\0';
        pvt_log_clear(&l);
        PV_LOG(l.log, PV_LOG_INFO, PV_SUB_FILE, "e", "k", value);
        const char *got = strstr(l.text, "k=") + 2;
        cr_assert_eq(strspn(got, "v"), len < 256 ? len : 256);
        cr_assert_str_eq(got + strspn(got, "v"), len <= 256 ? "\n" : "...\n");
    }
    pvt_log_release(&l);
}

Test(log, a_line_that_is_too_long_drops_whole_pairs_and_says_so)
{
    static struct pvt_log l;
    char wild[257];
    memset(wild, 1, 256); /* the worst case: six bytes each in JSON, four otherwise */
    wild[256] = '\0';
    for (int json = 0; json < 2; json++) {
        init(&l, json != 0);
        PV_LOG(l.log, PV_LOG_INFO, PV_SUB_FILE, wild, "a", wild, "b", wild, "c", wild, "d", wild);
        cr_assert_leq(l.len, 4096);
        cr_assert(pvt_log_has(&l, json != 0 ? ",\"cut\":\"yes\"}\n" : " cut=yes\n"));
        cr_assert_not(pvt_log_has(&l, json != 0 ? "\"d\"" : " d="));
        json_t *line = json != 0 ? json_loads(l.text, 0, NULL) : json_null();
        cr_assert_not_null(line);
        json_decref(line);
        pvt_log_release(&l);
    }
}

Test(log, levels_are_set_for_all_and_for_one)
{
    struct pv_log *log;
    cr_assert_eq(pv_log_new_fd(&log, -1, false), PV_OK);
    cr_assert(pv_log_enabled(log, PV_LOG_INFO, PV_SUB_MAIN)); /* the default */
    cr_assert_not(pv_log_enabled(log, PV_LOG_DEBUG, PV_SUB_MAIN));

    cr_assert_eq(pv_log_set_levels(log, "warn,session=debug,store=error"), PV_OK);
    cr_assert(pv_log_enabled(log, PV_LOG_WARN, PV_SUB_MAIN));
    cr_assert_not(pv_log_enabled(log, PV_LOG_INFO, PV_SUB_MAIN));
    cr_assert(pv_log_enabled(log, PV_LOG_DEBUG, PV_SUB_SESSION));
    cr_assert(pv_log_enabled(log, PV_LOG_ERROR, PV_SUB_STORE));
    cr_assert_not(pv_log_enabled(log, PV_LOG_WARN, PV_SUB_STORE));

    cr_assert_eq(pv_log_set_levels(log, "tcp=debug"), PV_OK);
    cr_assert(pv_log_enabled(log, PV_LOG_DEBUG, PV_SUB_TCP));
    cr_assert(pv_log_enabled(log, PV_LOG_DEBUG, PV_SUB_SESSION));
    cr_assert_eq(pv_log_set_levels(log, "debug"), PV_OK);
    for (int sub = 0; sub < PV_SUB_COUNT; sub++)
        cr_assert(pv_log_enabled(log, PV_LOG_DEBUG, (enum pv_log_sub)sub));
    pv_log_free(log);
}

Test(log, bad_level_specs_change_nothing)
{
    static const char *const bad[] = {
        "",
        ",",
        "loud",
        "INFO",
        "error,",
        ",error",
        "info,,debug",
        "main=",
        "=debug",
        "main=loud",
        "nobody=info",
        "main=info=debug",
        "info ",
        "main = info",
        "inf",
        "infoo",
        "error,x=debug",
    };
    struct pv_log *log;
    cr_assert_eq(pv_log_new_fd(&log, -1, false), PV_OK);
    for (size_t i = 0; i < PV_COUNT(bad); i++) {
        cr_assert_eq(pv_log_set_levels(log, bad[i]), PV_E_INVALID, "'%s'", bad[i]);
        cr_assert(pv_log_enabled(log, PV_LOG_INFO, PV_SUB_MAIN));
        cr_assert_not(pv_log_enabled(log, PV_LOG_DEBUG, PV_SUB_MAIN));
    }
    pv_log_free(log);
}

Test(log, quiet_levels_write_and_evaluate_nothing)
{
    static struct pvt_log l;
    int evaluated = 0;
    init(&l, false);
    cr_assert_eq(pv_log_set_levels(l.log, "error"), PV_OK);
    PV_LOG(l.log, PV_LOG_WARN, PV_SUB_MAIN, "e", "k", (evaluated++, "v"));
    pv_log_write(l.log, PV_LOG_WARN, PV_SUB_MAIN, "e", "k", "v", (char *)NULL);
    PV_LOG(NULL, PV_LOG_ERROR, PV_SUB_MAIN, "e", "k", (evaluated++, "v"));
    pv_log_write(NULL, PV_LOG_ERROR, PV_SUB_MAIN, "e", (char *)NULL);
    cr_assert_eq(evaluated, 0);
    cr_assert_eq(l.lines, 0);
    pvt_log_release(&l);
    pv_log_free(NULL);
}

Test(log, a_descriptor_gets_the_line_and_the_real_time)
{
    struct pv_log *log;
    int ends[2];
    char text[256] = {0};
    cr_assert_eq(pipe(ends), 0);
    cr_assert_eq(pv_log_new_fd(&log, ends[1], false), PV_OK);
    PV_LOG(log, PV_LOG_INFO, PV_SUB_MAIN, "ready", "port", pv_log_u64(3000));
    cr_assert_gt(read(ends[0], text, sizeof text - 1), 0);
    cr_assert_eq(text[0], '2');
    cr_assert_str_eq(strchr(text, 'Z'), "Z info main ready port=3000\n");
    cr_assert_eq(text[23], 'Z');
    pv_log_free(log);
    close(ends[0]);
    close(ends[1]);
}

Test(log, a_dead_descriptor_is_ignored)
{
    struct pv_log *log;
    cr_assert_eq(pv_log_new_fd(&log, -1, true), PV_OK);
    PV_LOG(log, PV_LOG_ERROR, PV_SUB_MAIN, "nobody hears this");
    pv_log_free(log);
}

Test(log, eight_numbers_live_side_by_side)
{
    const char *text[8];
    static const uint8_t id[32] = {0x0a, 0xbc, 0xde, 0xff, 0x11};
    for (uint64_t i = 0; i < 8; i++)
        text[i] = i == 5 ? pv_log_id(id) : pv_log_u64(i == 7 ? UINT64_MAX : i);
    for (size_t i = 0; i < 5; i++)
        cr_assert(text[i][0] == '0' + (char)i && text[i][1] == '\0');
    cr_assert_str_eq(text[5], "0abcdeff");
    cr_assert_str_eq(text[7], "18446744073709551615");
}

Test(log, out_of_memory_is_reported)
{
    struct pv_log *log = NULL;
    pv_mem_fail_after(0);
    cr_assert_eq(pv_log_new_fd(&log, 1, false), PV_E_NOMEM);
    cr_assert_null(log);
}

static size_t limited(struct pvt_log *l, size_t count, const char *peer)
{
    size_t before = l->lines;
    for (size_t i = 0; i < count; i++)
        PV_LOG_LIMITED(l->log, PV_LOG_WARN, PV_SUB_SESSION, "refused", "peer", peer);
    return l->lines - before;
}

Test(log, what_strangers_cause_is_limited)
{
    static struct pvt_log l;
    uint64_t clock = day;
    pvt_log_init(&l, false);
    pv_log_set_clock(l.log, fixed_clock, &clock);
    cr_expect_eq(limited(&l, 100000, "x"), PV_LOG_BURST);
    clock += 999;
    cr_expect_eq(limited(&l, 1, "x"), 0);
    clock += 1;
    pvt_log_clear(&l);
    cr_expect_eq(limited(&l, 10, "y"), 2, "one, and how many were left out before it");
    cr_expect(pvt_log_has(&l, "\"lines like the next were left out\" count=99951\n"));
    cr_expect(pvt_log_has(&l, "refused peer=y\n"));
    size_t before = l.lines;
    PV_LOG(l.log, PV_LOG_WARN, PV_SUB_SESSION, "other lines pass");
    PV_LOG_LIMITED(l.log, PV_LOG_WARN, PV_SUB_NODE, "so do other subsystems");
    cr_expect_eq(l.lines - before, 2);
    clock += 10000;
    cr_expect_eq(limited(&l, 1000, "x"), 11);
    clock += 86400000;
    cr_expect_eq(limited(&l, 1000, "x"), PV_LOG_BURST + 1);
    clock -= 365 * UINT64_C(86400000); /* set back by a year */
    cr_expect_eq(limited(&l, 1000, "x"), PV_LOG_BURST + 1);
    PV_LOG_LIMITED(l.log, PV_LOG_DEBUG, PV_SUB_SESSION, "quiet levels cost nothing");
    PV_LOG_LIMITED((struct pv_log *)NULL, PV_LOG_ERROR, PV_SUB_SESSION, "nothing");
    pvt_log_release(&l);
}
