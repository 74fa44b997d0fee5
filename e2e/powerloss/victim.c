/* Writes files as programs do that mean to be durable, but for one step that can be left out.
 *
 *     victim DIR nothing|data|file|folder|mapped
 *
 * Replaces a file twenty times (write beside it, sync, rename, sync the folder) and appends twenty blocks to
 * another, each with a sync. `data` leaves out the sync of the blocks, `file` that of the new file, `folder` that of
 * the folder. `mapped` leaves nothing out but ends with a write through a mapping, which the recorder cannot see.
 * Renames go past libc. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { BLOCK = 9000, TIMES = 20 };

static char block[BLOCK];

static int must(long result, const char *what) {
    if (result < 0) {
        perror(what);
        _exit(1);
    }
    return (int)result;
}

int main(int count, char **args) {
    if (count != 3) return 2;
    const char *forgets = args[2];
    must(chdir(args[1]), "chdir");
    int folder = must(open(".", O_RDONLY | O_DIRECTORY), "open the folder");
    int blocks = must(open("blocks", O_WRONLY | O_CREAT | O_APPEND, 0600), "open blocks");
    if (strcmp(forgets, "folder")) must(fsync(folder), "fsync");
    for (int i = 0; i < TIMES; i++) {
        memset(block, 'a' + i, BLOCK);
        int file = must(open("new", O_WRONLY | O_CREAT | O_TRUNC, 0600), "open new");
        must(write(file, block, BLOCK), "write");
        if (strcmp(forgets, "file")) must(fsync(file), "fsync");
        must(close(file), "close");
        must(syscall(SYS_renameat2, AT_FDCWD, "new", AT_FDCWD, "current", 0), "rename");
        if (strcmp(forgets, "folder")) must(fsync(folder), "fsync");
        must(write(blocks, block, BLOCK), "write");
        if (strcmp(forgets, "data")) must(fdatasync(blocks), "fdatasync");
    }
    if (!strcmp(forgets, "mapped")) {
        int file = must(open("current", O_RDWR), "open current");
        char *page = mmap(NULL, BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        if (page == MAP_FAILED) return 1;
        page[0] = 'X';
    }
    return 0;
}
