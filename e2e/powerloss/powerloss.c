/* Records, in order, every change that a process makes to the files under one folder.
 *
 *     cc -O2 -shared -fPIC -o powerloss.so powerloss.c
 *     LD_PRELOAD=powerloss.so POWERLOSS_DATA=/data POWERLOSS_LOG=/elsewhere/log program ...
 *
 * A seccomp filter traps the system calls that change files, whoever makes them: libc, or code that goes past it.
 * The handler of the trap writes to the log what is about to happen, makes the call itself, from the one
 * instruction that the filter lets through, and writes what came of it. One lock is held over the three, so that
 * the order of the log is the order of the effects; only a sync runs outside of the lock, between two records.
 *
 * Not recorded: writes through a shared mapping, permissions, times, extended attributes. io_uring,
 * copy_file_range and sendfile answer ENOSYS, so that programs fall back on what is recorded. Whoever replays the
 * log compares its end with the folder, and so notices a change that was missed. Linux on x86-64 and aarch64.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/falloc.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <ucontext.h>
#include <unistd.h>

long pl_call(long nr, long a, long b, long c, long d, long e, long f) __attribute__((visibility("hidden")));
extern char pl_after[] __attribute__((visibility("hidden")));

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
__asm__(".text\n.hidden pl_call\n.globl pl_call\n.type pl_call,@function\npl_call:\n"
        "mov %rdi,%rax\nmov %rsi,%rdi\nmov %rdx,%rsi\nmov %rcx,%rdx\nmov %r8,%r10\nmov %r9,%r8\nmov 8(%rsp),%r9\n"
        "syscall\n.hidden pl_after\n.globl pl_after\npl_after:\nret\n");
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
__asm__(".text\n.hidden pl_call\n.globl pl_call\n.type pl_call,%function\npl_call:\n"
        "mov x8,x0\nmov x0,x1\nmov x1,x2\nmov x2,x3\nmov x3,x4\nmov x4,x5\nmov x5,x6\n"
        "svc #0\n.hidden pl_after\n.globl pl_after\npl_after:\nret\n");
#else
#error "the recorder knows x86-64 and aarch64 only"
#endif

#define CALL(nr, a, b, c, d, e, f) \
    pl_call((nr), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

/* The log: a header, then n1 bytes (a path, or data), then n2 bytes (a second path). */
enum { MAGIC = 0x4c505846 };
enum op { DONE, OPEN, WRITE, SET_LEN, SYNC, RENAME, UNLINK, MKDIR, RMDIR, LINK, UNKNOWN };
/* Bits of OPEN's `a`. */
enum { IS_NEW = 1, IS_CUT = 2 };

struct record {
    uint32_t magic, op;
    uint64_t id;  /* of the operation; DONE names the one that is done */
    uint64_t ino; /* of the file; DONE of an OPEN has it */
    int64_t a, b; /* WRITE: offset. SET_LEN: length. OPEN: bits, mode. SYNC: whether of a folder. DONE: the result */
    uint32_t n1, n2;
};

static char data_dir[PATH_MAX];
static size_t data_len;
static int log_fd = -1;
static uint64_t last_id;
static int locked;
static char path1[2 * PATH_MAX], path2[2 * PATH_MAX];

static void lock(void) {
    while (__atomic_exchange_n(&locked, 1, __ATOMIC_ACQUIRE)) CALL(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
}

static void unlock(void) { __atomic_store_n(&locked, 0, __ATOMIC_RELEASE); }

static void give_up(const char *why) {
    CALL(SYS_write, 2, "powerloss: ", 11, 0, 0, 0);
    CALL(SYS_write, 2, why, strlen(why), 0, 0, 0);
    CALL(SYS_write, 2, "\n", 1, 0, 0, 0);
    CALL(SYS_exit_group, 86, 0, 0, 0, 0, 0);
}

/* Appends a record whose first bytes come in parts. */
static void append(struct record *record, const struct iovec *parts, int count, const char *second) {
    struct iovec all[1024];
    size_t want = sizeof *record;
    int n = 0;
    all[n++] = (struct iovec){record, sizeof *record};
    record->magic = MAGIC;
    record->n1 = 0;
    record->n2 = second ? (uint32_t)strlen(second) : 0;
    for (int i = 0; i < count; i++) {
        all[n++] = parts[i];
        record->n1 += (uint32_t)parts[i].iov_len;
    }
    if (second) all[n++] = (struct iovec){(void *)second, record->n2};
    want += record->n1 + record->n2;
    if (CALL(SYS_writev, log_fd, all, n, 0, 0, 0) != (long)want) give_up("cannot write the log");
}

static uint64_t begin(enum op op, uint64_t ino, int64_t a, int64_t b, const char *first, const char *second) {
    struct record record = {.op = op, .id = ++last_id, .ino = ino, .a = a, .b = b};
    struct iovec part = {(void *)first, first ? strlen(first) : 0};
    append(&record, &part, first ? 1 : 0, second);
    return record.id;
}

static long done(uint64_t id, long result, uint64_t ino) {
    struct record record = {.op = DONE, .id = id, .ino = ino, .a = result};
    append(&record, NULL, 0, NULL);
    return result;
}

static int is_ours(const char *path) {
    return !strncmp(path, data_dir, data_len) && (path[data_len] == '/' || !path[data_len]);
}

static long path_of(int fd, char *path) {
    char proc[64];
    snprintf(proc, sizeof proc, "/proc/self/fd/%d", fd);
    long len = CALL(SYS_readlinkat, AT_FDCWD, proc, path, PATH_MAX - 1, 0, 0);
    if (len >= 0) path[len] = 0;
    return len;
}

/* The path without links, except in its last part. Whether it is under the folder. */
static int resolve(int dir, const char *name, char *path) {
    char parent[PATH_MAX];
    size_t len = strnlen(name, PATH_MAX);
    while (len > 1 && name[len - 1] == '/') len--;
    if (!len || len >= PATH_MAX) return 0;
    memcpy(parent, name, len);
    parent[len] = 0;
    char *slash = strrchr(parent, '/');
    const char *last = slash ? slash + 1 : parent;
    char base[PATH_MAX];
    strcpy(base, last);
    if (!slash) strcpy(parent, ".");
    else if (slash == parent) strcpy(parent, "/");
    else *slash = 0;
    int fd = (int)CALL(SYS_openat, dir, parent, O_PATH | O_DIRECTORY | O_CLOEXEC, 0, 0, 0);
    if (fd < 0) return 0;
    long got = path_of(fd, path);
    CALL(SYS_close, fd, 0, 0, 0, 0, 0);
    if (got < 0) return 0;
    if (got > 1) path[got++] = '/';
    strcpy(path + got, base);
    return is_ours(path);
}

static long stat_at(int dir, const char *path, struct stat *stat, int flags) {
    return CALL(SYS_newfstatat, dir, path, stat, flags, 0, 0);
}

static long stat_fd(int fd, struct stat *stat) { return stat_at(fd, "", stat, AT_EMPTY_PATH); }

/* Whether the descriptor is of a file under the folder. */
static int fd_is_ours(int fd, struct stat *stat, char *path) {
    if (stat_fd(fd, stat) < 0 || !(S_ISREG(stat->st_mode) || S_ISDIR(stat->st_mode))) return 0;
    return path_of(fd, path) > 0 && is_ours(path);
}

static long do_open(int dir, const char *name, int flags, int mode) {
    struct stat stat = {0};
    lock();
    if ((flags & O_TMPFILE) == O_TMPFILE || !resolve(dir, name, path1)) {
        unlock();
        return CALL(SYS_openat, dir, name, flags, mode, 0, 0);
    }
    int is_new = stat_at(dir, name, &stat, AT_SYMLINK_NOFOLLOW) < 0;
    int64_t bits = (is_new ? IS_NEW : 0) | (!is_new && (flags & O_TRUNC) ? IS_CUT : 0);
    uint64_t id = begin(OPEN, 0, bits, mode, path1, NULL);
    long fd = CALL(SYS_openat, dir, name, flags, mode, 0, 0);
    if (fd >= 0) stat_fd((int)fd, &stat);
    done(id, fd, stat.st_ino);
    unlock();
    return fd;
}

static long do_write(long nr, int fd, const struct iovec *parts, int count, int64_t at, long flags, long *args) {
    struct stat stat;
    char path[PATH_MAX];
    if (!fd_is_ours(fd, &stat, path)) return CALL(nr, args[0], args[1], args[2], args[3], args[4], args[5]);
    lock();
    stat_fd(fd, &stat);
    if (CALL(SYS_fcntl, fd, F_GETFL, 0, 0, 0, 0) & O_APPEND || flags & RWF_APPEND) at = stat.st_size;
    else if (at < 0) at = CALL(SYS_lseek, fd, 0, SEEK_CUR, 0, 0, 0);
    struct record record = {.op = WRITE, .id = ++last_id, .ino = stat.st_ino, .a = at};
    append(&record, parts, count, NULL);
    long result = done(record.id, CALL(nr, args[0], args[1], args[2], args[3], args[4], args[5]), 0);
    unlock();
    return result;
}

static long do_set_len(int fd, int64_t len, long nr, long *args) {
    struct stat stat;
    char path[PATH_MAX];
    if (!fd_is_ours(fd, &stat, path)) return CALL(nr, args[0], args[1], args[2], args[3], args[4], args[5]);
    lock();
    uint64_t id = begin(SET_LEN, stat.st_ino, len, 0, NULL, NULL);
    long result = done(id, CALL(nr, args[0], args[1], args[2], args[3], args[4], args[5]), 0);
    unlock();
    return result;
}

static long do_fallocate(long *args) {
    struct stat stat;
    char path[PATH_MAX];
    int fd = (int)args[0];
    if (!fd_is_ours(fd, &stat, path) || args[1] == FALLOC_FL_KEEP_SIZE)
        return CALL(SYS_fallocate, args[0], args[1], args[2], args[3], 0, 0);
    if (args[1]) return -EOPNOTSUPP;
    int64_t len = args[2] + args[3];
    return do_set_len(fd, len > stat.st_size ? len : stat.st_size, SYS_fallocate, args);
}

static long do_sync(long nr, int fd) {
    struct stat stat;
    char path[PATH_MAX];
    if (!fd_is_ours(fd, &stat, path)) return CALL(nr, fd, 0, 0, 0, 0, 0);
    lock();
    uint64_t id = begin(SYNC, stat.st_ino, S_ISDIR(stat.st_mode), 0, path, NULL);
    unlock();
    long result = CALL(nr, fd, 0, 0, 0, 0, 0);
    lock();
    done(id, result, 0);
    unlock();
    return result;
}

static long do_path(enum op op, long nr, int dir, const char *name, int64_t b, long *args) {
    lock();
    if (!resolve(dir, name, path1)) {
        unlock();
        return CALL(nr, args[0], args[1], args[2], args[3], args[4], args[5]);
    }
    uint64_t id = begin(op, 0, 0, b, path1, NULL);
    long result = done(id, CALL(nr, args[0], args[1], args[2], args[3], args[4], args[5]), 0);
    unlock();
    return result;
}

static long do_paths(enum op op, long nr, int dir1, const char *one, int dir2, const char *two, long *args) {
    lock();
    int from = resolve(dir1, one, path1), to = resolve(dir2, two, path2);
    if (!from && !to) {
        unlock();
        return CALL(nr, args[0], args[1], args[2], args[3], args[4], args[5]);
    }
    uint64_t id = begin(from && to ? op : UNKNOWN, 0, 0, 0, path1, path2);
    long result = done(id, CALL(nr, args[0], args[1], args[2], args[3], args[4], args[5]), 0);
    unlock();
    return result;
}

static long do_truncate(long *args) {
    long fd = CALL(SYS_openat, AT_FDCWD, args[0], O_WRONLY | O_CLOEXEC, 0, 0, 0);
    if (fd < 0) return fd;
    long same[6] = {fd, args[1]};
    long result = do_set_len((int)fd, args[1], SYS_ftruncate, same);
    CALL(SYS_close, fd, 0, 0, 0, 0, 0);
    return result;
}

static long trapped(long nr, long *a) {
    struct iovec one = {(void *)a[1], (size_t)a[2]};
    const struct iovec *many = (const struct iovec *)a[1];
    if (nr == SYS_writev || nr == SYS_pwritev || nr == SYS_pwritev2) {
        /* To write less than was asked for is allowed. */
        if (a[2] > 1000) a[2] = 1000;
    }
    switch (nr) {
    case SYS_write: return do_write(nr, (int)a[0], &one, 1, -1, 0, a);
    case SYS_pwrite64: return do_write(nr, (int)a[0], &one, 1, a[3], 0, a);
    case SYS_writev: return do_write(nr, (int)a[0], many, (int)a[2], -1, 0, a);
    case SYS_pwritev: return do_write(nr, (int)a[0], many, (int)a[2], a[3], 0, a);
    case SYS_pwritev2: return do_write(nr, (int)a[0], many, (int)a[2], a[3], a[5], a);
    case SYS_openat: return do_open((int)a[0], (const char *)a[1], (int)a[2], (int)a[3]);
    case SYS_ftruncate: return do_set_len((int)a[0], a[1], nr, a);
    case SYS_truncate: return do_truncate(a);
    case SYS_fallocate: return do_fallocate(a);
    case SYS_fsync:
    case SYS_fdatasync: return do_sync(nr, (int)a[0]);
    case SYS_unlinkat:
        return do_path(a[2] & AT_REMOVEDIR ? RMDIR : UNLINK, nr, (int)a[0], (const char *)a[1], 0, a);
    case SYS_mkdirat: return do_path(MKDIR, nr, (int)a[0], (const char *)a[1], a[2], a);
    case SYS_symlinkat: return do_path(UNKNOWN, nr, (int)a[1], (const char *)a[2], 0, a);
    case SYS_linkat: return do_paths(LINK, nr, (int)a[0], (char *)a[1], (int)a[2], (char *)a[3], a);
    case SYS_renameat2:
        if (a[4] & ~RENAME_NOREPLACE) return -EINVAL;
        return do_paths(RENAME, nr, (int)a[0], (char *)a[1], (int)a[2], (char *)a[3], a);
#ifdef SYS_renameat
    case SYS_renameat: return do_paths(RENAME, nr, (int)a[0], (char *)a[1], (int)a[2], (char *)a[3], a);
#endif
#ifdef __x86_64__
    case SYS_open: return do_open(AT_FDCWD, (const char *)a[0], (int)a[1], (int)a[2]);
    case SYS_creat: return do_open(AT_FDCWD, (const char *)a[0], O_CREAT | O_WRONLY | O_TRUNC, (int)a[1]);
    case SYS_rename: return do_paths(RENAME, nr, AT_FDCWD, (char *)a[0], AT_FDCWD, (char *)a[1], a);
    case SYS_link: return do_paths(LINK, nr, AT_FDCWD, (char *)a[0], AT_FDCWD, (char *)a[1], a);
    case SYS_unlink: return do_path(UNLINK, nr, AT_FDCWD, (const char *)a[0], 0, a);
    case SYS_rmdir: return do_path(RMDIR, nr, AT_FDCWD, (const char *)a[0], 0, a);
    case SYS_mkdir: return do_path(MKDIR, nr, AT_FDCWD, (const char *)a[0], a[1], a);
    case SYS_symlink: return do_path(UNKNOWN, nr, AT_FDCWD, (const char *)a[1], 0, a);
#endif
    default: give_up("a system call that nobody handles"); return -ENOSYS;
    }
}

static void on_trap(int signal, siginfo_t *info, void *context) {
    (void)signal;
    ucontext_t *user = context;
#if defined(__x86_64__)
    greg_t *r = user->uc_mcontext.gregs;
    long args[6] = {r[REG_RDI], r[REG_RSI], r[REG_RDX], r[REG_R10], r[REG_R8], r[REG_R9]};
    r[REG_RAX] = trapped(info->si_syscall, args);
#else
    unsigned long long *r = user->uc_mcontext.regs;
    long args[6] = {(long)r[0], (long)r[1], (long)r[2], (long)r[3], (long)r[4], (long)r[5]};
    r[0] = (unsigned long long)trapped(info->si_syscall, args);
#endif
}

static const int TRAPPED[] = {
    SYS_write, SYS_pwrite64, SYS_writev, SYS_pwritev, SYS_pwritev2, SYS_ftruncate, SYS_truncate, SYS_fallocate,
    SYS_fsync, SYS_fdatasync, SYS_unlinkat, SYS_mkdirat, SYS_symlinkat, SYS_linkat, SYS_renameat2,
#ifdef SYS_renameat
    SYS_renameat,
#endif
#ifdef __x86_64__
    SYS_creat, SYS_rename, SYS_link, SYS_unlink, SYS_rmdir, SYS_mkdir, SYS_symlink,
#endif
};
static const int REFUSED[] = {SYS_copy_file_range, SYS_sendfile, SYS_io_uring_setup, SYS_openat2};

static struct sock_filter filter[128];
static int filter_len;

static void stmt(uint16_t code, uint32_t k) { filter[filter_len++] = (struct sock_filter)BPF_STMT(code, k); }

static void unless_equal(uint32_t k, uint8_t skip) {
    filter[filter_len++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, k, 0, skip);
}

static void load(size_t offset) { stmt(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset); }

static void end(uint32_t verdict) { stmt(BPF_RET | BPF_K, verdict); }

/* Opening changes something only with one of these flags. */
static void trap_open(int nr, int argument) {
    unless_equal((uint32_t)nr, 4);
    load(offsetof(struct seccomp_data, args) + 8 * (size_t)argument);
    filter[filter_len++] =
        (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, O_WRONLY | O_RDWR | O_CREAT | O_TRUNC, 0, 1);
    end(SECCOMP_RET_TRAP);
    end(SECCOMP_RET_ALLOW);
}

static void make_filter(void) {
    uint64_t after = (uint64_t)(uintptr_t)pl_after;
    load(offsetof(struct seccomp_data, arch));
    unless_equal(ARCH, 1);
    filter[filter_len++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JA, 1, 0, 0);
    end(SECCOMP_RET_KILL_PROCESS);
    load(offsetof(struct seccomp_data, instruction_pointer));
    unless_equal((uint32_t)after, 3);
    load(offsetof(struct seccomp_data, instruction_pointer) + 4);
    unless_equal((uint32_t)(after >> 32), 1);
    end(SECCOMP_RET_ALLOW);
    load(offsetof(struct seccomp_data, nr));
    for (size_t i = 0; i < sizeof TRAPPED / sizeof *TRAPPED; i++) {
        unless_equal((uint32_t)TRAPPED[i], 1);
        end(SECCOMP_RET_TRAP);
    }
    for (size_t i = 0; i < sizeof REFUSED / sizeof *REFUSED; i++) {
        unless_equal((uint32_t)REFUSED[i], 1);
        end(SECCOMP_RET_ERRNO | ENOSYS);
    }
    trap_open(SYS_openat, 2);
#ifdef __x86_64__
    trap_open(SYS_open, 1);
#endif
    end(SECCOMP_RET_ALLOW);
}

__attribute__((constructor)) static void start(void) {
    const char *data = getenv("POWERLOSS_DATA"), *log = getenv("POWERLOSS_LOG");
    if (!data || !log || !realpath(data, data_dir)) give_up("POWERLOSS_DATA and POWERLOSS_LOG are not both given");
    data_len = strlen(data_dir);
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    /* Out of the way of programs that expect low numbers. */
    log_fd = fcntl(fd, F_DUPFD_CLOEXEC, 700);
    close(fd);
    if (log_fd < 0) give_up("cannot open POWERLOSS_LOG");
    struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO};
    sigfillset(&action.sa_mask);
    make_filter();
    struct sock_fprog program = {.len = (unsigned short)filter_len, .filter = filter};
    if (sigaction(SIGSYS, &action, NULL) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
        syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program))
        give_up("the kernel takes no seccomp filter");
}
