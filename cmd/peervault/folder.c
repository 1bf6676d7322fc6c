/*
 * A stack of folders. Of each, a portion of its names is in memory: the PORTION smallest ones
 * behind the last one given. When they are used up and there were more, the folder is read again: a
 * folder of a million files costs sixty readings, which is little next to storing them, and needs
 * no more memory than one of PORTION.
 *
 * The last name given of every folder on the stack stands in the path itself. So a folder far up in
 * a deep tree can let go of its names and its descriptor: on the way back it is opened anew from
 * the first one, and must still be the same folder.
 */
#include "cmd/peervault/folder.h"
#include "crypto/body.h"
#include "internal/base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    PORTION = 16384,
    AWAKE = 8, /* folders with descriptor and names, but for the first one's descriptor */
    DEPTH_MAX = PV_NAME_MAX / 2 + 1,
    NAME_CAP = PV_NAME_MAX + NAME_MAX + 2,
    FOLDER_FLAGS = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
};

struct level {
    int fd; /* -1: it rests */
    dev_t dev;
    ino_t ino;
    size_t end;      /* of its own path in w->name, with the slash */
    size_t last_len; /* of the last name given, which stands there; 0: none was */
    char **names;    /* each behind one byte with its d_type; NULL: to be read */
    size_t count, at;
    bool more; /* behind those in names */
};

struct pv_folder {
    struct pv_folder_avoid avoid;
    struct level levels[DEPTH_MAX];
    size_t depth;
    char name[NAME_CAP];
    char path[PATH_MAX + NAME_CAP];
    size_t name_root, path_root; /* where in both the part begins that they have in common */
};

int pv_open_below(int root, const char *path, size_t path_len, int flags, bool make)
{
    char component[NAME_MAX + 1];
    int at = root;
    const char *end = path + path_len;
    while (path < end) {
        const char *slash = memchr(path, '/', (size_t)(end - path));
        size_t len = (size_t)((slash != NULL ? slash : end) - path);
        bool is_last = slash == NULL || slash + 1 == end;
        int next = -1;
        errno = ENAMETOOLONG;
        if (len <= NAME_MAX) {
            memcpy(component, path, len);
            component[len] = '\0';
            int how = (is_last ? flags : O_PATH) | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
            next = openat(at, component, how);
            if (next < 0 && errno == ENOENT && make &&
                (mkdirat(at, component, 0777) == 0 || errno == EEXIST))
                next = openat(at, component, how);
        }
        int error = errno;
        if (at != root)
            (void)close(at);
        errno = error;
        if (next < 0)
            return -1;
        at = next;
        path += len + (slash != NULL ? 1 : 0);
    }
    return at != root ? at : openat(root, ".", flags | O_DIRECTORY | O_CLOEXEC);
}

const char *pv_file_type_text(mode_t mode)
{
    if (S_ISDIR(mode))
        return "a folder";
    if (S_ISLNK(mode))
        return "a symbolic link";
    if (S_ISFIFO(mode))
        return "a pipe";
    return S_ISSOCK(mode) ? "a socket" : "a device";
}

enum pv_err pv_folder_name(char **out, const char *folder)
{
    char resolved[PATH_MAX];
    if (realpath(folder, resolved) == NULL)
        return PV_E_NOT_FOUND;
    *out = pv_strdup(strrchr(resolved, '/') + 1);
    return *out != NULL ? PV_OK : PV_E_NOMEM;
}

/* ---- the names of a folder ---- */

static int by_name(const void *a, const void *b)
{
    const char *const *x = a, *const *y = b;
    return strcmp(*x + 1, *y + 1);
}

static void names_cut(struct level *l, size_t count)
{
    while (l->count > count)
        pv_free(l->names[--l->count]);
}

static void names_drop(struct level *l)
{
    if (l->names == NULL)
        return;
    names_cut(l, 0);
    pv_free(l->names);
    l->names = NULL;
    l->at = 0;
}

static void names_sort(struct level *l)
{
    if (l->count > 0)
        qsort(l->names, l->count, sizeof *l->names, by_name);
    if (l->count > PORTION) {
        l->more = true;
        names_cut(l, PORTION);
    }
}

/* Keeps the name if it is among the smallest ones so far. False: out of memory. */
static bool names_add(struct level *l, const struct dirent *e)
{
    size_t len = strlen(e->d_name);
    if (l->more && strcmp(e->d_name, l->names[PORTION - 1] + 1) > 0)
        return true;
    char *name = pv_malloc(len + 2);
    if (name == NULL)
        return false;
    name[0] = (char)e->d_type;
    memcpy(name + 1, e->d_name, len + 1);
    l->names[l->count++] = name;
    if (l->count == (size_t)2 * PORTION)
        names_sort(l);
    return true;
}

/* The next portion. errno of what went wrong, 0. What was read before it went wrong is there all
 * the same; if names is NULL, nothing ever will be. */
static int read_names(const struct pv_folder *w, struct level *l)
{
    char after[NAME_MAX + 1];
    memcpy(after, w->name + l->end, l->last_len);
    after[l->last_len] = '\0';
    names_drop(l);
    l->more = false;
    l->names = pv_calloc((size_t)2 * PORTION, sizeof *l->names);
    if (l->names == NULL)
        return ENOMEM;
    int fd = openat(l->fd, ".", FOLDER_FLAGS); /* readdir has a descriptor of its own */
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (dir == NULL) {
        int error = errno;
        if (fd >= 0)
            (void)close(fd);
        return error;
    }
    const struct dirent *e;
    errno = 0;
    while ((e = readdir(dir)) != NULL) {
        bool is_self = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0;
        if (!is_self && strcmp(e->d_name, after) > 0 && !names_add(l, e)) {
            errno = ENOMEM;
            break;
        }
        errno = 0;
    }
    int error = errno;
    (void)closedir(dir);
    names_sort(l);
    return error;
}

/* ---- the stack ---- */

static void level_rest(struct level *l, bool keep_fd)
{
    names_drop(l);
    if (!keep_fd && l->fd >= 0) {
        (void)close(l->fd);
        l->fd = -1;
    }
}

static void pop(struct pv_folder *w)
{
    struct level *l = &w->levels[--w->depth];
    level_rest(l, false);
    w->name[l->end - 1] = '\0'; /* so that the path is that of the folder itself */
}

static bool is_avoided(const struct pv_folder *w, const struct stat *st)
{
    return w->avoid.is_set && st->st_dev == w->avoid.dev && st->st_ino == w->avoid.ino;
}

/* What the path in w->name is, as an entry. */
static void give(struct pv_folder *w, struct pv_folder_entry *entry, enum pv_folder_kind kind,
                 const char *why)
{
    size_t len = strlen(w->name);
    w->path[w->path_root - 1] = '\0'; /* the first folder itself */
    if (len >= w->name_root) {
        w->path[w->path_root - 1] = '/';
        memcpy(w->path + w->path_root, w->name + w->name_root, len - w->name_root + 1);
    }
    *entry = (struct pv_folder_entry){
        .kind = kind, .path = w->path, .name = w->name, .dir = -1, .why = why};
}

/* The same for the folder on the top, which is left if nothing of it can be read. */
static void give_failed_top(struct pv_folder *w, struct pv_folder_entry *entry, const char *why)
{
    const struct level *l = &w->levels[w->depth - 1];
    size_t slash = l->end - 1;
    w->name[slash] = '\0';
    give(w, entry, PV_FOLDER_FAILED, why);
    if (l->names == NULL)
        pop(w);
    else
        w->name[slash] = '/';
}

/* Goes into the folder fd, which is taken over. */
static void push(struct pv_folder *w, int fd, const struct stat *st)
{
    size_t len = strlen(w->name);
    w->levels[w->depth++] =
        (struct level){.fd = fd, .dev = st->st_dev, .ino = st->st_ino, .end = len + 1};
    memcpy(w->name + len, "/", 2);
    if (w->depth > AWAKE)
        level_rest(&w->levels[w->depth - 1 - AWAKE], w->depth - 1 == AWAKE);
}

/* A folder that rested. False: it is not where it was, and has left the stack. */
static bool wake(struct pv_folder *w, struct level *l, struct pv_folder_entry *entry)
{
    struct stat st;
    size_t from = w->levels[0].end;
    int fd = pv_open_below(w->levels[0].fd, w->name + from, l->end - from, O_RDONLY, false);
    if (fd >= 0 && fstat(fd, &st) == 0 && st.st_dev == l->dev && st.st_ino == l->ino) {
        l->fd = fd;
        return true;
    }
    if (fd >= 0)
        (void)close(fd);
    give_failed_top(w, entry, "was moved or removed while it was read: the rest of it is left out");
    return false;
}

/* ---- one step ---- */

/* True: the folder was entered. */
static bool enter(struct pv_folder *w, const struct level *l, struct pv_folder_entry *entry)
{
    struct stat st;
    if (strlen(w->name) + 2 > PV_NAME_MAX) {
        give(w, entry, PV_FOLDER_FAILED, "the names in it would be longer than 1024 bytes");
        return false;
    }
    int fd = openat(l->fd, w->name + l->end, FOLDER_FLAGS);
    if (fd >= 0 && fstat(fd, &st) == 0 && !is_avoided(w, &st)) {
        push(w, fd, &st);
        return true;
    }
    int error = errno;
    if (fd >= 0) {
        (void)close(fd);
        give(w, entry, PV_FOLDER_SKIPPED, "the vault itself");
    } else {
        give(w, entry, PV_FOLDER_FAILED, strerror(error));
    }
    return false;
}

static mode_t mode_of(unsigned char d_type)
{
    return DTTOIF((mode_t)d_type);
}

/* True: a folder was entered, and there is nothing to give yet. */
static bool look_at(struct pv_folder *w, struct level *l, unsigned char d_type,
                    struct pv_folder_entry *entry)
{
    struct stat st;
    const char *base = w->name + l->end;
    mode_t mode = mode_of(d_type);
    if (d_type == DT_UNKNOWN) {
        if (fstatat(l->fd, base, &st, AT_SYMLINK_NOFOLLOW) != 0) {
            give(w, entry, PV_FOLDER_FAILED, strerror(errno));
            return false;
        }
        mode = st.st_mode & S_IFMT;
    }
    if (S_ISDIR(mode))
        return enter(w, l, entry);
    if (!S_ISREG(mode)) {
        give(w, entry, PV_FOLDER_SKIPPED, pv_file_type_text(mode));
    } else if (strlen(w->name) > PV_NAME_MAX) {
        give(w, entry, PV_FOLDER_FAILED, "its name would be longer than 1024 bytes");
    } else {
        give(w, entry, PV_FOLDER_FILE, NULL);
        entry->dir = l->fd;
        entry->base = base;
    }
    return false;
}

void pv_folder_next(struct pv_folder *w, struct pv_folder_entry *entry)
{
    while (w->depth > 0) {
        struct level *l = &w->levels[w->depth - 1];
        int error = 0;
        if (l->fd < 0 && !wake(w, l, entry))
            return;
        if (l->names == NULL || (l->at == l->count && l->more))
            error = read_names(w, l);
        if (error != 0) {
            give_failed_top(w, entry, strerror(error));
            return;
        }
        if (l->at == l->count) {
            pop(w);
            continue;
        }
        const char *next = l->names[l->at++];
        l->last_len = strlen(next + 1);
        memcpy(w->name + l->end, next + 1, l->last_len + 1);
        if (!look_at(w, l, (unsigned char)next[0], entry))
            return;
    }
    *entry = (struct pv_folder_entry){.kind = PV_FOLDER_END, .dir = -1};
}

enum pv_err pv_folder_start(struct pv_folder **out, const char *folder, const char *name,
                            const struct pv_folder_avoid *avoid)
{
    struct stat st;
    size_t len = strlen(folder);
    while (len > 1 && folder[len - 1] == '/')
        len--;
    if (len >= PATH_MAX || strlen(name) > NAME_MAX)
        return PV_E_LIMIT;
    struct pv_folder *w = pv_calloc(1, sizeof *w);
    if (w == NULL)
        return PV_E_NOMEM;
    if (avoid != NULL)
        w->avoid = *avoid;
    memcpy(w->path, folder, len);
    memcpy(w->name, name, strlen(name));
    w->path_root = len + 1;
    w->name_root = strlen(name) + 1;
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        pv_free(w);
        return PV_E_IO;
    }
    struct level *l = &w->levels[w->depth++];
    *l = (struct level){.fd = fd, .dev = st.st_dev, .ino = st.st_ino, .end = w->name_root};
    w->name[w->name_root - 1] = '/';
    *out = w;
    return PV_OK;
}

void pv_folder_release(struct pv_folder *w)
{
    if (w == NULL)
        return;
    while (w->depth > 0)
        pop(w);
    pv_free(w);
}
