/* Lets the k-th I/O call below a folder fail.

   FAIL_IO_FOLDER names the folder, and FAIL_IO_PLAN a file of three 64-bit numbers, shared with the
   test: the call that fails (0: none), what happens to it (an errno, or -1 for a short write), and
   the calls so far. So one process can be driven through each k without a restart. */
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
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { FAILING, HOW, COUNT };
static volatile int64_t *plan;
static const char *folder;
static size_t length;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("FAIL_IO_PLAN");
    folder = getenv("FAIL_IO_FOLDER");
    if (!path || !folder) return;
    length = strlen(folder);
    int file = open(path, O_RDWR | O_CLOEXEC);
    void *shared = mmap(NULL, 3 * sizeof(int64_t), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (shared != MAP_FAILED) plan = shared;
}

/* Counts a call, and tells whether it is the one that fails. */
static int fails(void) {
    return __atomic_add_fetch(&plan[COUNT], 1, __ATOMIC_SEQ_CST) == plan[FAILING];
}

static int is_below(const char *path) { return !strncmp(path, folder, length); }

static int path_fails(const char *path) {
    if (!plan || !path || !is_below(path) || !fails()) return 0;
    errno = plan[HOW] < 0 ? EIO : (int)plan[HOW];
    return 1;
}

static int file_fails(int file) {
    if (!plan) return 0;
    int before = errno;
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t size = readlink(link, path, sizeof path - 1);
    errno = before;
    if (size < 0) return 0;
    path[size] = 0;
    return is_below(path) && fails();
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define OPEN(name, parameters, call)                       \
    int name parameters {                                  \
        mode_t mode = 0;                                   \
        if (flags & (O_CREAT | O_TMPFILE)) {               \
            va_list rest;                                  \
            va_start(rest, flags);                         \
            mode = va_arg(rest, mode_t);                   \
            va_end(rest);                                  \
        }                                                  \
        return path_fails(path) ? -1 : REAL(name) call;    \
    }
OPEN(open, (const char *path, int flags, ...), (path, flags, mode))
OPEN(open64, (const char *path, int flags, ...), (path, flags, mode))
OPEN(openat, (int at, const char *path, int flags, ...), (at, path, flags, mode))
OPEN(openat64, (int at, const char *path, int flags, ...), (at, path, flags, mode))

/* A short write stores half, as a disk does that becomes full. */
#define WRITE(name, parameters, call, short_call)          \
    ssize_t name parameters {                              \
        if (file_fails(file)) {                            \
            if (plan[HOW] < 0) return REAL(name) short_call; \
            errno = (int)plan[HOW];                        \
            return -1;                                     \
        }                                                  \
        return REAL(name) call;                            \
    }
WRITE(write, (int file, const void *data, size_t size), (file, data, size), (file, data, size / 2))
WRITE(pwrite, (int file, const void *data, size_t size, off_t at), (file, data, size, at),
      (file, data, size / 2, at))
WRITE(pwrite64, (int file, const void *data, size_t size, off64_t at), (file, data, size, at),
      (file, data, size / 2, at))

#define FILE_CALL(name, parameters, call)                  \
    int name parameters {                                  \
        if (file_fails(file)) {                            \
            errno = plan[HOW] < 0 ? EIO : (int)plan[HOW];  \
            return -1;                                     \
        }                                                  \
        return REAL(name) call;                            \
    }
FILE_CALL(fsync, (int file), (file))
FILE_CALL(fdatasync, (int file), (file))
FILE_CALL(ftruncate, (int file, off_t size), (file, size))
FILE_CALL(ftruncate64, (int file, off64_t size), (file, size))

#define PATH_CALL(name, parameters, call) \
    int name parameters { return path_fails(path) ? -1 : REAL(name) call; }
PATH_CALL(rename, (const char *path, const char *target), (path, target))
PATH_CALL(mkdir, (const char *path, mode_t mode), (path, mode))
PATH_CALL(unlink, (const char *path), (path))
PATH_CALL(rmdir, (const char *path), (path))
