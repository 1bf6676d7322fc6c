#include "tests/unit/storage_fixture.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

TestSuite(vault, .timeout = 120);

Test(vault, path_of_a_blob_is_its_hex_under_its_first_byte)
{
    struct pv_id id, back;
    char path[PV_BLOB_PATH_LEN + 1];
    for (unsigned i = 0; i < PV_ID_LEN; i++)
        id.b[i] = (uint8_t)(0xab + i * 7);
    pv_blob_path(path, &id);
    cr_assert_str_eq(path, "blobs/ab/abb2b9c0c7ced5dce3eaf1f8ff060d141b222930373e454c535a61686f7"
                           "67d84");
    cr_assert_eq(strlen(path), PV_BLOB_PATH_LEN);
    cr_assert_eq(pv_blob_path_parse(&back, path + 9), PV_OK);
    cr_assert(pv_id_equal(&id, &back));
    memset(&id, 0, sizeof id);
    pv_blob_path(path, &id);
    cr_assert_eq(strspn(path + 6, "0"), 2);
    cr_assert_eq(strspn(path + 9, "0"), 64);
}

Test(vault, only_64_lower_case_digits_are_a_blobs_name)
{
    char name[70];
    struct pv_id id = {{77}};
    memset(name, 'a', sizeof name);
    name[64] = '\0';
    cr_assert_eq(pv_blob_path_parse(&id, name), PV_OK);
    for (size_t len = 0; len < 64; len++) {
        char kept = name[len];
        name[len] = '\0';
        cr_assert_eq(pv_blob_path_parse(&id, name), PV_E_INVALID);
        name[len] = kept;
    }
    name[64] = 'a';
    name[65] = '\0';
    cr_assert_eq(pv_blob_path_parse(&id, name), PV_E_INVALID);
    name[64] = '\0';
    const char bad[] = "ABCDEFgG/.~ \n-";
    for (size_t i = 0; bad[i] != '\0'; i++) {
        name[i] = bad[i];
        cr_assert_eq(pv_blob_path_parse(&id, name), PV_E_INVALID);
        name[i] = 'a';
    }
}

Test(vault, create_makes_parents_and_leaves_what_exists)
{
    struct pvt_tmpdir d;
    char path[400], file[500];
    struct stat st;
    struct pv_vault v;
    size_t fds = pvt_open_fds();
    pvt_tmpdir_init(&d);
    snprintf(path, sizeof path, "%s/a/b//c/", d.path);
    cr_assert_eq(pv_vault_open(&v, path, pv_fs_real()), PV_E_NOT_FOUND);
    cr_assert_eq(pv_vault_create(path, pv_fs_real()), PV_OK);
    snprintf(file, sizeof file, "%s/blobs/ff", path);
    cr_assert(stat(file, &st) == 0 && S_ISDIR(st.st_mode) && (st.st_mode & 0777) == 0700);
    snprintf(file, sizeof file, "%s/blobs/00/mine", path);
    close(open(file, O_CREAT | O_WRONLY, 0600));
    cr_assert_eq(pv_vault_create(path, pv_fs_real()), PV_OK);
    cr_assert_eq(access(file, F_OK), 0);
    cr_assert_eq(pv_vault_open(&v, path, pv_fs_real()), PV_OK);
    pv_vault_close(&v);
    pv_vault_close(&v); /* once more does nothing */
    pvt_tmpdir_release(&d);
    cr_assert_eq(pvt_open_fds(), fds);
}

Test(vault, create_takes_relative_paths_and_symbolic_links)
{
    struct pvt_tmpdir d;
    struct pv_vault v;
    pvt_tmpdir_init(&d);
    cr_assert_eq(chdir(d.path), 0);
    cr_assert_eq(pv_vault_create("", pv_fs_real()), PV_E_INVALID);
    cr_assert_eq(pv_vault_create("here/there", pv_fs_real()), PV_OK);
    cr_assert_eq(symlink("here/there", "link"), 0);
    cr_assert_eq(pv_vault_create("link", pv_fs_real()), PV_OK);
    cr_assert_eq(pv_vault_open(&v, "link", pv_fs_real()), PV_OK);
    pv_vault_close(&v);
    cr_assert_eq(chdir("/"), 0);
    pvt_tmpdir_release(&d);
}

Test(vault, a_folder_without_vault_folders_is_none)
{
    struct pvt_tmpdir d;
    struct pv_vault v;
    char path[400];
    pvt_tmpdir_init(&d);
    cr_assert_eq(pv_vault_open(&v, d.path, pv_fs_real()), PV_E_NOT_FOUND);
    cr_assert_eq(pv_vault_create(d.path, pv_fs_real()), PV_OK);
    snprintf(path, sizeof path, "%s/quarantine", d.path);
    cr_assert_eq(rmdir(path), 0);
    cr_assert_eq(pv_vault_open(&v, d.path, pv_fs_real()), PV_E_NOT_FOUND);
    close(open(path, O_CREAT | O_WRONLY, 0600)); /* a file of that name */
    cr_assert_eq(pv_vault_open(&v, d.path, pv_fs_real()), PV_E_NOT_FOUND);
    snprintf(path, sizeof path, "%s/quarantine/x", d.path);
    cr_assert_eq(pv_vault_create(path, pv_fs_real()), PV_E_NOT_FOUND); /* below a file */
    pvt_tmpdir_release(&d);
}

Test(vault, every_failing_call_of_create_is_reported)
{
    static const enum pvt_fs_call calls[] = {PVT_FS_OPEN, PVT_FS_SYNC, PVT_FS_MKDIR, PVT_FS_CLOSE};
    for (unsigned i = 0; i < PV_COUNT(calls); i++) {
        for (uint64_t n = 1;; n += n < 6 ? 1 : 100) {
            struct pvt_tmpdir d;
            struct pvt_faultfs f;
            char path[400];
            size_t fds = pvt_open_fds();
            pvt_tmpdir_init(&d);
            snprintf(path, sizeof path, "%s/x/y", d.path);
            pvt_faultfs_init(&f, pv_fs_real());
            pvt_faultfs_fail(&f, calls[i], n, PV_E_IO);
            enum pv_err err = pv_vault_create(path, &f.fs);
            bool fired = f.fired;
            cr_assert_eq(err, fired ? PV_E_IO : PV_OK);
            pvt_faultfs_heal(&f);
            cr_assert_eq(pv_vault_create(path, &f.fs), PV_OK); /* once more repairs it */
            pvt_faultfs_release(&f);
            pvt_tmpdir_release(&d);
            cr_assert_eq(pvt_open_fds(), fds);
            if (!fired)
                break;
        }
    }
}

Test(vault, the_lock_is_one_process_s_and_tells_its_pid)
{
    struct pvt_tmpdir d;
    struct pv_vault v;
    long pid = -1;
    int ready[2], over[2];
    char byte = 0;
    pvt_tmpdir_init(&d);
    cr_assert_eq(pv_vault_create(d.path, pv_fs_real()), PV_OK);
    cr_assert(pipe(ready) == 0 && pipe(over) == 0);
    pid_t child = fork();
    if (child == 0) {
        struct pv_vault theirs;
        if (pv_vault_open(&theirs, d.path, pv_fs_real()) != PV_OK ||
            pv_vault_lock(&theirs, &pid) != PV_OK || write(ready[1], "r", 1) != 1)
            _exit(1);
        ssize_t n = read(over[0], &byte, 1);
        _exit(n == 1 ? 0 : 1); /* the lock ends with the process */
    }
    cr_assert_eq(read(ready[0], &byte, 1), 1);
    cr_assert_eq(pv_vault_open(&v, d.path, pv_fs_real()), PV_OK);
    cr_assert_eq(pv_vault_lock(&v, &pid), PV_E_BUSY);
    cr_assert_eq(pid, child);
    cr_assert_eq(v.lock, PV_FD_NONE);
    cr_assert_eq(write(over[1], "o", 1), 1);
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    cr_assert_eq(pv_vault_lock(&v, &pid), PV_OK);
    pv_vault_close(&v);
    pvt_tmpdir_release(&d);
}

Test(vault, a_lock_file_with_junk_gives_no_pid)
{
    const char *const junk[] = {"", "abc\n", "-5\n", "12", "99999999999999999999999999\n"};
    struct pvt_tmpdir d;
    char path[400];
    pvt_tmpdir_init(&d);
    cr_assert_eq(pv_vault_create(d.path, pv_fs_real()), PV_OK);
    struct pv_vault mine, theirs;
    long pid;
    cr_assert_eq(pv_vault_open(&mine, d.path, pv_fs_real()), PV_OK);
    cr_assert_eq(pv_vault_open(&theirs, d.path, pv_fs_real()), PV_OK);
    cr_assert_eq(pv_vault_lock(&theirs, &pid), PV_OK);
    snprintf(path, sizeof path, "%s/lock", d.path);
    for (unsigned i = 0; i < PV_COUNT(junk); i++) {
        int fd = open(path, O_WRONLY | O_TRUNC);
        cr_assert_eq(write(fd, junk[i], strlen(junk[i])), (ssize_t)strlen(junk[i]));
        close(fd);
        pid = -1;
        cr_assert_eq(pv_vault_lock(&mine, &pid), PV_E_BUSY);
        cr_assert_eq(pid, 0, "%s", junk[i]);
    }
    pv_vault_close(&mine);
    pv_vault_close(&theirs);
    pvt_tmpdir_release(&d);
}
