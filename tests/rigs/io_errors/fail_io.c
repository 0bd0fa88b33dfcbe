/* Lets the k-th I/O call below a folder fail.

   FAIL_IO_FOLDER names the folder, and FAIL_IO_PLAN a file with `struct plan`, shared by the rig and
   its child processes. So one process can be driven through each k without a restart. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { SHORT_WRITE = -1 };

struct plan {
    int64_t failing; /* the number of the call that fails; 0: none */
    int64_t how;     /* an errno, or SHORT_WRITE, which counts writes alone */
    int64_t calls, writes;
    char name[16];   /* the call that failed; empty: none has */
    char path[488];  /* its path */
};

static struct plan *plan;
static const char *folder;
static size_t length;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("FAIL_IO_PLAN");
    folder = getenv("FAIL_IO_FOLDER");
    if (!path || !folder) return;
    length = strlen(folder);
    int file = open(path, O_RDWR | O_CLOEXEC);
    void *shared = mmap(NULL, sizeof *plan, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (shared != MAP_FAILED) plan = shared;
}

/* Counts a call below the folder, and tells whether it is the one that fails. */
static int is_next(const char *name, const char *path, int is_write) {
    if (strncmp(path, folder, length)) return 0;
    int64_t call = __atomic_add_fetch(&plan->calls, 1, __ATOMIC_SEQ_CST);
    int64_t written = __atomic_add_fetch(&plan->writes, is_write, __ATOMIC_SEQ_CST);
    if (plan->how == SHORT_WRITE ? !is_write || written != plan->failing : call != plan->failing)
        return 0;
    snprintf(plan->path, sizeof plan->path, "%s", path);
    snprintf(plan->name, sizeof plan->name, "%s", name);
    return 1;
}

static int path_of(int file, char *path) {
    char link[64];
    int before = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t size = readlink(link, path, PATH_MAX - 1);
    errno = before;
    if (size < 0) return 0;
    path[size] = 0;
    return 1;
}

static int file_is_next(const char *name, int file, int is_write) {
    char path[PATH_MAX];
    return plan && path_of(file, path) && is_next(name, path, is_write);
}

/* `at` is the folder of a relative path, as in `openat`. */
static int path_is_next(const char *name, int at, const char *path) {
    char joined[2 * PATH_MAX];
    if (!plan || !path) return 0;
    if (*path == '/' || at == AT_FDCWD) return is_next(name, path, 0);
    if (!path_of(at, joined)) return 0;
    strncat(strcat(joined, "/"), path, PATH_MAX - 1);
    return is_next(name, joined, 0);
}

static int error(void) {
    errno = plan->how < 0 ? EIO : (int)plan->how;
    return -1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define OPEN(name, at, parameters, call)                                        \
    int name parameters {                                                       \
        mode_t mode = 0;                                                        \
        if (flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE) {              \
            va_list rest;                                                       \
            va_start(rest, flags);                                              \
            mode = va_arg(rest, mode_t);                                        \
            va_end(rest);                                                       \
        }                                                                       \
        return path_is_next("open", at, path) ? error() : REAL(name) call;      \
    }
OPEN(open, AT_FDCWD, (const char *path, int flags, ...), (path, flags, mode))
OPEN(open64, AT_FDCWD, (const char *path, int flags, ...), (path, flags, mode))
OPEN(openat, at, (int at, const char *path, int flags, ...), (at, path, flags, mode))
OPEN(openat64, at, (int at, const char *path, int flags, ...), (at, path, flags, mode))

/* A short write stores half, as a disk does that becomes full. */
#define WRITE(name, parameters, call, short_call)                               \
    ssize_t name parameters {                                                   \
        if (!file_is_next("write", file, 1)) return REAL(name) call;            \
        return plan->how < 0 ? REAL(name) short_call : error();                 \
    }
WRITE(write, (int file, const void *data, size_t size), (file, data, size), (file, data, size / 2))
WRITE(pwrite, (int file, const void *data, size_t size, off_t at), (file, data, size, at),
      (file, data, size / 2, at))
WRITE(pwrite64, (int file, const void *data, size_t size, off64_t at), (file, data, size, at),
      (file, data, size / 2, at))
WRITE(writev, (int file, const struct iovec *parts, int count), (file, parts, count),
      (file, parts, (count + 1) / 2))
WRITE(pwritev, (int file, const struct iovec *parts, int count, off_t at),
      (file, parts, count, at), (file, parts, (count + 1) / 2, at))
WRITE(pwritev64, (int file, const struct iovec *parts, int count, off64_t at),
      (file, parts, count, at), (file, parts, (count + 1) / 2, at))
WRITE(sendfile, (int file, int from, off_t *at, size_t size), (file, from, at, size),
      (file, from, at, size / 2))
WRITE(sendfile64, (int file, int from, off64_t *at, size_t size), (file, from, at, size),
      (file, from, at, size / 2))
WRITE(copy_file_range,
      (int from, off64_t *start, int file, off64_t *at, size_t size, unsigned int flags),
      (from, start, file, at, size, flags), (from, start, file, at, size / 2, flags))

#define FILE_CALL(kind, name, parameters, call)                                 \
    int name parameters { return file_is_next(kind, file, 0) ? error() : REAL(name) call; }
FILE_CALL("fsync", fsync, (int file), (file))
FILE_CALL("fsync", fdatasync, (int file), (file))
FILE_CALL("ftruncate", ftruncate, (int file, off_t size), (file, size))
FILE_CALL("ftruncate", ftruncate64, (int file, off64_t size), (file, size))
FILE_CALL("chmod", fchmod, (int file, mode_t mode), (file, mode))

#define PATH_CALL(kind, name, at, parameters, call)                             \
    int name parameters { return path_is_next(kind, at, path) ? error() : REAL(name) call; }
PATH_CALL("rename", rename, AT_FDCWD, (const char *path, const char *target), (path, target))
PATH_CALL("rename", renameat, at, (int at, const char *path, int to, const char *target),
          (at, path, to, target))
PATH_CALL("rename", renameat2, at,
          (int at, const char *path, int to, const char *target, unsigned int flags),
          (at, path, to, target, flags))
PATH_CALL("mkdir", mkdir, AT_FDCWD, (const char *path, mode_t mode), (path, mode))
PATH_CALL("mkdir", mkdirat, at, (int at, const char *path, mode_t mode), (at, path, mode))
PATH_CALL("unlink", unlink, AT_FDCWD, (const char *path), (path))
PATH_CALL("unlink", unlinkat, at, (int at, const char *path, int flags), (at, path, flags))
PATH_CALL("unlink", rmdir, AT_FDCWD, (const char *path), (path))
PATH_CALL("chmod", chmod, AT_FDCWD, (const char *path, mode_t mode), (path, mode))
PATH_CALL("chmod", fchmodat, at, (int at, const char *path, mode_t mode, int flags),
          (at, path, mode, flags))
