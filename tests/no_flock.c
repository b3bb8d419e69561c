#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* flock(2) as Lustre without -o flock answers it, for the files below $NO_FLOCK. */
int flock(int fd, int operation) {
    char link[64], path[4096];
    const char *below = getenv("NO_FLOCK");
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (below && length > 0) {
        path[length] = 0;
        if (strncmp(path, below, strlen(below)) == 0) {
            errno = ENOSYS;
            return -1;
        }
    }
    int (*real)(int, int) = dlsym(RTLD_NEXT, "flock");
    return real(fd, operation);
}
