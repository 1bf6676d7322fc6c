/*
 * Words: names are settled, and compared, before anything is stored, because the second of two
 * equal names would take the first one's place without a word. Below a folder names cannot be
 * equal, so with -r it is enough that the folders' own differ.
 *
 * A list is read through a buffer of ours, not stdio: whoever writes it may take its time, and the
 * uploads under way must go on meanwhile.
 */
#include "cmd/peervault/store_source.h"
#include "cmd/peervault/name_set.h"
#include "cmd/peervault/output.h"
#include "cmd/peervault/folder.h"
#include "cmd/peervault/lines.h"
#include "crypto/body.h"
#include "internal/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

struct pv_store_source {
    const struct pv_args *args;
    bool is_recursive, is_list;
    /* words */
    char **names; /* of the words; NULL: none */
    size_t next;
    struct pv_folder *folder; /* of the folder words[next - 1] */
    struct pv_folder_avoid vault;
    char why[128];
    /* list */
    struct pv_lines *list;
    char name[PATH_MAX];
    struct pv_name_set seen;
};

const char *pv_base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

static bool is_stdin(const char *word)
{
    return strcmp(word, "-") == 0;
}

/* ---- options ---- */

static const char *contradiction(const struct pv_args *args)
{
    bool list = pv_args_has(args, "files-from"), recursive = pv_args_has(args, "recursive");
    const char *name = pv_args_value(args, "name");
    size_t stdins = 0;
    for (size_t i = 0; i < args->word_count; i++)
        stdins += is_stdin(args->words[i]) ? 1 : 0;
    if (list && (args->word_count > 0 || recursive))
        return "--files-from names all the files: give neither FILE nor -r";
    if (!list && args->word_count == 0)
        return "nothing to store: name a FILE, or - for standard input";
    if (!list && pv_args_has(args, "null"))
        return "--null is about the list of --files-from";
    if (name != NULL && (list || recursive))
        return "--name is for one file: not with -r or --files-from";
    if (name != NULL && strlen(name) > PV_NAME_MAX)
        return "--name: a name has at most 1024 bytes";
    if (recursive && stdins > 0)
        return "- is no folder: store standard input by itself";
    return stdins > 1 ? "standard input (-) is given twice" : NULL;
}

/* ---- names of words ---- */

static enum pv_exit name_folder(struct pv_store_source *s, size_t i)
{
    const char *word = s->args->words[i];
    enum pv_err err = pv_folder_name(&s->names[i], word);
    if (err == PV_E_NOMEM)
        return pv_out_no_memory();
    if (err == PV_OK && s->names[i][0] == '\0')
        return pv_out_fail(PV_EXIT_USAGE, "%s has no name: name the folders in it", word);
    return PV_EXIT_OK; /* not there: said when it is its turn */
}

static enum pv_exit name_word(struct pv_store_source *s, size_t i)
{
    struct stat st;
    const char *word = s->args->words[i], *name = pv_args_value(s->args, "name");
    if (s->is_recursive && stat(word, &st) == 0 && S_ISDIR(st.st_mode))
        return name_folder(s, i);
    if (name == NULL)
        name = is_stdin(word) ? "" : pv_base_name(word);
    if (name[0] == '\0')
        return PV_EXIT_OK; /* - has none; what ends with a slash will not be a regular file */
    s->names[i] = pv_strdup(name);
    return s->names[i] != NULL ? PV_EXIT_OK : pv_out_no_memory();
}

struct named {
    const char *name, *path;
};

static int by_name(const void *a, const void *b)
{
    const struct named *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static enum pv_exit check_names(const struct pv_store_source *s)
{
    size_t count = 0;
    PV_AUTO_FREE struct named *sorted = pv_calloc(s->args->word_count + 1, sizeof *sorted);
    if (sorted == NULL)
        return pv_out_no_memory();
    for (size_t i = 0; i < s->args->word_count; i++)
        if (s->names[i] != NULL)
            sorted[count++] = (struct named){s->names[i], s->args->words[i]};
    qsort(sorted, count, sizeof *sorted, by_name);
    for (size_t i = 1; i < count; i++)
        if (strcmp(sorted[i - 1].name, sorted[i].name) == 0)
            return pv_out_fail(PV_EXIT_USAGE,
                               "%s and %s would get the same name: store them one by one%s",
                               sorted[i - 1].path, sorted[i].path,
                               s->is_recursive ? "" : ", one of them with --name");
    return PV_EXIT_OK;
}

static enum pv_exit open_words(struct pv_store_source *s, const struct pv_cli *cli)
{
    struct stat st;
    enum pv_exit exit = PV_EXIT_OK;
    if (pv_args_value(s->args, "name") != NULL && s->args->word_count > 1)
        return pv_out_fail(PV_EXIT_USAGE, "--name is for one file: %zu are given",
                           s->args->word_count);
    s->names = pv_calloc(s->args->word_count, sizeof *s->names);
    if (s->names == NULL)
        return pv_out_no_memory();
    for (size_t i = 0; i < s->args->word_count && exit == PV_EXIT_OK; i++)
        exit = name_word(s, i);
    if (exit == PV_EXIT_OK)
        exit = check_names(s);
    if (cli->vault != NULL && stat(cli->vault, &st) == 0)
        s->vault = (struct pv_folder_avoid){st.st_dev, st.st_ino, true};
    return exit;
}

static enum pv_exit open_list(struct pv_store_source *s, const struct pv_cli *cli)
{
    const char *from = pv_args_value(s->args, "files-from");
    uint64_t seed;
    pv_env_random(&cli->env, &seed, sizeof seed);
    pv_name_set_init(&s->seen, seed);
    return pv_lines_open(&s->list, from, pv_args_has(s->args, "null") ? '\0' : '\n', PATH_MAX);
}

enum pv_exit pv_store_source_open(struct pv_store_source **out, const struct pv_cli *cli,
                                  const struct pv_args *args)
{
    const char *wrong = contradiction(args);
    if (wrong != NULL)
        return pv_out_fail(PV_EXIT_USAGE, "%s", wrong);
    struct pv_store_source *s = pv_calloc(1, sizeof *s);
    if (s == NULL)
        return pv_out_no_memory();
    s->args = args;
    s->is_recursive = pv_args_has(args, "recursive");
    s->is_list = pv_args_has(args, "files-from");
    enum pv_exit exit = s->is_list ? open_list(s, cli) : open_words(s, cli);
    if (exit == PV_EXIT_OK)
        *out = s;
    else
        pv_store_source_close(s);
    return exit;
}

void pv_store_source_close(struct pv_store_source *s)
{
    if (s == NULL)
        return;
    for (size_t i = 0; s->names != NULL && i < s->args->word_count; i++)
        pv_free(s->names[i]);
    pv_free(s->names);
    pv_folder_release(s->folder);
    pv_name_set_release(&s->seen);
    pv_lines_close(s->list);
    pv_free(s);
}

/* ---- the next word ---- */

static void refuse(struct pv_store_entry *entry, const char *path, enum pv_exit exit,
                   const char *why)
{
    *entry = (struct pv_store_entry){
        .kind = PV_STORE_REFUSED, .path = path, .dir = AT_FDCWD, .exit = exit, .why = why};
}

/* False: the folder is at its end. */
static bool next_below(struct pv_store_source *s, struct pv_store_entry *entry)
{
    static const enum pv_store_kind kinds[] = {
        [PV_FOLDER_FILE] = PV_STORE_FILE,
        [PV_FOLDER_SKIPPED] = PV_STORE_SKIPPED,
        [PV_FOLDER_FAILED] = PV_STORE_REFUSED,
    };
    struct pv_folder_entry e;
    pv_folder_next(s->folder, &e);
    if (e.kind == PV_FOLDER_END) {
        pv_folder_release(s->folder);
        s->folder = NULL;
        return false;
    }
    *entry = (struct pv_store_entry){.kind = kinds[e.kind],
                                     .path = e.path,
                                     .name = e.name,
                                     .dir = e.dir,
                                     .base = e.base,
                                     .no_links = true,
                                     .why = e.why,
                                     .exit = PV_EXIT_FAILED};
    return true;
}

static void next_word(struct pv_store_source *s, struct pv_store_entry *entry)
{
    const char *word = s->args->words[s->next], *name = s->names[s->next];
    struct stat st;
    s->next++;
    *entry = (struct pv_store_entry){.kind = is_stdin(word) ? PV_STORE_STDIN : PV_STORE_FILE,
                                     .path = word,
                                     .name = name,
                                     .dir = AT_FDCWD,
                                     .base = word};
    if (!s->is_recursive || name == NULL || stat(word, &st) != 0 || !S_ISDIR(st.st_mode))
        return;
    enum pv_err err = pv_folder_start(&s->folder, word, name, &s->vault);
    if (err == PV_E_IO)
        (void)snprintf(s->why, sizeof s->why, "cannot be opened: %s", strerror(errno));
    if (err != PV_OK)
        refuse(entry, word, PV_EXIT_FAILED, err == PV_E_IO ? s->why : pv_err_text(err));
}

static enum pv_store_step step_words(struct pv_store_source *s, struct pv_store_entry *entry)
{
    for (;;) {
        if (s->folder != NULL && next_below(s, entry))
            return PV_STORE_ENTRY;
        if (s->next == s->args->word_count)
            return PV_STORE_END;
        next_word(s, entry);
        if (s->folder == NULL)
            return PV_STORE_ENTRY;
    }
}

/* ---- the next line ---- */

enum pv_err pv_list_name(char *out, const char *path, size_t len)
{
    size_t used = 0;
    const char *end = path + len;
    while (path < end) {
        const char *slash = memchr(path, '/', (size_t)(end - path));
        size_t part = (size_t)((slash != NULL ? slash : end) - path);
        if (part == 2 && memcmp(path, "..", 2) == 0)
            return PV_E_INVALID;
        if (part > 0 && !(part == 1 && path[0] == '.')) {
            if (used > 0)
                out[used++] = '/';
            memcpy(out + used, path, part);
            used += part;
        }
        path += part + (slash != NULL ? 1 : 0);
    }
    out[used] = '\0';
    return used > 0 ? PV_OK : PV_E_INVALID;
}

/* What is wrong with a line; NULL: nothing, its name is in s->name. */
static const char *check_line(struct pv_store_source *s, const struct pv_line *line,
                              enum pv_exit *exit)
{
    *exit = PV_EXIT_FAILED;
    if (line->too_long)
        return "longer than a path can be";
    if (strlen(line->text) != line->len)
        return "has a NUL byte: is the list one of --null?";
    if (pv_list_name(s->name, line->text, line->len) != PV_OK)
        return "cannot be bound to its path: .. in it, or no file at all";
    if (strlen(s->name) > PV_NAME_MAX)
        return "its name would be longer than 1024 bytes";
    enum pv_err err = pv_name_set_add(&s->seen, s->name, strlen(s->name));
    if (err == PV_E_EXISTS)
        *exit = PV_EXIT_USAGE;
    return err == PV_OK         ? NULL
           : err == PV_E_EXISTS ? "an earlier line gets the same name: not stored again"
                                : pv_err_text(err);
}

static void use_line(struct pv_store_source *s, const struct pv_line *line,
                     struct pv_store_entry *entry)
{
    enum pv_exit exit;
    const char *wrong = check_line(s, line, &exit);
    *entry = (struct pv_store_entry){.kind = PV_STORE_FILE,
                                     .path = line->text,
                                     .name = s->name,
                                     .dir = AT_FDCWD,
                                     .base = line->text};
    if (wrong != NULL)
        refuse(entry, line->text, exit, wrong);
}

static enum pv_store_step step_list(struct pv_store_source *s, struct pv_store_entry *entry)
{
    struct pv_line line;
    switch (pv_lines_next(s->list, &line)) {
    case PV_LINES_LINE:
        use_line(s, &line, entry);
        return PV_STORE_ENTRY;
    case PV_LINES_FAILED:
        refuse(entry, pv_args_value(s->args, "files-from"), PV_EXIT_FAILED, line.text);
        return PV_STORE_ENTRY;
    case PV_LINES_QUIET:
        return PV_STORE_QUIET;
    case PV_LINES_END:
        break;
    }
    return PV_STORE_END;
}

enum pv_store_step pv_store_source_next(struct pv_store_source *s, struct pv_store_entry *entry)
{
    return s->is_list ? step_list(s, entry) : step_words(s, entry);
}

/* ---- what is known beforehand ---- */

int pv_store_source_fd(const struct pv_store_source *s)
{
    return s->list != NULL ? pv_lines_fd(s->list) : -1;
}

bool pv_store_source_is_bulk(const struct pv_store_source *s)
{
    return s->is_list || s->is_recursive;
}

uint64_t pv_store_source_bytes(const struct pv_store_source *s)
{
    uint64_t total = 0;
    struct stat st;
    for (size_t i = 0; !pv_store_source_is_bulk(s) && i < s->args->word_count; i++) {
        if (is_stdin(s->args->words[i]))
            return 0;
        if (stat(s->args->words[i], &st) == 0 && S_ISREG(st.st_mode))
            total += (uint64_t)st.st_size;
    }
    return total;
}
