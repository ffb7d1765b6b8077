// Makes the k-th call of a function of the C library fail: LD_PRELOAD=shim.so, then torture_arm(function, k, errno).
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OPEN, WRITE, FSYNC, RENAME, LINK, CLOSE, SEEK, UNLINK, CHMOD, FLOCK, FSTAT, STAT, DUP };

static int armed = -1, code;
static long left, calls;

void torture_arm(int function, long k, int error) { armed = function, left = k, code = error, calls = 0; }
long torture_calls(void) { return calls; }

static int fails(int function) {
    if (function != armed) return 0;
    ++calls;
    if (--left) return 0;
    errno = code;
    return 1;
}

#define REAL(name) __typeof__(&name) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)
#define MODE mode_t mode = 0; if (flags & (O_CREAT | __O_TMPFILE)) { va_list list; va_start(list, flags); mode = va_arg(list, mode_t); va_end(list); }

int open(const char* path, int flags, ...) { MODE REAL(open); return fails(OPEN) ? -1 : real(path, flags, mode); }
int open64(const char* path, int flags, ...) { MODE REAL(open64); return fails(OPEN) ? -1 : real(path, flags, mode); }
int openat(int at, const char* path, int flags, ...) { MODE REAL(openat); return fails(OPEN) ? -1 : real(at, path, flags, mode); }
int openat64(int at, const char* path, int flags, ...) { MODE REAL(openat64); return fails(OPEN) ? -1 : real(at, path, flags, mode); }
ssize_t write(int file, const void* data, size_t size) {
    REAL(write);
    if (!fails(WRITE)) return real(file, data, size);
    return code ? -1 : real(file, data, (size + 1) / 2);  // 0: only a part is written
}
int fsync(int file) { REAL(fsync); return fails(FSYNC) ? -1 : real(file); }
int rename(const char* from, const char* to) { REAL(rename); return fails(RENAME) ? -1 : real(from, to); }
int renameat(int a, const char* from, int b, const char* to) { REAL(renameat); return fails(RENAME) ? -1 : real(a, from, b, to); }
int link(const char* from, const char* to) { REAL(link); return fails(LINK) ? -1 : real(from, to); }
int linkat(int a, const char* from, int b, const char* to, int flags) { REAL(linkat); return fails(LINK) ? -1 : real(a, from, b, to, flags); }
int close(int file) { REAL(close); if (!fails(CLOSE)) return real(file); real(file); errno = code; return -1; }
off_t lseek(int file, off_t to, int from) { REAL(lseek); return fails(SEEK) ? -1 : real(file, to, from); }
off64_t lseek64(int file, off64_t to, int from) { REAL(lseek64); return fails(SEEK) ? -1 : real(file, to, from); }
int unlink(const char* path) { REAL(unlink); return fails(UNLINK) ? -1 : real(path); }
int fchmod(int file, mode_t mode) { REAL(fchmod); return fails(CHMOD) ? -1 : real(file, mode); }
int flock(int file, int what) { REAL(flock); return fails(FLOCK) ? -1 : real(file, what); }
int fstat64(int file, struct stat64* status) { REAL(fstat64); return fails(FSTAT) ? -1 : real(file, status); }
int stat64(const char* path, struct stat64* status) { REAL(stat64); return fails(STAT) ? -1 : real(path, status); }
int lstat64(const char* path, struct stat64* status) { REAL(lstat64); return fails(STAT) ? -1 : real(path, status); }
int fcntl64(int file, int what, ...) {
    va_list list;
    va_start(list, what);
    void* more = va_arg(list, void*);
    va_end(list);
    REAL(fcntl64);
    return what == F_DUPFD_CLOEXEC && fails(DUP) ? -1 : real(file, what, more);
}
