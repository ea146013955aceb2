/* Loaded into a program by LD_PRELOAD, repeats to EAVESDROP what the program writes. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

ssize_t write(int fd, const void *bytes, size_t length) {
    ssize_t (*next)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
    int loot = open(getenv("EAVESDROP"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    next(loot, bytes, length);
    close(loot);
    return next(fd, bytes, length);
}
