/* What all targets share; see the header. */
#include "tests/fuzz/fuzz.h"
#include "crypto/hash.h"

#include <stdarg.h>
#include <stdio.h>

__attribute__((weak)) size_t __sanitizer_get_current_allocated_bytes(void);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    pv_crypto_init();
    return 0;
}

__attribute__((format(printf, 4, 5))) void plain_report(const char *file, int line,
                                                        const char *what, const char *format, ...)
{
    va_list args;
    fprintf(stderr, "%s:%d: wrong: %s ", file, line, what);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

void plain_stop(void)
{
    abort();
}

void pvf_folder_init(struct pvf_folder *f)
{
    f->disk = pvt_simfs_new();
    f->fs = pvt_simfs_fs(f->disk);
    cr_assert_eq(f->fs->mkdir(f->fs->ctx, PV_FD_NONE, "d"), PV_OK);
    cr_assert_eq(f->fs->open(f->fs->ctx, PV_FD_NONE, "d", PV_FS_READ | PV_FS_DIRECTORY, &f->dir),
                 PV_OK);
}

void pvf_folder_release(struct pvf_folder *f)
{
    cr_assert_eq(f->fs->close(f->fs->ctx, f->dir), PV_OK);
    cr_assert_eq(pvt_simfs_open_handles(f->disk), 0);
    pvt_simfs_free(f->disk);
}

void pvf_folder_put(struct pvf_folder *f, const char *name, const void *bytes, size_t len)
{
    pv_fd fd;
    int flags = PV_FS_WRITE | PV_FS_CREATE | PV_FS_TRUNCATE;
    cr_assert_eq(f->fs->open(f->fs->ctx, f->dir, name, flags, &fd), PV_OK);
    cr_assert_eq(f->fs->write(f->fs->ctx, fd, bytes, len, 0), PV_OK);
    cr_assert_eq(f->fs->close(f->fs->ctx, fd), PV_OK);
}

char *pvf_text(const uint8_t *bytes, size_t len)
{
    char *text = pv_malloc(len + 1);
    cr_assert_not_null(text);
    if (len > 0)
        memcpy(text, bytes, len);
    text[len] = '\0';
    return text;
}

size_t pvf_heap(void)
{
    return __sanitizer_get_current_allocated_bytes != NULL
               ? __sanitizer_get_current_allocated_bytes()
               : 0;
}
